"""Noise cancellation on the caller's audio, by the noise suppressor of WebRTC.

`noiseCancellationLevel` of `<Stream>` runs from 60 to 100. Plivo's pages do not say what a level
does; here it sets how much steady noise is reduced, in equal steps of decibels. The suppressor
has four strengths only, and takes from the speech too; in between, part of the original is left
in, which leaves more of both.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from audiocodecs import Resampler, Samples


MIN_LEVEL: Final = 60
MAX_LEVEL: Final = 100
DEFAULT_LEVEL: Final = 85

LEAST_DECIBELS: Final = 6.0
MOST_DECIBELS: Final = 21.0
"""How far steady noise is turned down at the least and at the highest level."""

_RATE: Final = 16_000
_BLOCK: Final = 160

# Strengths of the suppressor, and by how many decibels each turns steady noise down. The weakest
# (6 dB) is left out: half of the next one costs speech less and gains more.
_STRENGTHS: Final = ((2, 12.0), (3, 18.0), (4, MOST_DECIBELS))

# The suppressor's windows overlap: what goes in comes out this many samples later.
_LATENCY: Final = 96


class NoiseCancellationError(RuntimeError):
    """There is no noise suppressor on this machine."""


def reduction(level: int) -> float:
    """Return by how many decibels steady noise is turned down at `level`.

    Raises:
        ValueError: The level is not 60 to 100.

    """
    if isinstance(level, bool) or not isinstance(level, int) or not MIN_LEVEL <= level <= MAX_LEVEL:
        raise ValueError(
            f"a noise cancellation level is a whole number from {MIN_LEVEL} to {MAX_LEVEL}, "
            f"not {level!r}"
        )
    share = (level - MIN_LEVEL) / (MAX_LEVEL - MIN_LEVEL)
    return LEAST_DECIBELS + share * (MOST_DECIBELS - LEAST_DECIBELS)


class NoiseCanceller:
    """Takes the noise out of a stream of samples, chunk by chunk.

    The weakest strength of the suppressor that is enough for `reduction(level)` is used, and the
    original mixed in again, through the same high-pass filter and as late, until it is no more
    than that. The suppressor needs about a second to learn a noise.

    Args:
        level: How strong, 60 to 100.
        rate: Sample rate in Hz. Other than 16 kHz is resampled there and back.

    Raises:
        ValueError: The level is not 60 to 100.
        AudioError: The rate cannot be resampled.
        NoiseCancellationError: The suppressor is not installed.

    """

    def __init__(self, level: int = DEFAULT_LEVEL, rate: int = _RATE) -> None:
        decibels = reduction(level)
        strength, most = next(each for each in _STRENGTHS if each[1] >= decibels)
        wanted, floor = 10 ** (-decibels / 20), 10 ** (-most / 20)
        self.level = level
        self.rate = rate
        # Share of the original that leaves noise at the wanted level, the rest being suppressed.
        self._dry = (wanted - floor) / (1 - floor)
        self._up = Resampler(rate, _RATE)
        self._down = Resampler(_RATE, rate)
        self._suppressor = _processor(strength)
        # Does no more than the high-pass filter that the suppressor has too.
        self._filter = _processor(0)
        self._waiting = np.empty(0, np.int16)
        self._late = np.zeros(_LATENCY, np.int16)

    @property
    def delay(self) -> float:
        """Seconds from sound in to sound out, given whole blocks of 10 ms; otherwise 10 ms more."""
        return self._up.delay + _LATENCY / _RATE + self._down.delay

    def process(self, samples: Samples) -> Samples:
        """Return what `samples` (`int16[n]`), after what came before, bring out.

        Whole blocks of 10 ms bring out as many samples as go in.

        Raises:
            AudioError: The samples are not mono int16.

        """
        self._waiting = np.concatenate([self._waiting, self._up.process(samples)])
        whole = len(self._waiting) // _BLOCK * _BLOCK
        ready, self._waiting = self._waiting[:whole], self._waiting[whole:]
        if not whole:
            return np.empty(0, np.int16)
        wet = _through(self._suppressor, ready)
        if self._dry:
            dry = np.concatenate([self._late, _through(self._filter, ready)])
            dry, self._late = dry[:whole], dry[whole:]
            mixed = self._dry * dry + (1 - self._dry) * wet
            wet = np.rint(mixed).astype(np.int16)
        return self._down.process(wet)


def _processor(suppression: int) -> Any:
    try:
        from webrtc_noise_gain import AudioProcessor
    except ImportError as error:
        raise NoiseCancellationError(
            "noise cancellation needs the package webrtc-noise-gain (pip install "
            f"'.[sandbox]'; it comes for Linux): {error}"
        ) from error
    return AudioProcessor(0, suppression)


def _through(processor: Any, samples: Samples) -> Samples:
    blocks = samples.reshape(-1, _BLOCK)
    data = b"".join(processor.Process10ms(block.tobytes()).audio for block in blocks)
    return np.frombuffer(data, np.int16)
