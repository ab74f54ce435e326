"""Voice by loudness: what stands out from the noise of the line."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from audiocodecs import Samples
from mediaserver.agents.turns.blocks import Blocks
from mediaserver.call import Frame


_BLOCK: Final = 160  # samples at 8 kHz: 20 ms

# Decibels relative to full scale. Below the quietest level nothing is audible on a telephone.
_QUIETEST: Final = -60.0
_LOUDEST_NOISE: Final = -20.0

# The floor follows quieter sound at once and louder sound slowly: a sentence is over before the
# floor has risen much, and a fan that was switched on is learnt within seconds.
_FALL: Final = 0.3
_RISE: Final = 0.08  # decibels a block: 4 in a second

_SLOPE: Final = 1.5  # decibels


class Floor:
    """Learns the noise of a line, 20 ms at a time.

    Attributes:
        noise: Its level, in decibels relative to full scale.
        level: That of the last 20 ms.

    """

    def __init__(self) -> None:
        self.noise = _QUIETEST
        self.level = _QUIETEST

    def hear(self, block: Samples) -> float:
        """Return by how many decibels `block` stands out from the noise so far."""
        self.level = loudness(block)
        above = self.level - self.noise
        step = _FALL * above if above < 0 else min(_RISE, above)
        self.noise = min(self.noise + step, _LOUDEST_NOISE)
        return above


class LevelDetector:
    """Treats sound as speech if it is clearly louder than the line's noise, which it learns.

    It needs no package beyond numpy and costs a few microseconds a frame, but takes any loud noise
    for speech: enough for tests and for quiet lines.

    Args:
        margin: Decibels above the noise at which the probability is a half, up to 40.

    """

    def __init__(self, margin: float = 9.0) -> None:
        if not 0 < margin <= 40:
            raise ValueError(f"margin must be more than 0 and at most 40 decibels, not {margin!r}")
        self._margin = margin
        self._floor = Floor()
        self._blocks = Blocks(_BLOCK)
        self._probability = 0.0

    def probability(self, frame: Frame) -> float:
        """Return 0 to 1 by how far the last 20 ms stand out from the noise."""
        for block in self._blocks.push(frame):
            above = self._floor.hear(block)
            self._probability = 1 / (1 + math.exp((self._margin - above) / _SLOPE))
        return self._probability


def loudness(samples: Samples) -> float:
    """Return the level of `samples` in decibels relative to full scale, -60 at the least."""
    heard = samples.astype(np.float32)
    power = float(np.dot(heard, heard)) / len(heard) / 2**30
    return max(10 * math.log10(power), _QUIETEST) if power else _QUIETEST
