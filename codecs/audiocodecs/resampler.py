"""A streaming resampler whose only delay is that of its filter.

It computes a polyphase FIR as one matrix product. The input is cut into blocks; each row holds a
block and the history before it; the columns of the matrix are the filter at the positions of a
block's outputs. Small blocks waste few multiplications on the matrix's zeros, and BLAS makes the
product fast.
"""

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from audiocodecs.errors import AudioError, shown
from audiocodecs.filters import low_pass
from audiocodecs.formats import RATES, described
from audiocodecs.odd_rates import OddRates
from audiocodecs.samples import INT16, Samples, require_channels, require_mono


_MOST_PRODUCTS = 200_000
"""Multiplications in one matrix product; BLAS would spread a larger one over several threads."""

_HIGHEST = 48_000
"""Hz: above it a filter that is one product a sample costs more than libsoxr's stages."""

_MOST_PHASES = 441
"""The higher rate / the common divisor: a filter's memory grows with its square. This is enough for
22.05 and 44.1 kHz with each of the telephone rates."""


class Resampler:
    """Converts a stream of samples from one rate to another, chunk by chunk.

    The output does not depend on how the input is cut into chunks, bit for bit: taps and samples
    are integers, their sums are exact in float64, and each output is rounded once, at the end.

    The stop band begins at the lower rate's Nyquist frequency, 70 dB down or more; up to 0.85 of it
    the gain is within 0.5 dB of 1. The delay from an impulse to its peak is 20 samples at the lower
    rate (2.5 ms at 8 kHz) among the telephone rates 8, 16, 24 and 48 kHz, and about 32 for the
    others that services have, such as 12, 22.05, 32 and 44.1 kHz. Above 48 kHz, and between rates
    with a small common divisor, such as 11,025 and 16,000 Hz, libsoxr does the work; see
    `OddRates`.

    Args:
        rate_in: rate of the input in Hz, one of `RATES`.
        rate_out: rate of the output in Hz, one of `RATES`. If it equals ``rate_in``, samples pass
            through unchanged.

    Raises:
        AudioError: if a rate is not one of `RATES`.

    """

    __slots__ = ("_bank", "_history", "_odd", "rate_in", "rate_out")

    def __init__(self, rate_in: int, rate_out: int) -> None:
        for rate in (rate_in, rate_out):
            require_rate(rate)
        self.rate_in = int(rate_in)
        self.rate_out = int(rate_out)
        self._bank: _Bank | None = None
        self._odd: OddRates | None = None
        if rate_in != rate_out:
            highest = max(self.rate_in, self.rate_out)
            phases = highest // math.gcd(self.rate_in, self.rate_out)
            if highest <= _HIGHEST and phases <= _MOST_PHASES:
                self._bank = _bank(self.rate_in, self.rate_out)
            else:
                self._odd = OddRates(self.rate_in, self.rate_out)
        self.reset()

    @property
    def delay(self) -> float:
        """Seconds from an impulse in the input to its peak in the output."""
        return self._bank.delay / self.rate_out if self._bank else 0.0

    @property
    def is_late(self) -> bool:
        """Whether `process` holds back more than its delay, because libsoxr does the work."""
        return self._odd is not None

    def process(self, samples: Samples) -> Samples:
        """Return all output that can be computed once ``samples`` follow the input so far.

        After n input samples in all, the outputs add up to ceil(n * rate_out / rate_in), unless
        libsoxr does the work.

        Args:
            samples: int16, one-dimensional, of any length.

        Returns:
            A new int16 array.

        Raises:
            AudioError: if ``samples`` has another type or shape.

        """
        require_mono(samples)
        bank = self._bank
        if bank is None:
            return samples.copy() if self._odd is None else self._odd.process(samples)
        if len(samples) <= bank.longest:
            return self._filter(bank, samples)
        starts = range(0, len(samples), bank.longest)
        return np.concatenate(
            [self._filter(bank, samples[start : start + bank.longest]) for start in starts]
        )

    def flush(self) -> Samples:
        """Return the output that the delay still holds back, and start over.

        The outputs then add up to the length of the input plus the delay.
        """
        if self._odd is not None:
            return self._odd.flush()
        bank = self._bank
        if bank is None or self._history is bank.silence:
            return np.empty(0, INT16)
        tail = self._filter(bank, np.zeros(bank.tail, INT16))[: bank.delay]
        self.reset()
        return tail

    def reset(self) -> None:
        """Forget the input so far and start over from silence, as after an interruption."""
        # the inputs that future outputs depend on: the filter's reach, then the inputs that do not
        # yet make up a whole number of outputs
        self._history = self._bank.silence if self._bank else np.empty(0, INT16)
        if self._odd is not None:
            self._odd.reset()

    def _filter(self, bank: "_Bank", samples: Samples) -> Samples:
        if not len(samples):
            return np.empty(0, INT16)
        kept = len(self._history)
        known = kept + len(samples)
        fresh = known - bank.reach
        blocks = -(-fresh // bank.block)
        line = np.zeros(bank.reach + blocks * bank.block)
        line[:kept] = self._history
        line[kept:known] = samples
        windows: NDArray[np.float64] = np.ndarray(
            (blocks, bank.reach + bank.block),
            np.float64,
            line,
            strides=(bank.block * line.itemsize, line.itemsize),
        )
        # BLAS needs rows that do not overlap
        sums = (windows.copy() @ bank.matrix).reshape(-1)
        first = -(-(kept - bank.reach) * bank.up // bank.down)
        end = -(-fresh * bank.up // bank.down)
        outputs = sums[first:end]
        outputs *= bank.scale
        np.rint(outputs.clip(-32768.0, 32767.0, out=outputs), out=outputs)
        self._history = line[fresh - fresh % bank.down : known].astype(INT16)
        return outputs.astype(INT16)


def require_rate(rate: Any) -> None:
    """Raise AudioError unless ``rate`` is one of `RATES`."""
    if not isinstance(rate, int | np.integer) or int(rate) not in RATES:
        raise AudioError(f"cannot resample at {shown(rate)} Hz; allowed: {described(RATES)}")


def resample(samples: Samples, rate_in: int, rate_out: int) -> Samples:
    """Return a whole clip at another rate. The delay is removed: it lines up with the original.

    Args:
        samples: int16, of shape ``(n,)`` or ``(n, channels)``.
        rate_in: rate of ``samples`` in Hz, one of `RATES`.
        rate_out: rate of the result in Hz, one of `RATES`.

    Returns:
        A new int16 array, ceil(n * rate_out / rate_in) samples long, with the same channels.

    Raises:
        AudioError: if a rate is not one of `RATES`, or ``samples`` has another type or shape.

    """
    require_channels(samples)
    resampler = Resampler(rate_in, rate_out)
    if samples.ndim == 2:
        channels = [resample(channel, rate_in, rate_out) for channel in samples.T]
        return np.stack(channels, axis=1)
    late = np.concatenate([resampler.process(samples), resampler.flush()])
    in_time = late[round(resampler.delay * resampler.rate_out) :]
    # libsoxr rounds the length to the nearest sample
    length = -(-len(samples) * resampler.rate_out // resampler.rate_in)
    return (
        in_time if len(in_time) == length else np.resize(np.append(in_time, INT16.type(0)), length)
    )


class _Bank(NamedTuple):
    """A filter laid out for one pair of rates, shared by every resampler between them."""

    up: int
    down: int
    block: int
    """Inputs in a block; a multiple of ``down``."""
    reach: int
    """Inputs before a block that its outputs depend on."""
    matrix: NDArray[np.float64]
    """Of shape (reach + block, outputs of a block)."""
    scale: float
    """Turns a sum of products into a sample."""
    delay: int
    """In outputs."""
    tail: int
    """Inputs that yield ``delay`` more outputs."""
    silence: Samples
    """The history before any input; ``reach`` long."""
    longest: int
    """Most inputs in one matrix product."""


@functools.lru_cache(maxsize=64)
def _bank(rate_in: int, rate_out: int) -> _Bank:
    low = low_pass(rate_in, rate_out)
    up, down, taps = low.up, low.down, low.taps
    reach = (len(taps) - 1) // up
    # half the reach measured fastest: shorter means more copying, longer more zeros
    block = max(1, round(reach / 2 / down)) * down
    age = np.arange(block * up // down) * down - np.arange(-reach, block)[:, None] * up
    within = (age >= 0) & (age < len(taps))
    matrix = np.where(within, taps[np.where(within, age, 0)], 0.0)
    return _Bank(
        up=up,
        down=down,
        block=block,
        reach=reach,
        matrix=matrix,
        scale=1 / low.gain,
        delay=low.delay // down,
        tail=math.ceil((low.delay + down) / up),
        silence=np.zeros(reach, INT16),
        longest=max(1, _MOST_PRODUCTS // matrix.size) * block,
    )
