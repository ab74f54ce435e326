"""Fewer, fuller turns of the event loop.

Calls send a frame each 20 ms, every call at its own moment: 200 calls wake an idle loop 10,000
times a second, and waking costs about as much as the work. So while many calls are live the loop
looks at its sockets once a millisecond at most, and takes all that has come in one turn, as a
network card does with interrupts.

Between two looks the loop is free for a few turns, so that what a frame sets off, a handler that
puts it on a queue from which another task takes it and plays, is done within the same millisecond.
Work that goes on for more turns than that goes on in the next one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sized


FREE_TURNS = 8
"""Turns that the loop has between two looks: as many times a frame may be handed from one task to
another without waiting."""


class Coalescing:
    """Holds the loop back between looks at its sockets while at least `threshold` calls are live.

    Args:
        loop: the event loop.
        calls: the live calls.
        interval: shortest time between two looks, in seconds: what it may add to a frame's way.
        threshold: with fewer calls than this the loop is not woken often enough to matter.
        clock: monotonic seconds.
        sleep: waits so many seconds, and lets nothing else in this thread run.

    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        calls: Sized,
        *,
        interval: float,
        threshold: int = 20,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._loop = loop
        self._calls = calls
        self._interval = interval
        self._threshold = threshold
        self._clock = clock
        self._sleep = sleep
        self._next_look = 0.0
        self._free_turns = 0
        self._turn: asyncio.Handle | None = None

    def look(self) -> None:
        """Begin if there are calls enough. To be called when there is a call more."""
        if self._turn is None and self._interval > 0 and len(self._calls) >= self._threshold:
            self._turn = self._loop.call_soon(self._hold)

    def stop(self) -> None:
        """Hold nothing back any more."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _hold(self) -> None:
        if len(self._calls) < self._threshold:
            self._turn = None
            return
        if self._free_turns:
            self._free_turns -= 1
        else:
            early = self._next_look - self._clock()
            if early > 0:
                self._sleep(early)
            self._next_look = self._clock() + self._interval
            self._free_turns = FREE_TURNS
        # Something is always ready, so the loop polls its sockets and does not wait in them.
        self._turn = self._loop.call_soon(self._hold)
