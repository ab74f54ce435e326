from __future__ import annotations

from collections.abc import Callable

import pytest

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


def test_every_kind_has_a_table() -> None:
    tables = {"calls", "streams", "applications", "numbers", "heartbeat"}

    assert set(Record.metadata.tables) == tables
