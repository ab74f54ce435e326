"""One slow, shared timer that checks all deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol


class Swept(Protocol):
    """Something that has deadlines."""

    def check(self, now: float, elapsed: float) -> None:
        """Act on what is overdue.

        Args:
            now: monotonic seconds.
            elapsed: seconds since the last check, at most two periods: a stalled loop could not
                read, so the stall counts against no peer.

        """


class Sweep:
    """Checks everything that has deadlines a few times a second, instead of a timer for each.

    Args:
        loop: the event loop.
        clock: monotonic seconds.
        period: seconds between two checks.

    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float], *, period: float = 0.5
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._period = period
        self._members: set[Swept] = set()
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._members)

    def add(self, swept: Swept) -> None:
        """Check `swept` from now on."""
        self._members.add(swept)
        if self._timer is None:
            self._last = self._clock()
            self._timer = self._loop.call_later(self._period, self._check)

    def discard(self, swept: Swept) -> None:
        """Stop checking `swept`."""
        self._members.discard(swept)

    def stop(self) -> None:
        """Stop all checks."""
        self._members.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        now = self._clock()
        elapsed = min(now - self._last, 2 * self._period)
        self._last = now
        for swept in tuple(self._members):
            try:
                swept.check(now, elapsed)
            except Exception as error:
                # A failure in one does not affect the deadlines of the others.
                context = {"message": f"cannot check {swept!r}", "exception": error}
                self._loop.call_exception_handler(context)
        if self._members:
            self._timer = self._loop.call_later(self._period, self._check)
        else:
            self._timer = None
