"""The phases in which a server stops without cutting calls short.

First it only reports that it is not ready, so that a load balancer sends calls elsewhere. Then it
takes no new calls, waits for the live ones, and closes those that are left when the time is up.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable


class Phase(enum.Enum):
    """The phases of a server, in their order."""

    SERVING = enum.auto()
    LEAVING = enum.auto()
    """Not ready, but still taking calls."""
    DRAINING = enum.auto()
    """Taking no new calls; live calls continue."""
    CLOSING = enum.auto()
    """Closing the live calls."""
    GONE = enum.auto()
    """Finished: nothing is left to wait for."""


class Drain:
    """Decides when the next phase begins.

    Args:
        delay: Seconds between being asked to stop and taking no new calls.
        timeout: Seconds between being asked to stop and closing the calls that are left.
        closing: Seconds within which the calls must have closed.
        clock: Monotonic seconds.

    """

    def __init__(
        self,
        *,
        delay: float,
        timeout: float,
        closing: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.phase = Phase.SERVING
        self._delay = delay
        self._timeout = timeout
        self._closing = closing
        self._clock = clock
        self._begun = 0.0
        self._closing_since = 0.0
        self._hurried = False

    def begin(self) -> None:
        """Start to stop the server."""
        if self.phase is Phase.SERVING:
            self.phase = Phase.LEAVING
            self._begun = self._clock()

    def hurry(self) -> None:
        """Stop waiting for live calls."""
        self.begin()
        self._hurried = True

    def advance(self, *, idle: bool, working: bool = False) -> Phase | None:
        """Enter the next phase if it is time, and return it; None if nothing changes.

        Args:
            idle: Whether no call is live or expected.
            working: Whether handlers still work on calls that are over, which has its own limit.

        """
        now = self._clock()
        entered = self._next(idle, working, now)
        if entered is not None:
            self.phase = entered
        if entered is Phase.CLOSING:
            self._closing_since = now
        return entered

    def _next(self, idle: bool, working: bool, now: float) -> Phase | None:
        elapsed = now - self._begun
        if self.phase is Phase.LEAVING and (self._hurried or elapsed >= self._delay):
            return Phase.DRAINING
        if self.phase is Phase.DRAINING:
            if idle and not working:
                return Phase.GONE
            if self._hurried or elapsed >= self._timeout:
                return Phase.CLOSING
        closed = idle or now - self._closing_since >= self._closing
        if self.phase is Phase.CLOSING and closed and not working:
            return Phase.GONE
        return None
