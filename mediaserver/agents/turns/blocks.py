"""Frames of any length in, blocks of one length out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from audiocodecs import Resampler, Samples
from mediaserver.call import Frame


DETECTOR_RATES: Final = (8_000, 16_000)
"""What voice detectors hear; other rates are resampled to the higher of the two."""


class Blocks:
    """Cuts a stream of frames into blocks that are all equally long.

    Args:
        samples_at_8k: The length of a block in samples at 8 kHz; at 16 kHz it is twice as many.

    Attributes:
        rate: Of the blocks, in Hz: 8,000 or 16,000. Known from the first frame on.

    """

    def __init__(self, samples_at_8k: int) -> None:
        self.rate = DETECTOR_RATES[0]
        self._samples_at_8k = samples_at_8k
        self._size = samples_at_8k
        self._rest = np.empty(0, np.int16)
        self._resampler: Resampler | None = None
        self._started = False

    def push(self, frame: Frame) -> Iterator[Samples]:
        """Take `frame` and return the blocks that are now complete."""
        if not self._started:
            self._start(frame.format.rate)
        samples = frame.samples
        if self._resampler is not None:
            samples = self._resampler.process(samples)
        if len(self._rest):
            samples = np.concatenate((self._rest, samples))
        size = self._size
        whole = len(samples) // size * size
        self._rest = samples[whole:]
        return (samples[start : start + size] for start in range(0, whole, size))

    def _start(self, rate: int) -> None:
        self._started = True
        if rate not in DETECTOR_RATES:
            self._resampler = Resampler(rate, DETECTOR_RATES[1])
            rate = DETECTOR_RATES[1]
        self.rate = rate
        self._size = self._samples_at_8k * rate // DETECTOR_RATES[0]
