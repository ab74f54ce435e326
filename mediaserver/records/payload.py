"""A record as plain data, for webhooks, exports and ``--json``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec


_INTERNAL: Final = frozenset(("caller_key", "called_key", "journal", "record", "position"))
"""Columns by which rows are found."""


def plain_record(
    row: Mapping[str, Any], turns: Iterable[Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """Return the fields of a record, with its state, and those of its turns if they are given."""
    record: dict[str, Any] = {"id": row["id"], "state": state_of(row)}
    record |= _plain(row)
    if turns is not None:
        record["turn_list"] = [_plain(turn) for turn in turns]
    return record


def state_of(row: Mapping[str, Any]) -> str:
    """Return ``live``, ``ended``, or ``lost`` if the call's process has died."""
    if row["ended_at"] is None:
        return "live"
    return "lost" if row["cause"] == CAUSE_OF_LOST else "ended"


CAUSE_OF_LOST: Final = "process_lost"
"""The cause of a call's end whose process has died before it could tell of it."""


def webhook_body(row: Mapping[str, Any], turns: Iterable[Mapping[str, Any]]) -> bytes:
    """Return the body of the webhook that tells of the end of a call."""
    ended_at: datetime = row["ended_at"]
    event = {"type": "call.ended", "timestamp": written_time(ended_at)}
    return msgspec.json.encode(event | {"data": plain_record(row, turns)})


def written_time(time: datetime) -> str:
    """Return a time as ISO 8601 with milliseconds, in UTC."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds")


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: written_time(value) if isinstance(value, datetime) else value
        for name, value in row.items()
        if name not in _INTERNAL
    }
