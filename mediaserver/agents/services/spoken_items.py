"""How much audio came of each thing that a realtime model says, without I/O."""

from __future__ import annotations

from typing import Final

from audiocodecs import AudioFormat
from mediaserver.call import WholeSamples


_REMEMBERED_ITEMS: Final = 64
"""Number of the latest items that can still be truncated."""


class SpokenItems:
    """Cuts the model's speech into whole samples, and knows where it may be truncated.

    Args:
        wire: the format in which the API speaks.

    """

    def __init__(self, wire: AudioFormat) -> None:
        self._wire = wire
        self._lengths: dict[str, int] = {}  # bytes received of each item
        self._complete: set[str] = set()
        self._whole = WholeSamples()

    def take(self, item_id: str, audio: bytes) -> bytes:
        """Take a piece of an item's audio; return the samples that are whole with it."""
        if item_id not in self._lengths:
            self._lengths[item_id] = 0
            self._whole.forget()
            if len(self._lengths) > _REMEMBERED_ITEMS:
                self._complete.discard(oldest := next(iter(self._lengths)))
                del self._lengths[oldest]
        self._lengths[item_id] += len(audio)
        return self._whole.take(audio, self._wire)

    def complete(self, item_id: str) -> None:
        """Note that all of an item has come."""
        if item_id in self._lengths:
            self._complete.add(item_id)

    def truncate(self, item_id: str, seconds: float) -> int | None:
        """Return the milliseconds of an item that are to be kept, and forget the item.

        None if there is nothing to truncate: the item is not known, was truncated before, or the
        caller heard all of it. Otherwise never more than what came, as the API insists.
        """
        received = self._lengths.pop(item_id, None)
        if received is None:
            return None
        length = int(received * 1000 / self._wire.bytes_per_second)
        heard = round(max(0.0, seconds) * 1000)
        if heard >= length and item_id in self._complete:
            return None
        return min(heard, length)
