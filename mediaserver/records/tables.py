"""The tables of the database. `migrations` makes them; a test checks that both agree."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Double,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    text,
)

from mediaserver.records.batches import COUNTS, UNITS


class UtcTime(TypeDecorator[datetime]):
    """A time with its zone, which SQLite does not store."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Give it to the database in UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Say that it is in UTC."""
        if value is None:
            return None
        assert isinstance(value, datetime)
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


METADATA: Final = MetaData()

_SECONDS: Final = ("audio_dropped", "audio_in", "audio_out", "loop_lag")


def _numbers(names: Iterable[str]) -> list[Column[Any]]:
    """Return columns of counts, or of seconds where the name says it; 0 until they are known."""
    return [
        Column(
            name,
            Double if name in _SECONDS or name.endswith("_seconds") else BigInteger,
            nullable=False,
            server_default=text("0"),
        )
        for name in names
    ]


calls: Final = Table(
    "calls",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("call_id", Text),
    Column("stream_id", Text),
    Column("account_id", Text),
    Column("direction", Text),
    Column("caller", Text),
    Column("called", Text),
    Column("caller_key", Text),
    Column("called_key", Text),
    Column("handler", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("process", Text, nullable=False),
    Column("journal", Text, nullable=False),
    Column("format", Text),
    Column("tracks", Text),
    Column("started_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("seconds", Double),
    Column("cause", Text),
    Column("reason", Text),
    Column("error", Text),
    *_numbers((*COUNTS, "loop_lag")),
    Column("first_audio", Double),
    Column("slowest_answer", Double),
    *_numbers(("turns", "turns_interrupted", "turns_failed", "barge_ins", "false_barge_ins")),
    *_numbers(UNITS),
    Column("recording", Text),
    Column("transcript", Text),
    Column("cost", Double),
    Column("currency", Text),
    Index("calls_by_call", "call_id"),
    Index("calls_by_stream", "stream_id"),
    Index("calls_by_start", "started_at"),
    Index("calls_by_caller", "caller_key"),
    Index("calls_by_called", "called_key"),
    Index(
        "calls_live",
        "journal",
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
)
"""A row for each stream of a call."""

turns: Final = Table(
    "call_turns",
    METADATA,
    Column("record", Text, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("number", Integer, nullable=False),
    Column("interrupted", Boolean, nullable=False),
    Column("error", Text),
    Column("end_of_turn", Double),
    Column("transcript", Double),
    Column("first_token", Double),
    Column("audio_sent", Double),
    Column("audio_heard", Double),
    *_numbers(UNITS),
    Column("caller_words", Integer, nullable=False),
    Column("heard_words", Integer, nullable=False),
    Column("caller", Text),
    Column("agent", Text),
    Column("cost", Double),
)
"""A row for each turn that an agent has reported. It may come before that of its call."""

writers: Final = Table(
    "call_writers",
    METADATA,
    Column("journal", Text, primary_key=True),
    Column("process", Text, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
)
"""A row for each process that writes records."""

deliveries: Final = Table(
    "call_webhooks",
    METADATA,
    Column("record", Text, primary_key=True),
    Column("due_at", UtcTime),
    *_numbers(("attempts",)),
    Column("delivered_at", UtcTime),
    Column("last_error", Text),
    Index(
        "call_webhooks_due",
        "due_at",
        sqlite_where=text("due_at IS NOT NULL"),
        postgresql_where=text("due_at IS NOT NULL"),
    ),
)
"""A row for each call whose end a webhook is told; `due_at` is null once that is settled."""
