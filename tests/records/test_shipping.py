import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import pytest

from mediaserver.records.batches import Batch, moment
from mediaserver.records.database import DatabaseAwayError, RecordsDatabase
from mediaserver.records.events import RecordEvent, encode_events
from mediaserver.records.journal import Journal, JournalReader
from mediaserver.records.shipping import IDLE_SECONDS, Shipper
from mediaserver.records.shipping_thread import ShippedFigures
from tests.records.conftest import PrivatePostgres, began, over, turn


NOW = 1_800_000_100.0


class Shipped:
    """A shipper with its own journal, whose clock stands still."""

    def __init__(self, database: RecordsDatabase, folder: Path, **more: Any) -> None:
        self.now = NOW
        self.figures: Any = ShippedFigures()
        self.database = database
        self.journal = Journal(folder)
        self.ended = 0
        options = {"days": None, "tells": False, "ended": self._count, **more}
        self.shipper = Shipper(
            database,
            JournalReader(self.journal.path, last=lambda: self.journal.segment),
            folder=folder,
            process="node1/w1",
            figures=self.figures,
            clock=lambda: self.now,
            **options,
        )

    def _count(self) -> None:
        self.ended += 1

    def write(self, *events: RecordEvent) -> None:
        self.journal.append(encode_events(events))

    def found(self, name: str = "r1") -> dict[str, Any]:
        record = self.database.record(name)
        assert record is not None
        return record[0]


@pytest.fixture
def shipped(sqlite_database: RecordsDatabase, tmp_path: Path) -> Iterator[Shipped]:
    made = Shipped(sqlite_database, tmp_path / "journals")
    yield made
    made.shipper.finish()
    made.journal.close(remove=True)


def away(monkeypatch: pytest.MonkeyPatch, database: RecordsDatabase) -> None:
    def fails() -> NoReturn:
        raise DatabaseAwayError("connection refused")

    monkeypatch.setattr(database, "transaction", fails)


def test_what_is_in_the_journal_comes_to_the_database(shipped: Shipped) -> None:
    shipped.write(began(), turn())
    assert shipped.shipper.step() == IDLE_SECONDS
    assert shipped.found()["ended_at"] is None
    shipped.write(over())
    shipped.shipper.step()
    assert shipped.found()["cause"] == "plivo"
    assert shipped.figures.stored == 3


def test_nothing_is_lost_while_the_database_is_away(
    shipped: Shipped, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    away(monkeypatch, shipped.database)
    for name in ("a", "b", "c"):
        shipped.write(over(name))
        assert 0 < shipped.shipper.step() <= 5.0
    assert shipped.figures.database_away
    assert caplog.text.count("is away") == 1
    monkeypatch.undo()
    shipped.shipper.step()
    assert [shipped.found(name)["cause"] for name in ("a", "b", "c")] == ["plivo"] * 3
    assert not shipped.figures.database_away
    assert "answers again" in caplog.text


def test_a_call_that_the_database_refuses_holds_up_no_other(
    shipped: Shipped, caplog: pytest.LogCaptureFixture
) -> None:
    shipped.journal.append(encode_events([over("a"), over("b")]))
    shipped.journal.append(b"nonsense\n")
    shipped.write(over("c"), over("d"))
    database = shipped.database
    with database.transaction() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER refuse BEFORE INSERT ON calls WHEN NEW.id = 'b'"
            " BEGIN SELECT RAISE(ABORT, 'no b'); END"
        )
    shipped.shipper.step()
    assert [shipped.found(name)["id"] for name in ("a", "c", "d")] == ["a", "c", "d"]
    assert database.record("b") is None
    assert shipped.figures.unstorable == 2
    assert "no b" in caplog.text


