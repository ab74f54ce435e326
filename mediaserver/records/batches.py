"""Events of a journal, as rows of the database."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from mediaserver.call import StreamCounters, Usage
from mediaserver.records.events import CallBegan, CallOver, RecordEvent, TurnTaken


COUNTS: Final = tuple(StreamCounters().as_dict())
"""The counters of a stream, which are columns."""

UNITS: Final = tuple(Usage.__dataclass_fields__)
"""The units of usage, which are columns."""

_BEGAN: Final = tuple(name for name in CallBegan.__struct_fields__ if name != "started_at")
_OVER: Final = tuple(
    name
    for name in CallOver.__struct_fields__
    if name not in ("started_at", "ended_at", "counts", "usage")
)
_TURN: Final = tuple(
    name for name in TurnTaken.__struct_fields__ if name not in ("id", "at", "position")
)


class Batch:
    """Rows that are written in one transaction. Written again, they change nothing.

    Args:
        events: in the order of the journal.
        journal: its name.

    """

    def __init__(self, events: Iterable[RecordEvent], journal: str) -> None:
        began: dict[str, CallBegan] = {}
        over: dict[str, CallOver] = {}
        self.turns: list[dict[str, Any]] = []
        """Rows of turns."""
        for event in events:
            if isinstance(event, TurnTaken):
                self.turns.append(_turn_row(event))
            elif isinstance(event, CallOver):
                over[event.id] = event
                # The end has all that the beginning has.
                began.pop(event.id, None)
            else:
                began[event.id] = event
        self.began = [_began_row(event, journal) for event in began.values()]
        """Rows of calls that live, which do not replace what is known already."""
        self.over = [_over_row(event, journal) for event in over.values()]
        """Rows of calls that are over, which replace what is known."""

    def __bool__(self) -> bool:
        return bool(self.began or self.over or self.turns)


def moment(seconds: float) -> datetime:
    """Return a time in UTC, by the seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)


def _began_row(event: CallBegan, journal: str) -> dict[str, Any]:
    row = {name: getattr(event, name) for name in _BEGAN}
    row["started_at"] = moment(event.started_at)
    row["journal"] = journal
    return row


def _over_row(event: CallOver, journal: str) -> dict[str, Any]:
    row = {name: getattr(event, name) for name in _OVER}
    row["started_at"], row["ended_at"] = moment(event.started_at), moment(event.ended_at)
    row["journal"] = journal
    counts, usage = event.counts, event.usage
    for name in COUNTS:
        row[name] = counts.get(name, 0)
    for name in UNITS:
        row[name] = usage.get(name, 0)
    return row


def _turn_row(event: TurnTaken) -> dict[str, Any]:
    row = {name: getattr(event, name) for name in _TURN}
    row["record"], row["position"], row["at"] = event.id, event.position, moment(event.at)
    return row
