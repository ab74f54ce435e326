import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest
from sqlalchemy import event, func, select, text, update

from mediaserver.records.batches import Batch, moment
from mediaserver.records.database import (
    DatabaseAwayError,
    DeliveryResult,
    RecordsDatabase,
    UnstorableError,
)
from mediaserver.records.tables import calls, deliveries, turns, writers
from tests.records.conftest import PrivatePostgres, began, over, turn


NOW = moment(1_800_000_100.0)


def found(database: RecordsDatabase, name: str = "r1") -> dict[str, Any]:
    record = database.record(name)
    assert record is not None
    return record[0]


def count(database: RecordsDatabase, table: Any) -> int:
    with database.reading() as connection:
        return int(connection.scalar(select(func.count()).select_from(table)) or 0)


def test_a_batch_that_is_written_again_changes_nothing(database: RecordsDatabase) -> None:
    batch = Batch([began(), turn(), turn(position=1), over(counts={"underruns": 2})], "j1")
    database.write(batch, webhook_due=NOW)
    once = database.record("r1")
    for _ in range(2):
        database.write(batch, webhook_due=NOW)
        database.write(Batch([began(), turn()], "j1"))
    assert database.record("r1") == once
    assert once is not None
    assert once[0]["underruns"] == 2
    assert once[0]["ended_at"] == moment(1_800_000_010.0)
    assert [row["position"] for row in once[1]] == [0, 1]
    assert count(database, deliveries) == 1


def test_the_end_replaces_what_was_known(database: RecordsDatabase) -> None:
    database.write(Batch([began()], "j1"))
    assert found(database)["ended_at"] is None
    database.write(Batch([over(stream_id="s2")], "j1"))
    assert (found(database)["cause"], found(database)["stream_id"]) == ("plivo", "s2")


def test_the_live_calls_of_a_dead_process_are_lost(database: RecordsDatabase) -> None:
    database.beat("j1", "node1/w1", NOW)
    database.write(Batch([began("a"), began("b"), over("c")], "j1"))
    database.write(Batch([began("d")], "j2"))
    assert database.lose("j1", moment(1_800_000_030.0), webhook_due=NOW) == 2
    lost = found(database, "a")
    assert (lost["cause"], lost["seconds"]) == ("process_lost", 30.0)
    assert lost["reason"] == "lost: the process that had the call has ended"
    assert found(database, "c")["cause"] == "plivo"
    assert found(database, "d")["ended_at"] is None
    assert count(database, deliveries) == 2
    assert count(database, writers) == 0
    assert database.lose("j1", NOW) == 0


def test_the_calls_of_a_process_that_is_silent_are_lost_until_it_writes(
    database: RecordsDatabase,
) -> None:
    database.beat("j1", "node1/w1", NOW - timedelta(seconds=700))
    database.beat("j2", "node2/w1", NOW - timedelta(seconds=700))
    database.beat("j2", "node2/w1", NOW)
    database.write(Batch([began("a")], "j1"))
    database.write(Batch([began("b")], "j2"))
    assert database.lose_silent(NOW - timedelta(seconds=600), webhook_due=NOW) == 1
    assert found(database, "a")["cause"] == "process_lost"
    # It died before the call began, as far as is known.
    assert found(database, "a")["seconds"] == 0.0
    assert found(database, "b")["ended_at"] is None
    database.write(Batch([over("a")], "j1"))
    assert found(database, "a")["cause"] == "plivo"


def test_old_calls_are_deleted_with_all_that_belongs_to_them(database: RecordsDatabase) -> None:
    old = [over(name, started_at=1_700_000_000.0) for name in ("a", "b", "c")]
    live = began("d", started_at=1_700_000_000.0)
    database.write(Batch([*old, turn("a"), live, over("e"), turn("e")], "j1"), webhook_due=NOW)
    before = moment(1_750_000_000.0)
    assert [database.prune(before, most=2) for _ in range(3)] == [2, 1, 0]
    assert count(database, calls) == 2
    assert count(database, turns) == 1
    assert count(database, deliveries) == 1


def test_a_webhook_that_is_due_goes_to_one_process(database: RecordsDatabase) -> None:
    database.write(Batch([over("a"), over("b"), over("c")], "j1"), webhook_due=NOW)
    assert len(database.lease(NOW, most=2, seconds=60)) == 2
    ((_, attempts),) = database.lease(NOW, most=2, seconds=60)
    assert attempts == 1
    assert database.lease(NOW, most=2, seconds=60) == []
    # The process that had them has died.
    again = database.lease(NOW + timedelta(seconds=61), most=9, seconds=60)
    assert [each.attempts for each in again] == [2, 2, 2]


def test_a_webhook_that_is_settled_is_not_due(database: RecordsDatabase) -> None:
    database.write(Batch([over("a"), over("b"), over("c")], "j1"), webhook_due=NOW)
    database.lease(NOW, most=9, seconds=60)
    later = NOW + timedelta(seconds=300)
    results = [
        DeliveryResult("a", None, None),
        DeliveryResult("b", "status 500", later),
        DeliveryResult("c", "status 410", None),
    ]
    database.settle(results, NOW)
    assert database.waiting_deliveries() == 1
    assert [each.record for each in database.lease(later, most=9, seconds=60)] == ["b"]
    # Not even if its call is written again.
    database.write(Batch([over("a")], "j1"), webhook_due=NOW)
    assert database.waiting_deliveries() == 1


