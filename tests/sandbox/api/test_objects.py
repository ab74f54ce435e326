from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.plivo import models
from mediaserver.sandbox.api.objects import (
    MAX_PAGE,
    PageError,
    application_object,
    call_object,
    number_object,
    page,
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


@given(st.integers(0, 70), st.integers(1, MAX_PAGE))
def test_following_the_links_shows_everything_once(count, limit):
    objects = [{"n": n} for n in range(count)]
    seen, query = [], {"limit": str(limit), "call_direction": "inbound"}
    while True:
        shown = page(objects, PATH, query)
        seen += shown["objects"]
        assert shown["meta"]["total_count"] == count
        if shown["meta"]["next"] is None:
            break
        parts = urlsplit(shown["meta"]["next"])
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        assert (parts.path, query["call_direction"]) == (PATH, "inbound")

    assert seen == objects


def test_a_page_links_back():
    shown = page([{}] * 50, PATH, {"limit": "20", "offset": "30"})

    assert shown["meta"]["previous"] == f"{PATH}?limit=20&offset=10"
    assert shown["meta"]["next"] is None


@pytest.mark.parametrize(
    "query",
    [{"limit": "0"}, {"limit": "21"}, {"limit": "x"}, {"offset": "-1"}, {"offset": "9" * 30}],
)
def test_a_page_that_cannot_be_is_refused(query):
    (name,) = query
    with pytest.raises(PageError, match=f"{name} must be"):
        page([], PATH, query)


def test_a_stream_has_what_both_pages_show():
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

    shown = models.StreamObject(**stream_object("MA", record))

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


def test_a_call_that_was_not_answered_took_no_time():
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

    shown = models.Call(**call_object("MA", record))

    assert (shown.answer_time, shown.call_duration, shown.bill_duration) == (None, 0, 0)
    assert (shown.from_number, shown.to_number) == ("+1415", "1416")


def test_a_number_names_its_application():
    record = NumberRecord(number="14155550100", added=0.0, app_id="17")

    shown = models.Number(**number_object("MA", record, Rates()))

    assert (shown.app_id, shown.added_on) == ("17", "1970-01-01")


def test_an_application_has_the_fields_of_the_reference():
    record = ApplicationRecord(app_id="17", app_name="agent", answer_url="http://h/")

    shown = models.Application(**application_object("MA", record))

    assert (shown.app_name, shown.answer_url, shown.answer_method) == ("agent", "http://h/", "POST")
    assert shown.sip_uri == "sip:17@app.plivo.com"
