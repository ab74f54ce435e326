"""The speech of the talking servers."""

from functools import cache

import numpy as np
from numpy.typing import NDArray


RATE = 8000
LONGEST = 600.0


@cache
def speech(seconds: float) -> NDArray[np.int16]:
    """Return noise in which every 20 ms is audible and different."""
    if not 0 < seconds <= LONGEST:
        raise ValueError(f"speech lasts more than 0 s and at most {LONGEST:g} s, not {seconds!r}")
    noise = np.random.default_rng(0).integers(-9000, 9000, round(seconds * RATE))
    return noise.astype(np.int16)
