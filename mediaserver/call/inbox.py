"""Received audio and events that the handler has not read yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from mediaserver.call.counters import StreamCounters
from mediaserver.call.events import Control, StreamEvent
from mediaserver.call.frame import Frame


class Waiter(Protocol):
    """Something that can be woken, such as an ``asyncio.Future``."""

    def done(self) -> bool:
        """Tell whether it was woken or cancelled already."""

    def set_result(self, result: Frame | None, /) -> None:
        """Wake the reader."""


class Inbox:
    """Two lanes, audio and control, read separately or merged in order of arrival.

    The control lane drops nothing. The audio lane holds `limit` bytes. When it is full, the oldest
    frames are dropped and counted; or, with `hold_up`, the sender is paused.

    Args:
        limit: bytes of audio.
        counters: count the dropped audio.
        hold_up: called when the audio lane becomes full.
        let_go: called when it is half empty again.

    """

    __slots__ = (
        "_audio",
        "_bytes",
        "_control",
        "_control_is_read",
        "_counters",
        "_frames",
        "_held_up",
        "_hold_up",
        "_ignores_audio",
        "_let_go",
        "_limit",
        "ended",
        "event_waiter",
        "frame_waiter",
    )

    def __init__(
        self,
        limit: int,
        counters: StreamCounters,
        *,
        hold_up: Callable[[], object] | None = None,
        let_go: Callable[[], object] | None = None,
    ) -> None:
        self._limit = limit
        self._counters = counters
        self._hold_up = hold_up
        self._let_go = let_go
        self._held_up = False
        self._ignores_audio = False
        self._audio: deque[Frame] = deque()
        # Each with the number of frames received before it, for merging the lanes.
        self._control: list[tuple[int, Control]] = []
        self._control_is_read = False
        self._frames = 0
        self._bytes = 0
        self.ended = False
        # The waiter of a reader of frames; its result will be the next frame.
        self.frame_waiter: Waiter | None = None
        # The waiter of a reader of control events or of everything; woken, it looks again.
        self.event_waiter: Waiter | None = None

    def put_frame(self, frame: Frame) -> None:
        """Add a frame, dropping older ones if the lane is full."""
        if self._ignores_audio:
            return
        self._frames += 1
        reader = self.frame_waiter
        if reader is not None:
            # A waiting reader means an empty lane: hand the frame over directly.
            self.frame_waiter = None
            if not reader.done():
                reader.set_result(frame)
                return
        self._audio.append(frame)
        self._bytes += len(frame.payload)
        if self._bytes > self._limit:
            self._overflow()
        if self.event_waiter is not None:
            self._wake_events()

    def put_control(self, event: Control) -> None:
        """Take an event that must not be lost."""
        self._control.append((self._frames, event))
        self._wake_events()

    def next_frame(self) -> Frame | None:
        """Take the oldest frame out, or return None."""
        if not self._audio:
            return None
        frame = self._audio.popleft()
        self._bytes -= len(frame.payload)
        if self._held_up and self._bytes <= self._limit // 2:
            self._release()
        return frame

    def put_back(self, frame: Frame) -> None:
        """Put back the frame that was taken out last."""
        self._audio.appendleft(frame)
        self._bytes += len(frame.payload)

    def next_control(self) -> Control | None:
        """Take the oldest control event out, or return None."""
        self._control_is_read = True
        return self._control.pop(0)[1] if self._control else None

    def next_event(self) -> StreamEvent | None:
        """Take out the oldest item of either lane, or return None."""
        taken = self._frames - len(self._audio)
        if self._control and self._control[0][0] <= taken:
            return self.next_control()
        return self.next_frame() or self.next_control()

    def want_audio(self) -> None:
        """Keep audio from now on, which is the default."""
        self._ignores_audio = False

    def ignore_audio(self) -> None:
        """Discard audio from now on, without counting it as dropped."""
        self._ignores_audio = True
        self._audio.clear()
        self._bytes = 0
        if self._held_up:
            self._release()

    def end(self) -> None:
        """Take nothing more; what is in the inbox can still be read."""
        self.ended = True
        if self._held_up:
            self._release()
        self._hold_up = self._let_go = None
        self._wake_events()
        reader, self.frame_waiter = self.frame_waiter, None
        if reader is not None and not reader.done():
            reader.set_result(None)

    def abandon(self) -> None:
        """Forget the control events of a handler that has returned and never asked for one.

        The application may keep the stream for longer than the call lasts.
        """
        if not self._control_is_read:
            self._control.clear()

    @property
    def unread_control_events(self) -> int:
        """Number of control events that wait to be read."""
        return len(self._control)

    def _overflow(self) -> None:
        if self._hold_up is not None:
            if not self._held_up:
                self._held_up = True
                self._hold_up()
            return
        while self._bytes > self._limit and len(self._audio) > 1:
            frame = self._audio.popleft()
            self._bytes -= len(frame.payload)
            self._counters.frames_dropped += 1
            self._counters.audio_dropped += frame.seconds

    def _release(self) -> None:
        self._held_up = False
        if self._let_go is not None:
            self._let_go()

    def _wake_events(self) -> None:
        waiter, self.event_waiter = self.event_waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
