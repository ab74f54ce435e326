from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from mediaserver.sandbox.records.book import RecordBook
from mediaserver.sandbox.records.records import (
    ApplicationRecord,
    HeartbeatRecord,
    NumberRecord,
    Record,
)
from mediaserver.sandbox.records.store import MemoryStore
from mediaserver.testing import run_virtual
from tests.sandbox.conftest import call_record, stream_record


class FullStore(MemoryStore):
    """A store that saves nothing more."""

    async def save(self, *records: Record) -> None:
        raise OSError("no space left on device")


def test_what_is_remembered_is_there_after_a_restart() -> None:
    async def scenario() -> RecordBook:
        store = MemoryStore()
        book = RecordBook(store)
        for record in (
            call_record("c1", initiated=1.0),
            stream_record("s1", created=2.0),
            ApplicationRecord(app_id="1", app_name="agent"),
            NumberRecord(number="14155550100", added=0.0),
        ):
            await book.remember(record)
        again = RecordBook(store)
        await again.load()
        return again

    book = run_virtual(scenario())

    assert [*book.calls, *book.streams] == ["c1", "s1"]
    assert [*book.applications, *book.numbers] == ["1", "14155550100"]


def test_calls_and_streams_are_in_the_order_in_which_they_began() -> None:
    async def scenario() -> RecordBook:
        store = MemoryStore()
        await store.save(
            call_record("c2", initiated=2.0),
            call_record("c1", initiated=1.0),
            stream_record("s2", created=4.0),
            stream_record("s1", created=3.0),
        )
        book = RecordBook(store)
        await book.load()
        return book

    book = run_virtual(scenario())

    assert [*book.calls, *book.streams] == ["c1", "c2", "s1", "s2"]


def test_a_record_that_is_forgotten_is_gone() -> None:
    async def scenario() -> tuple[Any, Any]:
        book = RecordBook(MemoryStore())
        record = ApplicationRecord(app_id="1", app_name="agent")
        await book.remember(record)
        await book.forget(record)
        return book.applications, await book.store.all(ApplicationRecord)

    assert run_virtual(scenario()) == ({}, [])


def test_what_must_be_saved_fails_where_it_cannot_be() -> None:
    async def scenario() -> None:
        await RecordBook(FullStore()).remember(call_record("c1", initiated=1.0))

    with pytest.raises(OSError, match="no space"):
        run_virtual(scenario())


def test_what_need_not_be_saved_is_lost_with_a_word_in_the_log() -> None:
    async def scenario() -> None:
        await RecordBook(FullStore()).keep(call_record("c1", initiated=1.0))

    with capture_logs() as logs:
        run_virtual(scenario())

    assert [(each["event"], each["kind"]) for each in logs] == [("record not saved", "CallRecord")]


@pytest.mark.parametrize(("beats", "last"), [([], None), ([5.0, 7.0], 7.0)])
def test_the_last_heartbeat_is_known(beats: list[float], last: float | None) -> None:
    async def scenario() -> float | None:
        book = RecordBook(MemoryStore())
        for time in beats:
            await book.keep(HeartbeatRecord(time=time))
        return await book.last_heartbeat()

    assert run_virtual(scenario()) == last
