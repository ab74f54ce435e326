"""Whether the memory of a process is flat, from samples of it. Knows no processes."""

from collections.abc import Sequence
from itertools import combinations
from statistics import median
from typing import NamedTuple


FEWEST = 8
"""Samples below which there is no trend."""
MOST = 300
"""Samples that are compared with each other; of more, evenly spaced ones are."""


class Trend(NamedTuple):
    """How a value changed.

    Attributes:
        per_hour: The slope, in units an hour.
        percent: What this amounts to between the first and the last sample, of the median.

    """

    per_hour: float
    percent: float


def trend(samples: Sequence[tuple[float, float]]) -> Trend | None:
    """Return the trend of samples; None of too few.

    The slope is the median of the slopes between all pairs (Theil and Sen), which some samples
    that are far off, or a step near an end, do not change.

    Args:
        samples: Pairs of a time in seconds and a value, the oldest first.

    """
    if len(samples) < FEWEST:
        return None
    stride = -(-len(samples) // MOST)
    chosen = samples[::stride]
    slope = median(
        (late - early) / (after - before)
        for (before, early), (after, late) in combinations(chosen, 2)
        if after > before
    )
    middle = median(value for _, value in chosen)
    lasted = chosen[-1][0] - chosen[0][0]
    return Trend(slope * 3_600, 100 * slope * lasted / middle if middle else 0.0)
