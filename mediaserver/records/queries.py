"""Finding records in the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Select, false, or_, select
from sqlalchemy.types import BigInteger, Double

from mediaserver.records.database import RecordsDatabase
from mediaserver.records.payload import CAUSE_OF_LOST
from mediaserver.records.quality import BAD_CAUSES, LIMITS
from mediaserver.records.redaction import search_keys
from mediaserver.records.tables import calls, turns


MEASURES: Final = tuple(
    column.name for column in calls.columns if isinstance(column.type, BigInteger | Double)
)
"""The columns that a call can be worse in."""

_SHORTEST_WHOLE: Final = 8
"""Digits; a shorter number is looked for at the end of numbers."""

_AT_ONCE: Final = 500


@dataclass(frozen=True, kw_only=True)
class RecordQuery:
    """Which records are wanted: those for which all of this holds."""

    number: str | None = None
    """From or to this number, in any form; or to numbers that end so, if it is short."""
    key: bytes | None = None
    """Keys the hashes of numbers, if it is known."""
    call: str | None = None
    """The id of the call, of a stream, or of the record."""
    since: datetime | None = None
    """Began at this time or later."""
    until: datetime | None = None
    """Began before this time."""
    behind: tuple[datetime, str] | None = None
    """Comes after the call that began at this time and has this id, if the newest come first."""
    handler: str | None = None
    cause: str | None = None
    """Ended for this cause."""
    state: Literal["live", "ended", "lost", "over"] | None = None
    """``over``: ended or lost."""
    bad: bool = False
    """Was bad: see `mediaserver.records.quality`."""
    worse: Mapping[str, float] = field(default_factory=dict)
    """Is worse than this in one of these measures, at least."""


def find_calls(
    database: RecordsDatabase, query: RecordQuery, *, most: int | None = None, newest: bool = True
) -> Iterator[dict[str, Any]]:
    """Yield the columns of the records that were found.

    Args:
        database: has them.
        query: which are wanted.
        most: yield at most so many; None for all.
        newest: whether the newest come first.

    Raises:
        DatabaseAwayError: the database cannot be read.

    """
    order = calls.c.started_at.desc() if newest else calls.c.started_at
    wanted = selected(query).order_by(order, calls.c.id).limit(most)
    with database.reading() as connection:
        rows = connection.execution_options(yield_per=_AT_ONCE).execute(wanted)
        for row in rows.mappings():
            yield dict(row)


def turns_of(database: RecordsDatabase, records: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the columns of the turns of some records, by record.

    Raises:
        DatabaseAwayError: the database cannot be read.

    """
    found: dict[str, list[dict[str, Any]]] = {record: [] for record in records}
    wanted = (
        select(turns).where(turns.c.record.in_(records)).order_by(turns.c.record, turns.c.position)
    )
    with database.reading() as connection:
        for row in connection.execute(wanted).mappings():
            found[row["record"]].append(dict(row))
    return found


def recorded_handlers(database: RecordsDatabase) -> list[str]:
    """Return the handlers of which there are records.

    Raises:
        DatabaseAwayError: the database cannot be read.

    """
    with database.reading() as connection:
        return sorted(connection.scalars(select(calls.c.handler).distinct()))


def selected(query: RecordQuery) -> Select[Any]:
    """Return the statement that finds records."""
    conditions: list[ColumnElement[bool]] = []
    if query.number is not None:
        conditions.append(_of_number(query.number, query.key))
    if query.call is not None:
        columns = (calls.c.call_id, calls.c.stream_id, calls.c.id)
        conditions.append(or_(*(column == query.call for column in columns)))
    if query.since is not None:
        conditions.append(calls.c.started_at >= query.since)
    if query.until is not None:
        conditions.append(calls.c.started_at < query.until)
    if query.behind is not None:
        at, record = query.behind
        # The first condition is what the index can find.
        conditions.append(calls.c.started_at <= at)
        conditions.append(or_(calls.c.started_at < at, calls.c.id > record))
    if query.handler is not None:
        conditions.append(calls.c.handler == query.handler)
    if query.cause is not None:
        conditions.append(calls.c.cause == query.cause)
    if query.state == "live":
        conditions.append(calls.c.ended_at.is_(None))
    elif query.state == "over":
        conditions.append(calls.c.ended_at.is_not(None))
    elif query.state is not None:
        is_lost = calls.c.cause == CAUSE_OF_LOST
        conditions += [
            calls.c.ended_at.is_not(None),
            is_lost if query.state == "lost" else ~is_lost,
        ]
    if query.worse:
        conditions.append(_worse(query.worse))
    if query.bad:
        conditions.append(or_(calls.c.cause.in_(BAD_CAUSES), _worse(LIMITS)))
    return select(calls).where(*conditions)


def _of_number(number: str, key: bytes | None) -> ColumnElement[bool]:
    columns = (calls.c.caller_key, calls.c.called_key)
    if number.isdecimal() and len(number) < _SHORTEST_WHOLE:
        return or_(*(column.endswith(number, autoescape=True) for column in columns))
    keys = search_keys(number, key)
    return or_(*(column.in_(keys) for column in columns))


def _worse(limits: Mapping[str, float]) -> ColumnElement[bool]:
    return or_(false(), *(calls.c[name] > limit for name, limit in limits.items()))
