"""The async iterators through which a handler reads a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from mediaserver.call import Control, Frame, Inbox, StreamEvent


_UNWAITED = 16
"""Events that a reader may return in a row before other tasks get a turn."""


class Reader:
    """Reads an inbox, until the stream ends."""

    __slots__ = ("_inbox", "_loop", "_unwaited", "superseded", "waits")

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._loop = asyncio.get_running_loop()
        # Whether a task is waiting for the next item.
        self.waits = False
        # Whether another reader has taken this one's place.
        self.superseded = False
        # Events returned in a row without waiting.
        self._unwaited = 0

    def _check(self) -> None:
        if self.superseded:
            raise RuntimeError("another reader of this stream has taken this one's place")
        if self.waits:
            raise RuntimeError("another task waits for this reader's next item")

    async def _wait(self) -> None:
        """Wait until the inbox has changed."""
        self._unwaited = 0
        self._inbox.event_waiter = waiter = self._loop.create_future()
        self.waits = True
        try:
            await waiter
        finally:
            self.waits = False

    async def _give_way(self) -> None:
        """Let other tasks run now and then, in case every event leads to another."""
        self._unwaited += 1
        if self._unwaited >= _UNWAITED:
            self._unwaited = 0
            await asyncio.sleep(0)


class AudioReader(Reader):
    """The frames of a stream."""

    __slots__ = ()

    def __aiter__(self) -> AsyncIterator[Frame]:
        return self

    async def __anext__(self) -> Frame:
        if self.superseded or self.waits:
            self._check()
        inbox = self._inbox
        frame = inbox.next_frame()
        if frame is None and not inbox.ended:
            # The inbox sets the next frame, or None at the end.
            inbox.frame_waiter = waiter = self._loop.create_future()
            self.waits = True
            try:
                frame = await waiter
            except asyncio.CancelledError:
                # A timeout may cancel us in the very turn in which the frame came: put it back.
                if waiter.done() and not waiter.cancelled() and (frame := waiter.result()):
                    inbox.put_back(frame)
                raise
            finally:
                self.waits = False
        if frame is None:
            raise StopAsyncIteration
        return frame


class TrackReader(AudioReader):
    """The frames of one track of a stream; those of the other are taken out and dropped."""

    __slots__ = ("_track",)

    def __init__(self, inbox: Inbox, track: str) -> None:
        super().__init__(inbox)
        self._track = track

    async def __anext__(self) -> Frame:
        while (frame := await super().__anext__()).track != self._track:
            pass
        return frame


class EventReader(Reader):
    """All events of a stream."""

    __slots__ = ()

    def __aiter__(self) -> AsyncIterator[StreamEvent]:
        return self

    async def __anext__(self) -> StreamEvent:
        self._check()
        inbox = self._inbox
        await self._give_way()
        while (event := inbox.next_event()) is None:
            if inbox.ended:
                raise StopAsyncIteration
            await self._wait()
        return event


class ControlReader(Reader):
    """The events of a stream that are not audio."""

    __slots__ = ()

    def __aiter__(self) -> AsyncIterator[Control]:
        return self

    async def __anext__(self) -> Control:
        self._check()
        inbox = self._inbox
        await self._give_way()
        while (event := inbox.next_control()) is None:
            if inbox.ended:
                raise StopAsyncIteration
            await self._wait()
        return event
