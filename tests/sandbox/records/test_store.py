from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import SQLAlchemyError

from mediaserver.sandbox.records.records import ApplicationRecord, CallRecord, StreamRecord
from mediaserver.sandbox.records.store import MemoryStore, SqlStore, Store, StoreError
from tests.sandbox.conftest import call_record, stream_record


def call(uuid: str = "c1", **more: Any) -> CallRecord:
    return call_record(uuid, initiated=1_700_000_000.25, **more)


@pytest.fixture(params=["memory", "sqlite"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Any]:
    @asynccontextmanager
    async def store() -> AsyncIterator[Store]:
        made: Store = MemoryStore()
        if request.param == "sqlite":
            made = await SqlStore.open(tmp_path / "sandbox.db")
        yield made
        await made.aclose()

    return store


async def test_a_record_comes_back_as_it_was_last_saved(opened: Callable[..., Any]) -> None:
    async with opened() as store:
        record = call(answered=1_700_000_001.5)
        await store.save(record)
        record.status, record.ended = "completed", 1_700_000_009.0
        await store.save(record)
        (kept,) = await store.all(CallRecord)

    assert kept.status == "completed"
    assert (kept.initiated, kept.answered, kept.ended) == (
        1_700_000_000.25,
        1_700_000_001.5,
        1_700_000_009.0,
    )


async def test_a_change_that_was_not_saved_does_not_show_in_the_database(tmp_path: Path) -> None:
    store = await SqlStore.open(tmp_path / "sandbox.db")
    record = call()
    await store.save(record)
    record.status = "completed"
    (kept,) = await store.all(CallRecord)
    await store.aclose()

    assert kept.status == "queued"


async def test_two_saves_at_once_are_one_record(opened: Callable[..., Any]) -> None:
    async with opened() as store:
        record = call()
        await asyncio.gather(*(store.save(record) for _ in range(5)))

        assert len(await store.all(CallRecord)) == 1


async def test_kinds_are_kept_apart(opened: Callable[..., Any]) -> None:
    async with opened() as store:
        await store.save(call("c1"), stream_record("c1"))

        assert [each.call_uuid for each in await store.all(CallRecord)] == ["c1"]
        assert [each.bidirectional for each in await store.all(StreamRecord)] == [True]


async def test_what_is_deleted_is_gone(opened: Callable[..., Any]) -> None:
    async with opened() as store:
        record = ApplicationRecord(app_id="1", app_name="agent")
        await store.save(record)
        await store.delete(record)
        await store.delete(record)

        assert list(await store.all(ApplicationRecord)) == []


async def test_a_database_outlives_its_store(tmp_path: Path) -> None:
    for uuid in ("c1", "c2"):
        store = await SqlStore.open(tmp_path / "sandbox.db")
        await store.save(call(uuid))
        kept = await store.all(CallRecord)
        await store.aclose()

    assert {each.call_uuid for each in kept} == {"c1", "c2"}


async def test_of_several_records_all_are_saved_or_none(tmp_path: Path) -> None:
    store = await SqlStore.open(tmp_path / "sandbox.db")
    incomplete = call("c2")
    incomplete.from_number = None  # type: ignore[assignment]
    with pytest.raises(SQLAlchemyError):
        await store.save(call("c1"), incomplete)

    kept = await store.all(CallRecord)
    await store.aclose()
    assert list(kept) == []


async def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"none/sandbox\.db cannot be used"):
        await SqlStore.open(tmp_path / "none" / "sandbox.db")


async def test_a_database_of_another_version_is_an_error(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "old.db")) as old:
        old.execute("CREATE TABLE numbers (number VARCHAR PRIMARY KEY, added FLOAT)")
    with pytest.raises(StoreError, match=r"another version.*numbers\.app_id"):
        await SqlStore.open(tmp_path / "old.db")


async def test_a_database_whose_opening_is_cancelled_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = threading.enumerate()

    def cancel(_: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr("mediaserver.sandbox.records.store._missing_columns", cancel)
    with pytest.raises(asyncio.CancelledError):
        await SqlStore.open(tmp_path / "sandbox.db")
    for thread in set(threading.enumerate()) - {*before}:
        await asyncio.to_thread(thread.join, 30)
        assert not thread.is_alive()


async def test_headers_come_back_as_they_were(opened: Callable[..., Any]) -> None:
    async with opened() as store:
        await store.save(call(headers={"X-PH-ticket": "17"}))
        (kept,) = await store.all(CallRecord)

    assert kept.headers == {"X-PH-ticket": "17"}
