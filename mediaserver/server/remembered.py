"""What came before, as digests in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from sys import getsizeof
from typing import Final


ENTRY_BYTES: Final = 160
"""Memory that one key takes, whatever its length: its digest, a time, and their places."""


class Remembered:
    """The keys of the last `seconds`.

    They are kept in two halves. When the younger half is full or old enough, it takes the place of
    the older one. So where there are more keys than fit, the oldest are forgotten first, and at
    least half of what fits is always known.

    Args:
        seconds: Seconds for which a key is remembered.
        limit: Bytes of memory that all keys may take.
        clock: Monotonic seconds.

    """

    def __init__(self, seconds: float, *, limit: int, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._half = max(1, limit // ENTRY_BYTES // 2)
        self._clock = clock
        # By digest, when it came.
        self._young: dict[bytes, float] = {}
        self._old: dict[bytes, float] = {}
        self._began = clock()

    def __contains__(self, key: str) -> bool:
        digest = _digest(key)
        came = self._young.get(digest, self._old.get(digest))
        return came is not None and self._clock() - came < self._seconds

    def add(self, key: str) -> None:
        """Remember a key from now on."""
        now = self._clock()
        if len(self._young) >= self._half or now - self._began >= self._seconds:
            self._old, self._young, self._began = self._young, {}, now
        self._young[_digest(key)] = now

    def discard(self, key: str) -> None:
        """Forget a key."""
        digest = _digest(key)
        self._young.pop(digest, None)
        self._old.pop(digest, None)


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def form_bytes(fields: Mapping[str, str]) -> int:
    """Estimate the memory of a request that was read from these fields."""
    text = sum(getsizeof(name) + getsizeof(value) for name, value in fields.items())
    return 600 + 100 * len(fields) + text
