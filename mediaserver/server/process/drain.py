"""How the server goes away without cutting a call short.

Asked to stop, it first only says that it is not ready, so that a load balancer looks elsewhere;
then takes no new calls; then waits for the live ones; and closes them when the time is up.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable


class Phase(enum.Enum):
    """How far the server has come on its way out."""

    SERVING = enum.auto()
    LEAVING = enum.auto()
    """Not ready any more, and still taking calls."""
    DRAINING = enum.auto()
    """Taking no new calls; the live ones go on."""
    CLOSING = enum.auto()
    """The live calls are being closed."""
    GONE = enum.auto()
    """Nothing is left to wait for."""


class Drain:
    """The phases and when they change.

    Args:
        delay: Seconds between being asked to stop and taking no new calls.
        timeout: Seconds between being asked to stop and closing the calls that are left.
        closing: Seconds that closing them may take.
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
        """Start to go away."""
        if self.phase is Phase.SERVING:
            self.phase = Phase.LEAVING
            self._begun = self._clock()

    def hurry(self) -> None:
        """Wait no longer for live calls."""
        self.begin()
        self._hurried = True

    def advance(self, *, idle: bool) -> Phase | None:
        """Enter the next phase if it is time, and return it; None if nothing changes.

        Args:
            idle: Whether there is no call, and none on its way.

        """
        now = self._clock()
        entered = self._next(idle, now)
        if entered is not None:
            self.phase = entered
        if entered is Phase.CLOSING:
            self._closing_since = now
        return entered

    def _next(self, idle: bool, now: float) -> Phase | None:
        elapsed = now - self._begun
        if self.phase is Phase.LEAVING and (self._hurried or elapsed >= self._delay):
            return Phase.DRAINING
        if self.phase is Phase.DRAINING:
            if idle:
                return Phase.GONE
            if self._hurried or elapsed >= self._timeout:
                return Phase.CLOSING
        if self.phase is Phase.CLOSING and (idle or now - self._closing_since >= self._closing):
            return Phase.GONE
        return None
