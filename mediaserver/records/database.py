"""The database of call records: SQLite or PostgreSQL, through SQLAlchemy."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    Connection,
    Engine,
    Table,
    create_engine,
    delete,
    event,
    func,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, SQLAlchemyError

from mediaserver.records.batches import Batch
from mediaserver.records.migrating import migrate
from mediaserver.records.payload import CAUSE_OF_LOST
from mediaserver.records.tables import calls, deliveries, turns, writers


_CONNECT_SECONDS: Final = 5
_STATEMENT_SECONDS: Final = 30
_PRUNED_AT_ONCE: Final = 500
"""Calls that one transaction deletes, so that nothing else waits for it for long."""


class DatabaseAwayError(Exception):
    """The database cannot be reached or used now; the message says why."""


class UnstorableError(Exception):
    """The database refuses the rows themselves; the message says why."""


class DueDelivery(NamedTuple):
    """A webhook that is to be sent."""

    record: str
    attempts: int
    """With this one."""


class DeliveryResult(NamedTuple):
    """What became of an attempt to send a webhook."""

    record: str
    error: str | None
    """None if it was delivered."""
    again_at: datetime | None
    """When it is tried again; None for never."""


class RecordsDatabase:
    """The database of call records.

    Args:
        url: an SQLAlchemy URL, as the setting ``records`` has it.

    Raises:
        ValueError: the URL cannot be used.

    """

    def __init__(self, url: str) -> None:
        try:
            self.url = make_url(url)
            self.engine = _engine(url)
        except (ArgumentError, ImportError) as error:
            # psycopg without libpq is an ImportError as well.
            raise ValueError(str(error)) from None
        # Statements, by table: it takes longer to make one than to write a row.
        self._adding: dict[str, Any] = {}
        self._replacing: dict[str, Any] = {}

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return self.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Close the connections; one that a thread still uses, as soon as it is given back."""
        event.listen(self.engine, "checkin", lambda _, connection: connection.close())
        self.engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a connection whose changes are kept together, or not at all.

        Raises:
            DatabaseAwayError: the database cannot be reached or used.
            UnstorableError: it refuses the values.

        """
        with self._errors(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection that only reads, and holds up no writer.

        Raises:
            DatabaseAwayError: the database cannot be reached or used.

        """
        with self._errors(), self.engine.execution_options(reads=True).begin() as connection:
            yield connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (DataError, IntegrityError) as error:
            raise UnstorableError(_reason(error)) from error
        except SQLAlchemyError as error:
            raise DatabaseAwayError(_reason(error)) from error
        except (OverflowError, ValueError) as error:
            # What a driver cannot express, such as a lone surrogate.
            raise UnstorableError(str(error)) from error

    def prepare(self) -> None:
        """Bring the tables to the newest version.

        Raises:
            DatabaseAwayError: the database cannot be reached or used.

        """
        if self.url.get_backend_name() == "sqlite" and self.url.database:
            _make_private(Path(self.url.database))
        with self.transaction() as connection:
            migrate(connection)

    def write(self, batch: Batch, *, webhook_due: datetime | None = None) -> None:
        """Write a batch. Written again, it changes nothing.

        Args:
            batch: the rows.
            webhook_due: when a webhook is told of the calls that are over; None for never.

        Raises:
            DatabaseAwayError: the database cannot be reached or used.
            UnstorableError: it refuses one of the rows, and has none of them.

        """
        with self.transaction() as connection:
            if batch.began:
                connection.execute(self._add(calls), batch.began)
            if batch.over:
                connection.execute(self._replace(calls, batch.over[0]), batch.over)
                if webhook_due is not None:
                    due = [{"record": row["id"], "due_at": webhook_due} for row in batch.over]
                    connection.execute(self._add(deliveries), due)
            if batch.turns:
                connection.execute(self._add(turns), batch.turns)

    def lose(self, journal: str, died_at: datetime, *, webhook_due: datetime | None = None) -> int:
        """End the calls of a process that is no more, and return their number."""
        with self.transaction() as connection:
            connection.execute(delete(writers).where(writers.c.journal == journal))
            return self._lose(connection, [journal], died_at, webhook_due)

    def beat(self, journal: str, process: str, now: datetime) -> None:
        """Note that a process writes records."""
        row = {"journal": journal, "process": process, "seen_at": now}
        with self.transaction() as connection:
            connection.execute(self._replace(writers, row, "journal"), row)

    def lose_silent(self, since: datetime, *, webhook_due: datetime | None = None) -> int:
        """End the calls of processes that have not beaten since a time, and return their number.

        Their machine may be gone with their journal. Where it is not, what they write later
        replaces this.
        """
        with self.transaction() as connection:
            silent = connection.execute(
                select(writers.c.journal, writers.c.seen_at).where(writers.c.seen_at < since)
            ).all()
            lost = 0
            for journal, seen_at in silent:
                connection.execute(delete(writers).where(writers.c.journal == journal))
                lost += self._lose(connection, [journal], seen_at, webhook_due)
            return lost

    def _lose(
        self,
        connection: Connection,
        journals: Sequence[str],
        died_at: datetime,
        webhook_due: datetime | None,
    ) -> int:
        live = calls.c.journal.in_(journals) & calls.c.ended_at.is_(None)
        rows = connection.execute(select(calls.c.id, calls.c.started_at).where(live)).all()
        for record, started_at in rows:
            ended_at = max(died_at, started_at)
            connection.execute(
                update(calls)
                .where(calls.c.id == record)
                .values(
                    ended_at=ended_at,
                    seconds=(ended_at - started_at).total_seconds(),
                    cause=CAUSE_OF_LOST,
                    reason="lost: the process that had the call has ended",
                )
            )
        if rows and webhook_due is not None:
            due = [{"record": row.id, "due_at": webhook_due} for row in rows]
            connection.execute(self._add(deliveries), due)
        return len(rows)

    # Retention

    def prune(self, before: datetime, *, most: int = _PRUNED_AT_ONCE) -> int:
        """Delete some of the calls that began before a time, and return their number.

        Calls that live are kept.
        """
        with self.transaction() as connection:
            old = connection.scalars(
                select(calls.c.id)
                .where(calls.c.started_at < before, calls.c.ended_at.is_not(None))
                .order_by(calls.c.started_at)
                .limit(most)
            ).all()
            if old:
                connection.execute(delete(deliveries).where(deliveries.c.record.in_(old)))
                connection.execute(delete(turns).where(turns.c.record.in_(old)))
                connection.execute(delete(calls).where(calls.c.id.in_(old)))
            return len(old)

    # Webhooks

    def lease(self, now: datetime, *, most: int, seconds: float) -> list[DueDelivery]:
        """Return webhooks that are due, and keep them from other processes for a while.

        Args:
            now: the time.
            most: how many.
            seconds: after which they are due again, if nothing is settled before.

        """
        due = (
            select(deliveries.c.record)
            .where(deliveries.c.due_at <= now)
            .order_by(deliveries.c.due_at)
            .limit(most)
        )
        if self.engine.dialect.name == "postgresql":
            due = due.with_for_update(skip_locked=True)
        leased = (
            update(deliveries)
            .where(deliveries.c.record.in_(due))
            .values(due_at=now + timedelta(seconds=seconds), attempts=deliveries.c.attempts + 1)
            .returning(deliveries.c.record, deliveries.c.attempts)
        )
        with self.transaction() as connection:
            return [DueDelivery(*row) for row in connection.execute(leased)]

    def settle(self, results: Sequence[DeliveryResult], now: datetime) -> None:
        """Note what became of attempts."""
        with self.transaction() as connection:
            for result in results:
                connection.execute(
                    update(deliveries)
                    .where(deliveries.c.record == result.record)
                    .values(
                        due_at=result.again_at,
                        delivered_at=now if result.error is None else None,
                        last_error=result.error,
                    )
                )

    def waiting_deliveries(self) -> int:
        """Return the number of webhooks that are to be sent."""
        count = select(func.count()).select_from(deliveries).where(deliveries.c.due_at.is_not(None))
        with self.reading() as connection:
            return int(connection.scalar(count) or 0)

    # Reading

    def record(self, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
        """Return the row of a record and those of its turns; None if there is no such record."""
        with self.reading() as connection:
            found = connection.execute(select(calls).where(calls.c.id == name)).mappings().first()
            if found is None:
                return None
            own = select(turns).where(turns.c.record == name).order_by(turns.c.position)
            return dict(found), [dict(row) for row in connection.execute(own).mappings()]

    # Statements

    def _insert(self, table: Any) -> Any:
        dialect = postgresql if self.engine.dialect.name == "postgresql" else sqlite
        return dialect.insert(table)

    def _add(self, table: Table) -> Any:
        """Return the statement that adds rows, unless they are there."""
        if table.name not in self._adding:
            self._adding[table.name] = self._insert(table).on_conflict_do_nothing()
        return self._adding[table.name]

    def _replace(self, table: Table, row: dict[str, Any], key: str = "id") -> Any:
        """Return the statement that adds rows with these columns, or replaces what is there."""
        if table.name not in self._replacing:
            statement = self._insert(table)
            columns = {name: statement.excluded[name] for name in row if name != key}
            self._replacing[table.name] = statement.on_conflict_do_update(
                index_elements=[key], set_=columns
            )
        return self._replacing[table.name]


def _make_private(path: Path) -> None:
    """Make the file of a database that nobody else may read."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise DatabaseAwayError(f"{path}: {error.strerror}") from None


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        # What it warns of when a connection breaks is logged once, as a database that is away.
        logging.getLogger("psycopg").setLevel(logging.ERROR)
        return create_engine(
            url,
            pool_size=2,
            connect_args=_connect_arguments(parsed),
        )
    engine = create_engine(url, connect_args={"timeout": float(_CONNECT_SECONDS)})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _connect_arguments(url: URL) -> dict[str, Any]:
    """Return what libpq is told beside the URL, whose own parameters count more."""
    given = url.normalized_query
    arguments = {
        "connect_timeout": _CONNECT_SECONDS,
        # A server that falls silent is noticed.
        "tcp_user_timeout": 1_000 * _STATEMENT_SECONDS,
        "application_name": "mediaserver",
    }
    # Of two options with one name, the server takes the last.
    options = given.get("options") or (os.environ.get("PGOPTIONS", ""),)
    limited = " ".join((f"-c statement_timeout={1_000 * _STATEMENT_SECONDS}", *options))
    kept = {name: value for name, value in arguments.items() if name not in given}
    return {**kept, "options": limited.rstrip()}


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # Transactions are begun below: the driver would begin them too late for two writers.
    connection.isolation_level = None
    # Readers do not block writers.
    connection.execute("PRAGMA journal_mode=WAL")


def _begin_sqlite(connection: Connection) -> None:
    reads = connection.get_execution_options().get("reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _reason(error: SQLAlchemyError) -> str:
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return " ".join(str(cause).split())[:300] or type(cause).__name__
