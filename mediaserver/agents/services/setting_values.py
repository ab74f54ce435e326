"""Checks of services' settings, when a service is made."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from urllib.parse import SplitResult, urlsplit


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


def require_url(
    url: str, *, like: str, schemes: Collection[str], has_path: bool = True
) -> SplitResult:
    """Check the URL of a service's server, and return its parts.

    Args:
        url: the URL.
        like: one that would be right, for the error.
        schemes: the schemes that it may have.
        has_path: whether it may have a path.

    Raises:
        ValueError: it has another scheme, no host, a query, or a path that it may not have.

    """
    parts = urlsplit(url)
    wrong = parts.query or (parts.path.strip("/") and not has_path)
    if parts.scheme not in schemes or not parts.hostname or wrong:
        raise ValueError(f"base_url must look like {like}, not {url!r}")
    return parts


def require_terms(keyterms: Sequence[str], *, most: int, longest: int) -> list[str]:
    """Return terms that callers are likely to say.

    Args:
        keyterms: the terms.
        most: how many there may be.
        longest: characters that each may have.

    Raises:
        ValueError: they are one text, or too many, or one of them is empty or too long.

    """
    terms = require_text_list("keyterms", keyterms)
    if len(terms) > most or any(len(term) > longest for term in terms):
        raise ValueError(
            f"keyterms must be at most {most} terms, each of at most {longest} characters,"
            f" not {keyterms!r}"
        )
    return terms


def require_name(**settings: str | None) -> None:
    """Check names that may be left out.

    Raises:
        ValueError: one is empty, or has white space around it or in it.

    """
    for name, value in settings.items():
        if value is not None and (not isinstance(value, str) or value.split() != [value]):
            raise ValueError(f"{name} must be a word without spaces, not {value!r}")


def require_text_list(name: str, values: Sequence[str]) -> list[str]:
    """Return a setting that is a list of texts.

    Raises:
        ValueError: it is one text, or one of them is empty.

    """
    if isinstance(values, str) or any(not isinstance(v, str) or not v.strip() for v in values):
        raise ValueError(f"{name} is a list of texts, none of them empty, not {values!r}")
    return list(values)
