"""What was received and not yet read by the handler."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from mediaserver.call.counters import StreamCounters
from mediaserver.call.events import Control, StreamEvent
from mediaserver.call.frame import Frame


class Waiter(Protocol):
    """What a reader leaves behind to be woken: an ``asyncio.Future`` is one."""

    def done(self) -> bool:
        """Tell whether it needs no more waking."""

    def set_result(self, result: Frame | None, /) -> None:
        """Wake the reader."""


class Inbox:
    """Two lanes, audio and control, that can be read apart or in the order of arrival.

    The control lane drops nothing. The audio lane holds `limit` bytes; past that the oldest frames
    are dropped and counted, or, where `hold_up` is given, the sender is held up.

    Args:
        limit: bytes of audio.
        counters: where dropped audio is counted.
        hold_up: called when the audio lane has become full.
        let_go: called when it is half empty again.

    """

    __slots__ = (
        "_audio",
        "_bytes",
        "_control",
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
        # Each with the number of frames that came before it, to merge the lanes by.
        self._control: list[tuple[int, Control]] = []
        self._frames = 0
        self._bytes = 0
        self.ended = False
        # Where a reader of frames waits: the next one is its result.
        self.frame_waiter: Waiter | None = None
        # Where a reader of control events, or of everything, waits to look again.
        self.event_waiter: Waiter | None = None

    def put_frame(self, frame: Frame) -> None:
        """Take a frame, making room for it if need be."""
        if self._ignores_audio:
            return
        self._frames += 1
        reader = self.frame_waiter
        if reader is not None:
            # A reader waits, so nothing else does: hand the frame over.
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
        """Make `frame`, which was taken out last, the oldest again."""
        self._audio.appendleft(frame)
        self._bytes += len(frame.payload)

    def next_control(self) -> Control | None:
        """Take the oldest control event out, or return None."""
        return self._control.pop(0)[1] if self._control else None

    def next_event(self) -> StreamEvent | None:
        """Take out whichever came first, or return None."""
        taken = self._frames - len(self._audio)
        if self._control and self._control[0][0] <= taken:
            return self.next_control()
        return self.next_frame() or self.next_control()

    def want_audio(self) -> None:
        """Keep audio from now on, as an inbox does unless told otherwise."""
        self._ignores_audio = False

    def ignore_audio(self) -> None:
        """Keep no audio from now on."""
        self._ignores_audio = True
        self._audio.clear()
        self._bytes = 0
        if self._held_up:
            self._release()

    def end(self) -> None:
        """Say that nothing more will come; what is here can still be read."""
        self.ended = True
        self._wake_events()
        reader, self.frame_waiter = self.frame_waiter, None
        if reader is not None and not reader.done():
            reader.set_result(None)

    @property
    def unread_control_events(self) -> int:
        """How many control events wait."""
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
