import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mediaserver.call import StreamCounters
from mediaserver.records.call_records import CallRecords, RecordsError
from mediaserver.records.database import RecordsDatabase
from mediaserver.records.shipping import Shipper
from mediaserver.settings import Settings


def records(tmp_path: Path, **more: Any) -> CallRecords:
    options = {"records": str(tmp_path / "calls.db"), "records_journal": tmp_path / "journals"}
    return CallRecords(Settings(**{**options, **more}), "node1/w1", clock=lambda: 1_800_000_000.0)


def begin(own: CallRecords, **more: Any) -> Any:
    facts = {
        "call_id": "c1",
        "stream_id": "s1",
        "account_id": "MA1",
        "direction": "inbound",
        "caller": "+14155550100",
        "called": "+14155550199",
        "handler": "Echo",
        "route": "/stream",
        "path": "/stream",
        "format": "audio/x-mulaw;rate=8000",
        "tracks": ("inbound",),
    }
    return own.begin(**{**facts, **more})


def end(record: Any) -> None:
    record.over(
        at=1_800_000_010.0,
        seconds=10.0,
        cause="plivo",
        reason="stopped by Plivo",
        error=None,
        stream_id=None,
        counters=StreamCounters(),
        loop_lag=0.0,
        first_audio=None,
        recording=None,
    )


def test_calls_come_to_the_database(tmp_path: Path, sqlite_database: RecordsDatabase) -> None:
    own = records(tmp_path, records_numbers="last4")

    async def run() -> tuple[str, str]:
        async with own.running():
            live, ended = begin(own), begin(own, call_id="c\0" + "2" * 200)
            live.begin()
            ended.begin()
            end(ended)
            return live.id, ended.id

    live, ended = asyncio.run(run())
    found = sqlite_database.record(live)
    assert found is not None
    # The end of this one was never told.
    assert found[0]["cause"] == "process_lost"
    assert (found[0]["caller"], found[0]["called"]) == ("…0100", "…0199")
    assert (found[0]["process"], found[0]["tracks"]) == ("node1/w1", "inbound")
    again = sqlite_database.record(ended)
    assert again is not None
    assert again[0]["cause"] == "plivo"
    assert again[0]["call_id"].startswith("c\ufffd2")
    assert len(again[0]["call_id"]) == 100
    assert list((tmp_path / "journals").iterdir()) == []


def test_what_does_not_come_to_the_database_waits_for_the_next_start(
    tmp_path: Path,
    sqlite_database: RecordsDatabase,
    wait_until: Callable[[Callable[[], object]], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("")
    away = records(tmp_path, records=str(tmp_path / "file" / "calls.db"))
    own = records(tmp_path)

    async def run() -> str:
        async with away.running():
            record = begin(away)
            record.begin()
            end(record)
        assert "wait in the journal" in caplog.text
        async with own.running():
            await asyncio.to_thread(wait_until, lambda: own.figures.stored)
        return str(record.id)

    assert sqlite_database.record(asyncio.run(run())) is not None


def test_a_journal_that_cannot_be_written_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    own = records(tmp_path, records_journal=tmp_path / "file" / "journals")

    async def run() -> None:
        async with own.running():
            pass

    with pytest.raises(RecordsError, match="journal of call records cannot be written to"):
        asyncio.run(run())


def test_prices_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    async def run() -> None:
        async with records(tmp_path, records_prices=tmp_path / "prices.toml").running():
            pass

    with pytest.raises(RecordsError, match="the prices cannot be read"):
        asyncio.run(run())


def test_a_server_that_waits_for_nothing_leaves_its_records_to_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep = threading.Event()
    monkeypatch.setattr(Shipper, "step", lambda self: asleep.wait(60))
    hurried = records(tmp_path)

    async def run() -> None:
        async with hurried.running():
            end(begin(hurried))
            hurried.hurry()
        assert not asleep.is_set()
        asleep.set()

    asyncio.run(run())
    assert len(list((tmp_path / "journals").iterdir())) == 1