def test_the_journal_of_a_dead_process_is_brought_home_and_its_calls_are_lost(
    shipped: Shipped, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dead = Journal(tmp_path / "journals")
    shipped.database.write(Batch([began("a")], dead.name))
    dead.append(encode_events([over("b"), turn("a"), began("c")]))
    died_at = 1_800_000_050.0
    os.utime(dead.path / "lock", (died_at, died_at))
    dead.end_segment()
    os.close(dead.lock)
    shipped.shipper.step()
    assert shipped.found("b")["cause"] == "plivo"
    for name in ("a", "c"):
        assert shipped.found(name)["cause"] == "process_lost"
        assert shipped.found(name)["ended_at"] == moment(died_at)
    assert shipped.figures.lost_calls == 2
    assert not dead.path.exists()
    assert "calls were lost with their process" in caplog.text


def test_the_journal_of_a_dead_process_waits_for_the_database(
    shipped: Shipped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped.shipper.step()
    dead = Journal(tmp_path / "journals")
    dead.append(encode_events([over("b")]))
    dead.end_segment()
    os.close(dead.lock)
    away(monkeypatch, shipped.database)
    shipped.now += 10
    shipped.shipper.step()
    assert dead.path.exists()
    monkeypatch.undo()
    shipped.now += 10
    shipped.shipper.step()
    assert shipped.found("b")["cause"] == "plivo"
    assert not dead.path.exists()


def test_a_journal_that_cannot_be_read_is_kept_and_holds_up_no_other(
    shipped: Shipped, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unreadable, readable = dead = [Journal(tmp_path / "journals") for _ in range(2)]
    shipped.database.write(Batch([began("a")], unreadable.name))
    segment = unreadable.path / "00000001.jsonl"
    segment.mkdir()
    readable.append(encode_events([over("b")]))
    for journal in dead:
        journal.end_segment()
        os.close(journal.lock)
    for _ in range(5):
        shipped.shipper.step()
    assert shipped.found("b")["cause"] == "plivo"
    assert not readable.path.exists()
    assert shipped.found("a")["ended_at"] is None
    assert segment.exists()
    assert len([each for each in caplog.records if "cannot be read" in each.message]) == 1
    segment.rmdir()
    segment.write_bytes(encode_events([over("a")]))
    shipped.shipper.step()
    assert shipped.found("a")["cause"] == "plivo"
    assert not unreadable.path.exists()


def test_an_own_journal_that_cannot_be_read_is_not_left_at_the_end(
    shipped: Shipped, caplog: pytest.LogCaptureFixture
) -> None:
    shipped.write(began())
    shipped.shipper.step()
    shipped.journal.end_segment()
    unreadable = shipped.journal.path / "00000003.jsonl"
    unreadable.mkdir()
    shipped.shipper.step()
    assert not shipped.shipper.finish()
    assert shipped.found()["ended_at"] is None
    assert len([each for each in caplog.records if "cannot be read" in each.message]) == 1
    unreadable.rmdir()


def test_at_the_end_a_call_whose_end_was_not_told_is_lost(
    sqlite_database: RecordsDatabase, tmp_path: Path
) -> None:
    made = Shipped(sqlite_database, tmp_path / "journals", tells=True)
    made.write(began())
    made.shipper.step()
    made.journal.end_segment()
    assert made.shipper.finish()
    assert (made.found()["cause"], made.found()["ended_at"]) == ("process_lost", moment(NOW))
    assert (made.figures.lost_calls, made.ended) == (1, 1)
    # And the process is not missed.
    assert sqlite_database.lose_silent(moment(NOW + 1)) == 0
    made.journal.close(remove=True)


def test_the_calls_of_a_machine_that_is_gone_are_lost(shipped: Shipped) -> None:
    shipped.database.beat("gone", "node9/w1", moment(NOW - 601))
    shipped.database.write(Batch([began("a")], "gone"))
    shipped.shipper.step()
    assert shipped.found("a")["cause"] == "process_lost"


def test_journals_of_other_processes_are_counted(shipped: Shipped, tmp_path: Path) -> None:
    other = Journal(tmp_path / "journals")
    other.append(b"12345\n")
    shipped.shipper.step()
    assert shipped.figures.others == 6
    other.close(remove=True)


def test_journals_of_other_processes_are_counted_while_the_database_is_away(
    shipped: Shipped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Journal(tmp_path / "journals")
    shipped.write(over())
    away(monkeypatch, shipped.database)
    for size in (6, 12):
        other.append(b"12345\n")
        shipped.now += 10
        shipped.shipper.step()
        assert shipped.figures.others == size
    monkeypatch.undo()
    other.close(remove=False)


def test_old_calls_are_deleted_now_and_then(
    sqlite_database: RecordsDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pruned: list[datetime] = []

    def prune(before: datetime) -> int:
        pruned.append(before)
        return 1 if len(pruned) == 1 else 0

    monkeypatch.setattr(sqlite_database, "prune", prune)
    made = Shipped(sqlite_database, tmp_path / "journals", days=30.0)
    made.shipper.step()
    assert not pruned
    made.now += 200
    made.shipper.step()
    made.now += 2
    made.shipper.step()
    made.now += 200
    made.shipper.step()
    assert pruned == [moment(NOW + 200 - 30 * 86_400), moment(NOW + 202 - 30 * 86_400)]
    made.journal.close(remove=True)


def test_a_webhook_is_due_once_a_call_is_over(
    sqlite_database: RecordsDatabase, tmp_path: Path
) -> None:
    made = Shipped(sqlite_database, tmp_path / "journals", tells=True)
    made.write(began())
    made.shipper.step()
    assert (made.ended, sqlite_database.waiting_deliveries()) == (0, 0)
    made.write(over())
    made.shipper.step()
    assert (made.ended, sqlite_database.waiting_deliveries()) == (1, 1)
    made.journal.close(remove=True)


def test_at_the_end_all_is_shipped(shipped: Shipped, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        shipped.write(over(f"r{number}"))
    shipped.journal.end_segment()
    with monkeypatch.context() as patched:
        away(patched, shipped.database)
        assert not shipped.shipper.finish()
    assert shipped.shipper.finish()
    assert shipped.found("r49")["cause"] == "plivo"
    assert list(shipped.journal.path.glob("*.jsonl")) == []
    assert shipped.figures.bytes <= 0


@pytest.mark.postgres
def test_nothing_is_lost_while_postgresql_restarts(
    private_postgres: PrivatePostgres, tmp_path: Path
) -> None:
    database = RecordsDatabase(private_postgres.clean("shipping"))
    made = Shipped(database, tmp_path / "journals")
    made.write(over("a"))
    made.shipper.step()
    private_postgres.stop()
    made.write(over("b"))
    made.shipper.step()
    assert made.figures.database_away
    private_postgres.start()
    made.shipper.step()
    assert [made.found(name)["cause"] for name in ("a", "b")] == ["plivo"] * 2
    made.journal.close(remove=True)
    database.close()
