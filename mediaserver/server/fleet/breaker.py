"""Decides whether Redis is asked at all, so that nothing waits for one that does not answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, TypeAlias


BreakerState: TypeAlias = Literal["closed", "open", "half-open"]
"""``closed``: all may ask; ``open``: nobody; ``half-open``: one trial may."""

_FAILURES: Final = 3
_SECONDS: Final = 1.0


class Breaker:
    """Opens after failures, and closes when a trial has succeeded.

    Args:
        clock: Monotonic seconds.
        failures: Number of failures in a row after which it opens.
        seconds: For how long it is open before a trial.

    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        failures: int = _FAILURES,
        seconds: float = _SECONDS,
    ) -> None:
        self._clock = clock
        self._most = failures
        self._seconds = seconds
        self._failures = 0
        self._opened: float | None = None
        self.openings = 0
        """How often it has opened."""

    @property
    def state(self) -> BreakerState:
        """What it lets through."""
        if self._opened is None:
            return "closed"
        return "open" if self._clock() - self._opened < self._seconds else "half-open"

    def allows(self, *, trial: bool = False) -> bool:
        """Tell whether Redis may be asked.

        Args:
            trial: Whether it is asked by something that nobody waits for.

        """
        state = self.state
        return state == "closed" or (trial and state == "half-open")

    def succeeded(self) -> bool:
        """Note that Redis has answered, and tell whether that closes the breaker."""
        closes = self._opened is not None
        self._failures, self._opened = 0, None
        return closes

    def failed(self) -> bool:
        """Note that Redis has not answered, and tell whether that opens the breaker."""
        self._failures += 1
        if self._opened is not None:
            # Those that were under way when it opened do not keep it open longer.
            if self.state == "half-open":
                self._opened = self._clock()
            return False
        if self._failures < self._most:
            return False
        self._opened = self._clock()
        self.openings += 1
        return True
