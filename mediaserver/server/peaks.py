"""The largest value since a time, of values that come one after the other."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final


_MOST: Final = 1_000
"""Peaks that are kept."""


class Peaks:
    """Keeps of a series only the values that are larger than all that came later."""

    __slots__ = ("_times", "_values")

    def __init__(self) -> None:
        self._times: list[float] = []
        self._values: list[float] = []

    def add(self, time: float, value: float) -> None:
        """Add the newest value."""
        while self._values and self._values[-1] <= value:
            self._values.pop()
            self._times.pop()
        self._values.append(value)
        self._times.append(time)
        if len(self._values) > _MOST:
            # The oldest two become one, which overstates rather than understates.
            del self._values[1], self._times[0]

    def since(self, time: float) -> float:
        """Return the largest value since a time; 0 if there is none."""
        index = bisect_left(self._times, time)
        return self._values[index] if index < len(self._values) else 0.0
