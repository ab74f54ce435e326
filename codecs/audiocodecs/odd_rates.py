"""Resampling between rates whose ratio has no short filter, by libsoxr."""

import numpy as np
import soxr
from numpy.typing import NDArray

from audiocodecs.samples import INT16, Samples


_QUALITY = "HQ"


class OddRates:
    """A stream between two rates such as 11,127 and 8,000 Hz, or 96 and 8 kHz.

    The output does not depend on how the input is cut, bit for bit. It has no delay of its own, but
    comes late: libsoxr holds back up to a sixth of a second.

    Args:
        rate_in: rate of the input in Hz.
        rate_out: rate of the output in Hz.

    """

    __slots__ = ("_begun", "_stream")

    def __init__(self, rate_in: int, rate_out: int) -> None:
        self._stream = soxr.ResampleStream(rate_in, rate_out, 1, dtype="float32", quality=_QUALITY)
        self._begun = False

    def process(self, samples: Samples) -> Samples:
        """Return the output that is ready after ``samples`` (int16, one-dimensional)."""
        if not len(samples):
            return np.empty(0, INT16)
        self._begun = True
        return _rounded(self._stream.resample_chunk(samples.astype(np.float32)))

    def flush(self) -> Samples:
        """Return the rest of the output, and start over."""
        if not self._begun:
            return np.empty(0, INT16)
        rest = _rounded(self._stream.resample_chunk(np.empty(0, np.float32), last=True))
        self.reset()
        return rest

    def reset(self) -> None:
        """Forget the input so far."""
        if self._begun:
            self._stream.clear()
            self._begun = False


def _rounded(values: NDArray[np.float32]) -> Samples:
    rounded: Samples = np.rint(values.clip(-32768.0, 32767.0)).astype(INT16)
    return rounded
