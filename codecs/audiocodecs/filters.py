"""The resampler's low-pass filters: linear phase, integer taps, one for each pair of rates.

Resampling works, in theory, at the internal rate: the least common multiple of the two rates. Zeros
between the samples raise the signal to ``up`` times its rate, the filter is applied, and every
``down``-th sample is kept. The filter passes frequencies up to 0.85 of the lower rate's Nyquist
frequency and attenuates those above the Nyquist frequency by 70 dB or more.

Among 8, 16, 24 and 48 kHz, and wherever else the internal rate is 2, 3 or 6 times the higher one,
the filters are equiripple, the shortest kind that meets these goals. Most other internal rates are
in the megahertz and need too many taps to optimise; their filters use a Kaiser window, which is
half as long again.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiocodecs.taps import DELAY, HALVES


_PASS_EDGE = 0.85
_KAISER_DB = 75.0
_KAISER_DELAY = 32
"""Samples at the lower rate: what 75 dB over a transition band from 0.85 to 1.0 needs."""
_KAISER_GAIN = 2**24


class LowPass(NamedTuple):
    """A low-pass filter at the internal rate.

    The taps are integers, held in float64. Sums of their products with 16-bit samples stay far
    below 2^53, so filtering is exact and the order of additions does not matter. Each of
    the ``up`` phases has the same sum, so a constant input gives a constant output.
    """

    up: int
    """Internal rate / input rate."""
    down: int
    """Internal rate / output rate."""
    taps: NDArray[np.float64]
    delay: int
    """In samples at the internal rate; a multiple of ``down``."""

    @property
    def gain(self) -> float:
        """The gain at 0 Hz."""
        return float(self.taps.sum()) / self.up


def low_pass(rate_in: int, rate_out: int) -> LowPass:
    """Return the filter for ``rate_in`` → ``rate_out``, both in Hz."""
    divisor = math.gcd(rate_in, rate_out)
    up, down = rate_out // divisor, rate_in // divisor
    ratio = max(up, down)
    return _equiripple(up, down) if ratio in HALVES else _kaiser(up, down)


def _equiripple(up: int, down: int) -> LowPass:
    ratio = max(up, down)
    half = HALVES[ratio]
    # the zero in front makes the delay a whole number of samples at either rate
    return LowPass(up, down, np.array([0, *half, *half[-2::-1]], np.float64), DELAY * ratio)


def _kaiser(up: int, down: int) -> LowPass:
    ratio = max(up, down)
    delay = math.ceil(_KAISER_DELAY * ratio / down) * down
    position = np.arange(1 - delay, delay)
    beta = 0.1102 * (_KAISER_DB - 8.7)  # Kaiser's formula
    cutoff = (1 + _PASS_EDGE) / 2 / ratio
    ideal = np.append(0.0, np.sinc(cutoff * position) * np.kaiser(len(position), beta))
    phases = np.resize(ideal, (math.ceil(len(ideal) / up), up))
    phases.reshape(-1)[len(ideal) :] = 0.0
    taps = np.rint(phases / phases.sum(axis=0) * _KAISER_GAIN)
    # the largest tap of each phase takes up the rounding error, where it matters least
    taps[np.abs(taps).argmax(axis=0), np.arange(up)] += _KAISER_GAIN - taps.sum(axis=0)
    return LowPass(up, down, taps.reshape(-1)[: len(ideal)], delay)
