"""Status callbacks of streams, each counted once even if Plivo repeats it."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from cachetools import TTLCache

from mediaserver.plivo.callbacks import StreamStatusRequest
from mediaserver.server.remembered import Remembered, form_bytes


_SEEN_SECONDS: Final = 300.0
"""Seconds for which a callback is remembered. Plivo repeats one without a reply within a minute."""
_SEEN_BYTES: Final = 67_108_864
"""Memory for that: some 600,000 callbacks, whatever they say, or three for each of 600 calls a
second. Beyond it the oldest are forgotten, and counted again if Plivo repeats them."""
_EARLY_SECONDS: Final = 10.0
"""Seconds that a callback waits for its stream: it may arrive before the stream's socket."""
_EARLY_BYTES: Final = 33_554_432
"""Memory for callbacks that wait: some 10,000 of Plivo's, or one and a half for each of 600 calls a
second. Beyond it the oldest are dropped."""
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
        self._seen = Remembered(_SEEN_SECONDS, limit=_SEEN_BYTES, clock=clock)
        # By stream, and number in it.
        self._early: TTLCache[tuple[str, int], StreamStatusRequest] = TTLCache(
            _EARLY_BYTES,
            _EARLY_SECONDS,
            timer=clock,
            getsizeof=lambda status: form_bytes(status.fields),
        )

    def take(self, status: StreamStatusRequest, *, counts: bool = True) -> bool:
        """Tell whether a callback is new, and count it if it is, unless a neighbour does."""
        key = repr(status.idempotency_key)
        if key in self._seen:
            return False
        self._seen.add(key)
        if counts:
            self._counts[status.kind] += 1
        return True

    def keep(self, status: StreamStatusRequest) -> None:
        """Keep a callback whose stream has not started yet."""
        for key in self._places(status.stream_id):
            if key not in self._early:
                with contextlib.suppress(ValueError):  # one that is larger than all the memory
                    self._early[key] = status
                break

    def kept(self, stream_id: str) -> list[StreamStatusRequest]:
        """Take out the callbacks that came before their stream."""
        taken = [self._early.pop(key, None) for key in self._places(stream_id)]
        return [status for status in taken if status is not None]

    def _places(self, stream_id: str) -> list[tuple[str, int]]:
        return [(stream_id, number) for number in range(EARLY_EACH)]
