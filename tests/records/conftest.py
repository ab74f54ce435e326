"""Databases for these tests alone: SQLite, and PostgreSQL where `make records` runs them."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from benchmarks.postgres_server import PostgresServer, program
from mediaserver.records.database import RecordsDatabase
from mediaserver.records.events import CallBegan, CallOver, TurnTaken


class PrivatePostgres(PostgresServer):
    """A PostgreSQL with databases that are made for one test."""

    def clean(self, name: str) -> str:
        """Have it run, with an empty database, and return the database's URL."""
        if not self.runs:
            self.start()
        engine = create_engine(self.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self.url_of(name)


@pytest.fixture(scope="session")
def _postgres_server() -> Iterator[PrivatePostgres | None]:
    if not os.environ.get("MEDIASERVER_TESTS_NEED_POSTGRES"):
        yield None
        return
    assert program("initdb"), "there is no PostgreSQL: make records installs it"
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        server = PrivatePostgres(Path(folder, "postgres"))
        yield server
        server.stop()


@pytest.fixture
def private_postgres(_postgres_server: PrivatePostgres | None) -> PrivatePostgres:
    """Return a PostgreSQL."""
    if _postgres_server is None:
        pytest.skip("make records runs this, with a PostgreSQL")
    return _postgres_server


@pytest.fixture(scope="session")
def _migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a SQLite database with empty tables, to be copied."""
    path = tmp_path_factory.mktemp("records") / "calls.db"
    database = RecordsDatabase(f"sqlite:///{path}")
    database.prepare()
    database.close()
    return path


@pytest.fixture
def sqlite_url(_migrated: Path, tmp_path: Path) -> str:
    """Return the URL of a SQLite database with empty tables."""
    shutil.copy(_migrated, tmp_path / "calls.db")
    return f"sqlite:///{tmp_path / 'calls.db'}"


@pytest.fixture
def sqlite_database(sqlite_url: str) -> Iterator[RecordsDatabase]:
    database = RecordsDatabase(sqlite_url)
    yield database
    database.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest) -> Iterator[RecordsDatabase]:
    """Return a database of each kind, with empty tables."""
    if request.param == "sqlite":
        url = request.getfixturevalue("sqlite_url")
    else:
        url = request.getfixturevalue("private_postgres").clean("calls")
    database = RecordsDatabase(url)
    database.prepare()
    yield database
    database.close()


def began(name: str = "r1", **more: Any) -> CallBegan:
    return CallBegan(**{**_BEGAN, "id": name, **more})


def over(name: str = "r1", **more: Any) -> CallOver:
    values = {**_BEGAN, "id": name, "ended_at": 1_800_000_010.0, "seconds": 10.0}
    return CallOver(**{**values, "cause": "plivo", "reason": "stopped by Plivo", **more})


def turn(name: str = "r1", position: int = 0, **more: Any) -> TurnTaken:
    values = {"id": name, "position": position, "at": 1_800_000_005.0, "number": position}
    return TurnTaken(**{**values, **more})


_BEGAN: dict[str, Any] = {
    "call_id": "c1",
    "stream_id": "s1",
    "caller": "14155550100",
    "caller_key": "14155550100",
    "called": "14155550199",
    "called_key": "14155550199",
    "handler": "Echo",
    "route": "/stream",
    "path": "/stream",
    "process": "node1/w1",
    "format": "audio/x-mulaw;rate=8000",
    "started_at": 1_800_000_000.0,
}


@pytest.fixture
def wait_until() -> Callable[[Callable[[], object]], None]:
    """Wait for what another thread does."""

    def wait(holds: Callable[[], object]) -> None:
        limit = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < limit, "it did not come to this"
            time.sleep(0.005)

    return wait