def test_a_row_that_the_database_refuses_is_told_from_a_database_that_is_away(
    database: RecordsDatabase,
) -> None:
    with pytest.raises(UnstorableError):
        database.write(Batch([over(handler=None)], "j1"))
    assert database.record("r1") is None


def test_times_keep_their_zone(database: RecordsDatabase) -> None:
    database.write(Batch([over()], "j1"))
    assert found(database)["started_at"].isoformat() == "2027-01-15T08:00:00+00:00"


def test_a_locked_file_is_away(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mediaserver.records.database._CONNECT_SECONDS", 0)
    database = RecordsDatabase(sqlite_url)
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DatabaseAwayError, match="locked"):
        database.write(Batch([began()], "j1"))
    other.execute("ROLLBACK")
    other.close()
    database.write(Batch([began()], "j1"))
    database.close()


def test_reading_holds_up_no_writer(sqlite_database: RecordsDatabase) -> None:
    with sqlite_database.reading() as connection:
        connection.execute(select(calls)).all()
        sqlite_database.write(Batch([began()], "j1"))
    assert count(sqlite_database, calls) == 1


def test_a_new_file_is_private(tmp_path: Path) -> None:
    database = RecordsDatabase(f"sqlite:///{tmp_path / 'new' / 'calls.db'}")
    database.prepare()
    assert (tmp_path / "new" / "calls.db").stat().st_mode & 0o077 == 0
    database.close()


def test_a_file_that_cannot_be_made_is_away(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    database = RecordsDatabase(f"sqlite:///{tmp_path / 'file' / 'calls.db'}")
    with pytest.raises(DatabaseAwayError, match=r"calls.db: File exists"):
        database.prepare()


def test_a_url_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(ValueError, match="nosuch"):
        RecordsDatabase("nosuch://x")


def test_a_driver_that_cannot_be_loaded_makes_the_url_useless(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def without_libpq(*_: object, **__: object) -> NoReturn:
        raise ImportError("no pq wrapper available")

    monkeypatch.setattr("mediaserver.records.database.create_engine", without_libpq)
    with pytest.raises(ValueError, match="no pq wrapper"):
        RecordsDatabase("postgresql+psycopg://db/calls")


@pytest.mark.parametrize(
    ("query", "variable", "expected"),
    [
        (
            "",
            "",
            {
                "connect_timeout": 5,
                "tcp_user_timeout": 30_000,
                "application_name": "mediaserver",
                "options": "-c statement_timeout=30000",
            },
        ),
        (
            "?connect_timeout=2&application_name=calls&tcp_user_timeout=9",
            "-c work_mem=1MB",
            {
                "connect_timeout": "2",
                "tcp_user_timeout": "9",
                "application_name": "calls",
                "options": "-c statement_timeout=30000 -c work_mem=1MB",
            },
        ),
        (
            "?options=-csearch_path%3Dvoice",
            "-c work_mem=1MB",
            {"options": "-c statement_timeout=30000 -csearch_path=voice"},
        ),
    ],
)
def test_what_the_url_says_is_not_replaced(
    query: str, variable: str, expected: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, object] = {}

    def refuse(*arguments: Any) -> NoReturn:
        told.update(arguments[-1])
        raise sqlite3.Error("no server")

    monkeypatch.setenv("PGOPTIONS", variable)
    database = RecordsDatabase(f"postgresql+psycopg://db/calls{query}")
    event.listen(database.engine, "do_connect", refuse)
    with pytest.raises(sqlite3.Error):
        database.prepare()
    assert {name: told[name] for name in expected} == expected


@pytest.mark.postgres
def test_the_options_of_the_url_count_in_postgresql(private_postgres: PrivatePostgres) -> None:
    url = private_postgres.clean("options")
    plain = RecordsDatabase(url)
    with plain.transaction() as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "30s"
        connection.exec_driver_sql("CREATE SCHEMA voice")
    own = RecordsDatabase(f"{url}&options=-csearch_path%3Dvoice+-cstatement_timeout%3D7s")
    own.prepare()
    own.write(Batch([began()], "j1"))
    with plain.reading() as connection:
        assert connection.scalar(text("SELECT count(*) FROM voice.calls")) == 1
    with own.reading() as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "7s"
    plain.close()
    own.close()


def test_a_password_is_not_shown() -> None:
    database = RecordsDatabase("postgresql+psycopg://me:secret@db/calls")
    assert database.shown == "postgresql+psycopg://me:***@db/calls"


def test_values_are_changed_together_or_not_at_all(sqlite_database: RecordsDatabase) -> None:
    sqlite_database.write(Batch([over()], "j1"))

    def change() -> None:
        with sqlite_database.transaction() as connection:
            connection.execute(update(calls).values(handler="changed"))
            connection.exec_driver_sql("SELECT nonsense")

    with pytest.raises(DatabaseAwayError):
        change()
    assert found(sqlite_database)["handler"] == "Echo"


def test_a_connection_that_is_used_at_the_end_is_closed_when_it_is_given_back(
    sqlite_database: RecordsDatabase,
) -> None:
    used: list[Any] = []
    with sqlite_database.reading() as before:
        used.append(before.connection.dbapi_connection)
        sqlite_database.close()
    with sqlite_database.reading() as after:
        used.append(after.connection.dbapi_connection)
    for connection in used:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")
