"""File descriptors of the process: how many there are, and some in reserve.

Each call needs one, and so does each connection that asks for something. A process that has none
left can accept nothing, not even the question whether it is alive.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable
from typing import Final

import structlog


log = structlog.get_logger(__name__)

_MOST: Final = 1_048_576
"""The limit is not raised beyond this; "unlimited" makes programs slow that count up to it."""

_OF_THE_PROCESS: Final = 64
"""Descriptors for files, listeners, the event loop and what handlers share."""

_LOG_INTERVAL: Final = 60.0

EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
"""The error numbers of a process or machine without free descriptors or memory."""


def raise_descriptor_limit() -> None:
    """Raise the soft limit of open files to the hard one, as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < most:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (OSError, ValueError):
            # macOS does not accept every number below its hard limit.
            return


def descriptor_limit() -> int:
    """Return the largest number of files that the process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else min(soft, _MOST)


def most_waiting(wanted: int, limit: int) -> int:
    """Return how many connections may wait for a request where `limit` files may be open.

    It is at most a quarter of them, so that idle connections never use up the descriptors of calls.
    """
    return max(4, min(wanted, limit // 4))


def needed_descriptors(calls: int, waiting: int) -> int:
    """Return how many descriptors are needed for so many calls, with one connection each."""
    return calls + waiting + _OF_THE_PROCESS


def is_one_free() -> bool:
    """Tell whether one more file could be opened."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return False
    return True


class ShortageLog:
    """Says once a minute, and not for each connection, that no descriptor is left.

    Args:
        clock: Monotonic seconds.

    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._logged = float("-inf")

    def note(self, error: str | None, **more: object) -> None:
        """Say that a connection could not be taken."""
        now = self._clock()
        if now - self._logged >= _LOG_INTERVAL:
            self._logged = now
            log.error(
                "no file descriptor left for a connection",
                error=error,
                **more,
                hint="raise the limit of open files (ulimit -n, LimitNOFILE), or lower --max-calls",
            )


class SpareDescriptors:
    """Descriptors kept open so that each can be exchanged for a connection when no other is free.

    Args:
        number: How many.

    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._kept: list[int] = []
        self.refill()

    def take(self) -> bool:
        """Close one, so that a connection can have its number; False if there is none."""
        if not self._kept:
            return False
        os.close(self._kept.pop())
        return True

    def refill(self) -> None:
        """Open those that are missing, as far as possible."""
        while len(self._kept) < self._number:
            try:
                self._kept.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            except OSError:
                return

    def close(self) -> None:
        """Close all of them, for good."""
        self._number = 0
        while self.take():
            pass
