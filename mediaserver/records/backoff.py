"""How long to wait before something that failed is tried again."""

from __future__ import annotations

import random
from collections.abc import Callable


def delay_after(
    failures: int, *, first: float, longest: float, jitter: Callable[[], float] = random.random
) -> float:
    """Return the seconds to wait after failures in a row.

    They double from `first` to `longest`, less up to a fifth, so that processes which failed at the
    same time do not all come back at the same time.
    """
    seconds = min(longest, first * 2.0 ** min(failures - 1, 60))
    return seconds * (1.0 - 0.2 * jitter())
