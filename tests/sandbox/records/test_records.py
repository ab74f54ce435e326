from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.sandbox.records.billing import Rates
from mediaserver.sandbox.records.records import CallRecord, Record, StreamRecord
from tests.sandbox.conftest import call_record, stream_record


@pytest.mark.parametrize("make", [call_record, stream_record])
def test_a_record_is_live_until_it_has_ended(
    make: Callable[..., CallRecord | StreamRecord],
) -> None:
    assert make().live
    assert not make(ended=0.0).live


def test_a_new_call_is_queued_and_a_new_stream_initiated() -> None:
    assert (call_record().status, call_record().total_amount) == ("queued", "0.00000")
    assert (stream_record().status, stream_record().billed_amount) == ("initiated", "0.00000")


@given(st.floats(1e9, 2e9), st.floats(0, 1e5))
def test_durations_are_those_between_the_times_that_are_shown(start: float, length: float) -> None:
    ended = start + length
    for record in (
        call_record(answered=start, ended=ended),
        stream_record(started=start, ended=ended),
    ):
        Rates().bill_call(record) if isinstance(record, CallRecord) else Rates().bill_stream(record)
        assert record.end_shown is not None
        assert record.bill_duration == record.seconds == record.end_shown - math.floor(start)
        assert record.ended is not None
        assert abs(record.end_shown - record.ended) <= 1


@pytest.mark.parametrize("make", [call_record, stream_record])
def test_what_never_began_lasted_no_time(make: Callable[..., CallRecord | StreamRecord]) -> None:
    assert (make().seconds, make().end_shown) == (0, None)
    assert (make(ended=5.5).seconds, make(ended=5.5).end_shown) == (0, 5.5)


def test_every_kind_has_a_table() -> None:
    tables = {"calls", "streams", "applications", "numbers", "heartbeat"}

    assert set(Record.metadata.tables) == tables
