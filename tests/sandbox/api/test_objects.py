from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.datastructures import URL

from mediaserver.plivo import models
from mediaserver.sandbox.api.objects import (
    Paging,
    application_object,
    call_object,
    number_object,
    stream_object,
)
from mediaserver.sandbox.records.billing import Rates
from mediaserver.sandbox.records.records import (
    ApplicationRecord,
    CallRecord,
    NumberRecord,
    StreamRecord,
)


PATH = "/v1/Account/MA/Call/"


def page(count: int, query: str) -> dict[str, Any]:
    numbers = [models.Number(number=str(n)) for n in range(count)]
    return Paging.model_validate(dict(parse_qsl(query))).page(URL(f"{PATH}?{query}"), numbers)


@given(st.integers(0, 70), st.integers(1, models.MAX_PAGE))
def test_following_the_links_shows_everything_once(count: int, limit: int) -> None:
    seen: list[str] = []
    query = f"limit={limit}&call_direction=inbound"
    while query:
        shown = page(count, query)
        seen += [each.number for each in shown["objects"]]
        assert shown["meta"].total_count == count
        path, _, query = (shown["meta"].next or "").partition("?")
        assert not query or (path == PATH and "call_direction=inbound" in query)

    assert seen == [str(n) for n in range(count)]


def test_a_page_links_back() -> None:
    meta = page(50, "limit=20&offset=30")["meta"]

    assert (meta.previous, meta.next) == (f"{PATH}?limit=20&offset=10", None)


@pytest.mark.parametrize("query", ["limit=0", "limit=21", "limit=x", "offset=-1"])
def test_a_page_that_cannot_be_is_refused(query: str) -> None:
    with pytest.raises(ValidationError, match=query.partition("=")[0]):
        page(0, query)


def test_an_offset_beyond_the_end_is_an_empty_page() -> None:
    assert page(3, f"offset={'9' * 30}")["objects"] == []


def test_a_stream_has_what_both_pages_show() -> None:
    record = StreamRecord(
        stream_id="s1",
        call_uuid="c1",
        service_url="wss://h/ws",
        bidirectional=False,
        audio_track="both",
        content_type="audio/x-l16;rate=8000",
        created=0.0,
        started=1.0,
        ended=28.0,
        bill_duration=27,
        rounded_bill_duration=60,
        billed_amount="0.00300",
    )

    shown = stream_object("MA", record)

    assert (shown.start_time, shown.end_time) == (
        "1970-01-01 00:00:01+00:00",
        "1970-01-01 00:00:28+00:00",
    )
    assert (shown.bill_duration, shown.rounded_bill_duration, shown.billed_amount) == (
        27,
        60,
        "0.00300",
    )
    assert (shown.audio_track, shown.bidirectional) == ("both", False)
    assert shown.resource_uri == "/v1/Account/MA/Call/c1/Stream/s1/"


def test_a_call_that_was_not_answered_took_no_time() -> None:
    record = CallRecord(
        call_uuid="c1",
        request_uuid="c1",
        direction="outbound",
        from_number="+1415",
        to_number="+1416",
        initiated=0.0,
        ended=30.0,
        rate="0.01000",
    )

    shown = call_object("MA", record)

    assert (shown.answer_time, shown.call_duration, shown.bill_duration) == (None, 0, 0)
    assert (shown.from_number, shown.to_number) == ("+1415", "1416")


def test_a_number_names_its_application() -> None:
    record = NumberRecord(number="14155550100", added=0.0, app_id="17")

    shown = number_object("MA", record, Rates())

    assert (shown.app_id, shown.added_on) == ("17", "1970-01-01")


def test_an_application_has_the_fields_of_the_reference() -> None:
    record = ApplicationRecord(app_id="17", app_name="agent", answer_url="http://h/")

    shown = application_object("MA", record)

    assert (shown.app_name, shown.answer_url, shown.answer_method) == ("agent", "http://h/", "POST")
    assert shown.sip_uri == "sip:17@app.plivo.com"
