"""Where the sandbox saves its records: in SQLite, or in memory only."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol, TypeVar

from sqlalchemy import Connection, inspect, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine

from mediaserver.sandbox.records.records import Record


AnyRecord = TypeVar("AnyRecord", bound=Record)


class StoreError(Exception):
    """The database cannot be used; the message says which and why."""


class Store(Protocol):
    """Records by kind and key."""

    async def save(self, *records: Record) -> None:
        """Save the records as they are now, all or none."""

    async def delete(self, record: Record) -> None:
        """Delete a record; does nothing if it is not there."""

    async def all(self, kind: type[AnyRecord]) -> Sequence[AnyRecord]:
        """Return all records of a kind, in no particular order."""

    async def aclose(self) -> None:
        """Close the database."""


class MemoryStore:
    """Forgets everything at the end of the process, and needs no thread."""

    def __init__(self) -> None:
        self._records: dict[tuple[type[Record], str], Record] = {}

    async def save(self, *records: Record) -> None:
        """See `Store`."""
        for record in records:
            self._records[type(record), record_key(record)] = record

    async def delete(self, record: Record) -> None:
        """See `Store`."""
        self._records.pop((type(record), record_key(record)), None)

    async def all(self, kind: type[AnyRecord]) -> Sequence[AnyRecord]:
        """See `Store`."""
        return [record for record in self._records.values() if isinstance(record, kind)]

    async def aclose(self) -> None:
        """See `Store`."""


class SqlStore:
    """A SQLite database; open it with `SqlStore.open`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._session = async_sessionmaker(engine, expire_on_commit=False)
        # Two writers of one new record would both find it missing and add it.
        self._writing = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path) -> SqlStore:
        """Open a database, or make a new one.

        Raises:
            StoreError: The file cannot be opened, or is not a database of this version.

        """
        try:
            _probe(path)
        except sqlite3.Error as error:
            raise StoreError(f"{path} cannot be used as the sandbox's database: {error}") from error
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        try:
            return await cls._prepared(engine, path)
        except BaseException:
            # Also if it is cancelled: otherwise a thread and the file stay open.
            await engine.dispose()
            raise

    @classmethod
    async def _prepared(cls, engine: AsyncEngine, path: Path) -> SqlStore:
        try:
            async with engine.begin() as connection:
                # Readers do not block writers, and a kill loses no finished transaction.
                await connection.exec_driver_sql("PRAGMA journal_mode=WAL")
                await connection.run_sync(Record.metadata.create_all)
                missing = await connection.run_sync(_missing_columns)
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise StoreError(f"{path} cannot be used as the sandbox's database: {cause}") from error
        if missing:
            raise StoreError(
                f"{path} was made by another version of the sandbox: it does not have"
                f" {', '.join(missing)}; name another file, or delete it"
            )
        return cls(engine)

    async def save(self, *records: Record) -> None:
        """See `Store`."""
        async with self._writing, self._session() as session, session.begin():
            for record in records:
                await session.merge(record)

    async def delete(self, record: Record) -> None:
        """See `Store`."""
        async with self._writing, self._session() as session, session.begin():
            kept = await session.get(type(record), record_key(record))
            if kept is not None:
                await session.delete(kept)

    async def all(self, kind: type[AnyRecord]) -> Sequence[AnyRecord]:
        """See `Store`."""
        async with self._session() as session:
            return (await session.scalars(select(kind))).all()

    async def aclose(self) -> None:
        """See `Store`."""
        await self._engine.dispose()


def _probe(path: Path) -> None:
    """Open and close a database: aiosqlite leaves a thread behind where that fails."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA schema_version")


def _missing_columns(connection: Connection) -> list[str]:
    """Return the columns that tables of an older version do not have."""
    inspector = inspect(connection)
    return [
        f"{table.name}.{column.name}"
        for table in Record.metadata.sorted_tables
        for column in table.columns
        if column.name not in {each["name"] for each in inspector.get_columns(table.name)}
    ]


def record_key(record: Record) -> str:
    """Return the primary key of a record."""
    primary: Callable[[Record], tuple[str, ...]] = inspect(type(record)).primary_key_from_instance
    return primary(record)[0]
