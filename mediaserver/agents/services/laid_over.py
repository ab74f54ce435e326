"""Settings in a provider's own form, laid over those that a service makes; without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def laid_over(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `settings` with `changes` made in it, at any depth."""
    merged = dict(settings)
    for name, value in changes.items():
        present = merged.get(name)
        if isinstance(present, Mapping) and isinstance(value, Mapping):
            value = laid_over(present, value)
        merged[name] = value
    return merged
