"""What a check finds: all is well, something is wrong, or the check does not apply."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias


FindingStatus: TypeAlias = Literal["ok", "failed", "skipped"]


class Finding(NamedTuple):
    """What one check has found."""

    status: FindingStatus
    detail: str
    """What was seen; of a skipped check, why it does not apply."""
    remedy: str | None = None
    """How to mend it, if it failed."""


def passed(detail: str) -> Finding:
    """Return the finding that all is well."""
    return Finding("ok", detail)


def failed(detail: str, remedy: str) -> Finding:
    """Return the finding that something is wrong, and how to mend it."""
    return Finding("failed", detail, remedy)


def skipped(why: str) -> Finding:
    """Return the finding of a check that does not apply."""
    return Finding("skipped", why)
