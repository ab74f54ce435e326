"""What came before, as digests in bounded memory."""

from __future__ import annotations

import hashlib
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from sys import getsizeof
from typing import Final


ENTRY_BYTES: Final = 100
"""Memory that one key takes, whatever its length: its digest, and its place in a set."""

_PARTS: Final = 8
"""Parts in which keys are forgotten."""

_SALT: Final = secrets.token_bytes(16)
"""So that nobody can find a key with the digest of another one."""


class Remembered:
    """The keys of the last `seconds`.

    They are kept in parts, one after the other, each for an eighth of the time and of the memory. A
    part is forgotten as a whole when all its keys are old enough, and earlier where there are more
    keys than fit: then the oldest are forgotten first. Seven eighths of what fits is always known.

    Args:
        seconds: Seconds for which a key is remembered, and at most an eighth of them longer.
        limit: Bytes of memory that all keys may take.
        clock: Monotonic seconds.

    """

    def __init__(self, seconds: float, *, limit: int, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._part = max(1, limit // ENTRY_BYTES // _PARTS)
        self._clock = clock
        self._newest: set[int] = set()
        # When it began, and when its last key came.
        self._began = self._added = clock()
        # The older parts, each with the time when its last key came, the newest first.
        self._older: deque[tuple[float, set[int]]] = deque()

    def __contains__(self, key: str) -> bool:
        self._turn()
        digest = _digest(key)
        return digest in self._newest or any(digest in part for _, part in self._older)

    def add(self, key: str) -> None:
        """Remember a key from now on."""
        self._turn()
        self._newest.add(_digest(key))
        self._added = self._clock()

    def discard(self, key: str) -> None:
        """Forget a key."""
        digest = _digest(key)
        self._newest.discard(digest)
        for _, part in self._older:
            part.discard(digest)

    def _turn(self) -> None:
        now = self._clock()
        if len(self._newest) >= self._part or now - self._began >= self._seconds / _PARTS:
            self._older.appendleft((self._added, self._newest))
            self._newest, self._began = set(), now
            while sum(len(part) for _, part in self._older) > (_PARTS - 1) * self._part:
                self._older.pop()
        while self._older and now - self._older[-1][0] >= self._seconds:
            self._older.pop()


def _digest(key: str) -> int:
    text = key.encode("utf-8", "surrogatepass")
    # An integer of up to 60 bits is the smallest object that tells so many keys apart.
    return int.from_bytes(hashlib.blake2b(text, digest_size=8, key=_SALT).digest(), "big") >> 4


def form_bytes(fields: Mapping[str, str]) -> int:
    """Estimate the memory of a request that was read from these fields."""
    text = sum(getsizeof(name) + getsizeof(value) for name, value in fields.items())
    return 600 + 100 * len(fields) + text
