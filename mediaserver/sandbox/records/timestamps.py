"""Times as Plivo writes them, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def spaced(epoch: float) -> str:
    """`2024-10-14 13:42:33`: callbacks."""
    return f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%d %H:%M:%S}"


def spaced_precise(epoch: float) -> str:
    """`2024-10-14 13:42:33.050872`: `SessionStart`."""
    return f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%d %H:%M:%S.%f}"


def offset(epoch: float) -> str:
    """`2024-10-14 13:42:33+00:00`: objects of the API."""
    return f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%d %H:%M:%S}+00:00"


def offset_precise(epoch: float) -> str:
    """`2024-10-14 13:42:33.136962+00:00`: `created_at`."""
    return f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%d %H:%M:%S.%f}+00:00"
