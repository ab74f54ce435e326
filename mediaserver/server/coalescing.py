"""Fewer, fuller turns of the event loop.

Calls send a frame each 20 ms, at different moments: 200 calls wake an idle loop 10,000
times a second, and waking costs about as much as the work. So while many calls are live the loop
looks at its sockets once a millisecond at most, and takes all that has come in one turn, as a
network card does with interrupts.

Between two looks the loop has a few turns without delay. So if a handler passes a frame to another
task by a queue and that task plays it, all of this happens within the same millisecond. Work that
takes more turns continues in the next one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sized


FREE_TURNS = 4
"""Turns of the loop between two looks: how many times a frame can pass from task to task without
waiting. Each costs 2 µs of CPU a millisecond, whether anything runs in it or not."""


class Coalescing:
    """Holds the loop back between looks at its sockets while at least `threshold` calls are live.

    Args:
        loop: the event loop.
        calls: the live calls.
        interval: shortest time between two looks, in seconds: the latency it may add to a frame.
        threshold: number of live calls from which on the loop is held back.
        clock: monotonic seconds.
        sleep: blocks the thread for a number of seconds.

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
        """Start if enough calls are live. Call after adding a call."""
        if self._turn is None and self._interval > 0 and len(self._calls) >= self._threshold:
            self._turn = self._loop.call_soon(self._hold)

    def stop(self) -> None:
        """Stop holding the loop back."""
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
        # A callback is always ready, so the loop polls its sockets without waiting in select().
        self._turn = self._loop.call_soon(self._hold)
