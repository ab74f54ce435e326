"""Finding the audible parts of telephone audio.

On a telephone silence is sent as audio too: an agent that echoes its caller plays without a pause
for the whole call. So only the sound itself shows whether somebody speaks.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from audiocodecs import AudioFormat


AUDIBLE_PEAK = 256
"""A sample beyond ±256 (-42 dBFS) counts as sound: above line noise, below quiet speech."""

AUDIBLE_SHARE = 8
"""A slice is audible when more than one sample in this many counts as sound, so no click does."""

SLICES_PER_SECOND = 50


class SpeechDetector:
    """Finds the audible 20 ms slices of payloads in one audio format.

    G.711 has one byte per sample, so deleting the quiet codes from the bytes and counting what
    is left decides a slice without decoding it.
    """

    __slots__ = ("_quiet_codes", "_slice_bytes", "format")

    def __init__(self, format: AudioFormat) -> None:
        self.format = format
        self._slice_bytes = format.rate // SLICES_PER_SECOND * format.sample_bytes
        self._quiet_codes: bytes | None = None
        if format.sample_bytes == 1:
            codes = bytes(range(256))
            levels = np.abs(format.decode(codes).astype(np.int32))
            self._quiet_codes = bytes(np.flatnonzero(levels <= AUDIBLE_PEAK).astype(np.uint8))

    def spans(self, payload: bytes) -> Iterator[tuple[int, int]]:
        """Yield `(start, end)` byte offsets of audible stretches, whole slices, in order."""
        start: int | None = None
        size = self._slice_bytes
        for offset in range(0, len(payload), size):
            if self._is_audible(payload[offset : offset + size]):
                if start is None:
                    start = offset
            elif start is not None:
                yield start, offset
                start = None
        if start is not None:
            yield start, len(payload)

    def _is_audible(self, piece: bytes) -> bool:
        if self._quiet_codes is not None:
            loud = len(piece.translate(None, self._quiet_codes))
            return loud * AUDIBLE_SHARE > len(piece)
        if piece.count(0) == len(piece):  # silence, found at a tenth of the cost of arrays
            return False
        samples = np.frombuffer(piece, "<i2")
        loud = int(np.count_nonzero((samples > AUDIBLE_PEAK) | (samples < -AUDIBLE_PEAK)))
        return loud * AUDIBLE_SHARE > len(samples)


class Spells:
    """Spells of sound on one timeline, in samples: neighbours closer than `pause` are one.

    Attributes:
        spells: `(start, end)` sample positions, in order.

    """

    __slots__ = ("_broken", "_pause", "spells")

    def __init__(self, pause: int) -> None:
        self.spells: list[tuple[int, int]] = []
        self._pause = pause
        self._broken = False

    def add(self, start: int, end: int) -> None:
        """Add sound from sample `start` to sample `end`, not before any added earlier."""
        if self.spells and not self._broken:
            first, last = self.spells[-1]
            if start - last < self._pause:
                self.spells[-1] = (first, max(last, end))
                return
        self._broken = False
        self.spells.append((start, end))

    def break_off(self) -> None:
        """Let the next sound begin a new spell, however soon it comes."""
        self._broken = True
