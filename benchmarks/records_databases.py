"""A database of its own for call records in a benchmark, which can be stopped and started."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from benchmarks.postgres_server import PostgresServer, program


class StoppableDatabase(Protocol):
    """A database."""

    name: str
    """What it is."""
    url: str
    """For the setting `records`."""

    def stop(self) -> None:
        """Let nobody write to it."""

    def start(self) -> None:
        """Let everybody write to it again, with what was in it."""


@contextlib.contextmanager
def private_database(folder: Path) -> Iterator[StoppableDatabase]:
    """Run a PostgreSQL for the duration of the block, or open SQLite where there is none.

    Raises:
        BenchmarkError: It does not start.

    """
    postgres = bool(program("initdb"))
    database = PostgresServer(folder / "postgres") if postgres else LockedSqlite(folder)
    try:
        yield database
    finally:
        database.end()


class LockedSqlite:
    """A SQLite database, which is locked while it is stopped.

    Args:
        folder: For its file.

    """

    name = "SQLite"

    def __init__(self, folder: Path) -> None:
        self._path = folder / "calls.db"
        self.url = f"sqlite:///{self._path}"
        self._lock: sqlite3.Connection | None = None

    def stop(self) -> None:
        """Let nobody write to it."""
        self._lock = sqlite3.connect(
            self._path, timeout=20, isolation_level=None, check_same_thread=False
        )
        self._lock.execute("BEGIN EXCLUSIVE")

    def start(self) -> None:
        """Let everybody write to it again."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def end(self) -> None:
        """Close it."""
        self.start()
