"""Status callbacks of streams, each counted once even if Plivo repeats it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from cachetools import TTLCache

from mediaserver.plivo.callbacks import StreamStatusRequest


_SEEN_SECONDS: Final = 3_600.0
"""Seconds for which a callback is remembered."""
_SEEN_LIMIT: Final = 65_536
"""Number of callbacks that are remembered."""
_EARLY_SECONDS: Final = 10.0
"""Seconds that a callback waits for its stream: it may arrive before the stream's socket."""
_EARLY_LIMIT: Final = 1_024
"""Number of streams for which callbacks wait."""
EARLY_EACH: Final = 8
"""Number of callbacks that wait for one stream."""


class Statuses:
    """The status callbacks of one process.

    Args:
        counts: Counts them by kind.
        clock: Monotonic seconds.

    """

    def __init__(
        self, counts: Counter[str], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._counts = counts
        self._seen: TTLCache[tuple[str, ...], None] = TTLCache(
            _SEEN_LIMIT, _SEEN_SECONDS, timer=clock
        )
        self._early: TTLCache[str, list[StreamStatusRequest]] = TTLCache(
            _EARLY_LIMIT, _EARLY_SECONDS, timer=clock
        )

    def take(self, status: StreamStatusRequest) -> bool:
        """Count a callback, and tell whether it is new."""
        key = status.idempotency_key
        if key in self._seen:
            return False
        self._seen[key] = None
        self._counts[status.kind] += 1
        return True

    def keep(self, status: StreamStatusRequest) -> None:
        """Keep a callback whose stream has not started yet."""
        waiting = self._early.get(status.stream_id)
        if waiting is None:
            waiting = self._early[status.stream_id] = []
        if len(waiting) < EARLY_EACH:
            waiting.append(status)

    def kept(self, stream_id: str) -> list[StreamStatusRequest]:
        """Take out the callbacks that came before their stream."""
        return self._early.pop(stream_id, [])
