"""Checks of services' settings, when a service is made."""

from __future__ import annotations

import math


def require_within(low: float, high: float, **settings: float | None) -> None:
    """Check numbers that may be left out.

    Raises:
        ValueError: one is not a number from `low` to `high`.

    """
    for name, value in settings.items():
        if value is None:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not low <= value <= high:
            raise ValueError(f"{name} must be a number from {low:g} to {high:g}, not {value!r}")


def require_name(**settings: str | None) -> None:
    """Check names that may be left out.

    Raises:
        ValueError: one is empty, or has white space around it or in it.

    """
    for name, value in settings.items():
        if value is not None and (not isinstance(value, str) or value.split() != [value]):
            raise ValueError(f"{name} must be a word without spaces, not {value!r}")
