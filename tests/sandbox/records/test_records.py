from __future__ import annotations

from collections.abc import Callable

import pytest

from mediaserver.sandbox.records.records import CallRecord, Record, StreamRecord


def call(ended: float | None = None) -> CallRecord:
    return CallRecord(
        call_uuid="c1",
        request_uuid="c1",
        direction="outbound",
        from_number="+14155550100",
        to_number="+14155550123",
        initiated=0.0,
        rate="0.01000",
        ended=ended,
    )


def stream(ended: float | None = None) -> StreamRecord:
    return StreamRecord(
        stream_id="s1",
        call_uuid="c1",
        service_url="wss://h/ws",
        bidirectional=True,
        audio_track="inbound",
        content_type="audio/x-mulaw;rate=8000",
        created=0.0,
        ended=ended,
    )


@pytest.mark.parametrize("make", [call, stream])
def test_a_record_is_live_until_it_has_ended(
    make: Callable[..., CallRecord | StreamRecord],
) -> None:
    assert make().live
    assert not make(ended=0.0).live


def test_a_new_call_is_queued_and_a_new_stream_initiated() -> None:
    assert (call().status, call().total_amount) == ("queued", "0.00000")
    assert (stream().status, stream().billed_amount) == ("initiated", "0.00000")


def test_every_kind_has_a_table() -> None:
    tables = {"calls", "streams", "applications", "numbers", "heartbeat"}

    assert set(Record.metadata.tables) == tables
