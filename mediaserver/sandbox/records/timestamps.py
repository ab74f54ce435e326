"""Times as Plivo writes them, in UTC."""

from __future__ import annotations

import math
from datetime import UTC, datetime


def seconds_begun(seconds: float) -> int:
    """Return a duration in whole seconds; a second that has begun counts whole."""
    # Unix times as floats: a difference below a microsecond is a rounding error.
    return max(0, math.ceil(seconds - 1e-6))


def spaced(epoch: float) -> str:
    """Return a time as in callbacks: `2024-10-14 13:42:33`."""
    return f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%d %H:%M:%S}"


def spaced_precise(epoch: float) -> str:
    """Return a time as in `SessionStart`: `2024-10-14 13:42:33.050872`."""
    return f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%d %H:%M:%S.%f}"


def offset(epoch: float) -> str:
    """Return a time as in objects of the API: `2024-10-14 13:42:33+00:00`."""
    return f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%d %H:%M:%S}+00:00"


def offset_precise(epoch: float) -> str:
    """Return a time as in `created_at`: `2024-10-14 13:42:33.136962+00:00`."""
    return f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%d %H:%M:%S.%f}+00:00"
