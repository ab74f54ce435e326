"""What is remembered for a while: bounded in time and in number."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar


K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Values that are forgotten after a while, the oldest first where there are too many.

    Args:
        seconds: How long a value is kept.
        limit: How many are.
        clock: Monotonic seconds.

    """

    def __init__(
        self, seconds: float, limit: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._limit = limit
        self._clock = clock
        # Each is kept equally long, so the oldest, which is first, is the first to go.
        self._kept: dict[K, tuple[float, V]] = {}

    def __len__(self) -> int:
        self._expire()
        return len(self._kept)

    def __contains__(self, key: K) -> bool:
        self._expire()
        return key in self._kept

    def __setitem__(self, key: K, value: V) -> None:
        self._expire()
        self._kept.pop(key, None)
        self._kept[key] = (self._clock() + self._seconds, value)
        if len(self._kept) > self._limit:
            del self._kept[next(iter(self._kept))]

    def get(self, key: K) -> V | None:
        """Return a value that is still kept, or None."""
        self._expire()
        kept = self._kept.get(key)
        return None if kept is None else kept[1]

    def pop(self, key: K) -> V | None:
        """Take a value out and return it, or None."""
        value = self.get(key)
        self._kept.pop(key, None)
        return value

    def _expire(self) -> None:
        now = self._clock()
        while self._kept:
            key = next(iter(self._kept))
            if self._kept[key][0] > now:
                return
            del self._kept[key]
