"""The pages' rules on requests, and tolerant reading of answers."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from audiocodecs import L16_24K, AudioFormat
from mediaserver.plivo import models
from mediaserver.plivo.models import (
    ApplicationRequest,
    CallCreated,
    CallRequest,
    DigitsRequest,
    LiveCall,
    LiveCallList,
    Meta,
    Number,
    StreamList,
    StreamObject,
    StreamRequest,
    TransferRequest,
)


URL = "wss://voice.example.com/stream"
ANSWER = "https://voice.example.com/answer"


def stream(**parameters: Any) -> StreamRequest:
    return StreamRequest(service_url=URL, **parameters)


def call(**parameters: Any) -> CallRequest:
    return CallRequest(**{"from_": "+14155550100", "to": "+14155550199", "answer_url": ANSWER}
                       | parameters)  # fmt: skip


def refusal(
    make: Callable[..., Any] | type[DigitsRequest] | type[StreamRequest] | type[TransferRequest],
    **parameters: Any,
) -> str:
    with pytest.raises(ValidationError) as caught:
        make(**parameters)
    return str(caught.value)


# Streams


def test_every_parameter_of_the_page_is_sent_under_its_name() -> None:
    request = stream(
        bidirectional=True,
        audio_track="inbound",
        stream_timeout=3600,
        content_type="audio/x-mulaw;rate=8000",
        status_callback_url="https://voice.example.com/status",
        status_callback_method="get",
        extra_headers="key1=val1,key2=val2",
        noise_cancellation=True,
        noise_cancellation_level=85,
    )
    assert request.body() == {
        "service_url": URL,
        "bidirectional": True,
        "audio_track": "inbound",
        "stream_timeout": 3600,
        "content_type": "audio/x-mulaw;rate=8000",
        "status_callback_url": "https://voice.example.com/status",
        "status_callback_method": "GET",
        "extra_headers": "key1=val1,key2=val2",
        "noise_cancellation": "true",
        "noise_cancellation_level": 85,
    }


def test_what_is_not_set_is_not_sent() -> None:
    assert stream().body() == {"service_url": URL}


@given(
    bidirectional=st.sampled_from([None, False, True]),
    track=st.sampled_from([None, "inbound", "outbound", "both"]),
)
def test_only_the_callers_voice_is_streamed_both_ways(
    bidirectional: bool | None, track: str | None
) -> None:
    parameters = {"bidirectional": bidirectional, "audio_track": track}
    if bidirectional and track in ("outbound", "both"):
        assert repr(track) in refusal(stream, **parameters)
    else:
        assert stream(**parameters).audio_track == track


def test_a_noise_level_without_noise_cancellation_is_not_sent() -> None:
    request = stream(noise_cancellation=False, noise_cancellation_level=70)
    assert request.body() == {"service_url": URL, "noise_cancellation": "false"}
    assert request.warnings == (
        "noise_cancellation_level is ignored, because noise_cancellation is not true",
    )
    assert stream(noise_cancellation=True, noise_cancellation_level=70).warnings == ()


@given(st.integers(-(10**6), 10**6))
def test_a_timeout_is_positive_and_at_most_a_day(seconds: int) -> None:
    if 1 <= seconds <= 86_400:
        assert stream(stream_timeout=seconds).stream_timeout == seconds
    else:
        assert str(seconds) in refusal(stream, stream_timeout=seconds)


@pytest.mark.parametrize("form", [L16_24K, "audio/x-l16;rate=24000"])
def test_a_format_may_be_an_object(form: AudioFormat | str) -> None:
    assert stream(content_type=form).content_type == "audio/x-l16;rate=24000"


def test_extra_headers_may_be_a_mapping() -> None:
    assert stream(extra_headers={"agent": "7", "team": "x"}).extra_headers == "agent=7,team=x"


@pytest.mark.parametrize(
    "url",
    ["https://x.example.com/", "voice.example.com", "", "wss://", "wss://h/a b", "wss://[::1/",
     "wss://h:x/", "wss://h/\x00", "wss://h/" + "x" * 2048],
)  # fmt: skip
def test_a_stream_url_that_plivo_refuses_is_refused(url: str) -> None:
    assert "service_url" in refusal(StreamRequest, service_url=url)


@given(st.integers(2000, 2100))
def test_a_stream_url_has_at_most_2048_characters(length: int) -> None:
    url = "wss://h/".ljust(length, "x")
    if length <= 2048:
        assert StreamRequest(service_url=url).service_url == url
    else:
        assert f"this URL has {length}" in refusal(StreamRequest, service_url=url)


def test_a_plain_websocket_is_taken_and_space_around_a_url_is_not_sent() -> None:
    assert (
        StreamRequest(service_url=" ws://10.0.0.1:8000/s\n").service_url == "ws://10.0.0.1:8000/s"
    )


def test_an_unknown_parameter_is_refused() -> None:
    assert "keep_call_alive" in refusal(stream, keep_call_alive=True)


# Calls


def test_a_call_needs_no_more_than_the_page_says() -> None:
    assert call().body() == {"from": "+14155550100", "to": "+14155550199", "answer_url": ANSWER}


def test_a_call_may_be_written_with_plivos_own_name_for_the_caller() -> None:
    parameters = {"from": "+14155550100", "to": "+14155550199", "answer_url": ANSWER}
    assert CallRequest.model_validate(parameters) == call()


def test_several_numbers_are_joined_and_each_is_called_once() -> None:
    request = call(to=["+1 415 555 0198", "sip:j@phone.plivo.com", "+14155550198"])
    assert request.to == "+14155550198<sip:j@phone.plivo.com"
    assert request.destinations == ["+14155550198", "sip:j@phone.plivo.com"]
    assert call(to="14155550198<14155550197").destinations == ["14155550198", "14155550197"]


def test_a_thousand_numbers_are_called_at_once_and_no_more() -> None:
    numbers = [f"1415{n:07}" for n in range(1001)]
    assert len(call(to=numbers[:1000]).destinations) == 1000
    assert "1001 numbers" in refusal(call, to=numbers)


@pytest.mark.parametrize("to", ["", [], "nobody", [1], 5, "14155550198<"])
def test_nobody_cannot_be_called(to: int | list[int] | str) -> None:
    assert "to" in refusal(call, to=to)


def test_nobody_calls_themselves() -> None:
    assert "same number" in refusal(call, to="14155550100")


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("machine_detection_time", 2000, 10_000),
        ("machine_detection_maximum_speech_length", 1000, 6000),
        ("machine_detection_initial_silence", 2000, 10_000),
        ("machine_detection_maximum_words", 2, 10),
        ("machine_detection_initial_greeting", 1000, 5000),
    ],
)
def test_machine_detection_stays_within_its_limits(name: str, low: int, high: int) -> None:
    assert call(**{name: low}).body()[name] == low
    assert call(**{name: high}).body()[name] == high
    assert str(low - 1) in refusal(call, **{name: low - 1})
    assert str(high + 1) in refusal(call, **{name: high + 1})


def test_machine_detection_is_text() -> None:
    assert call(machine_detection=True).body()["machine_detection"] == "true"
    assert call(machine_detection="hangup").body()["machine_detection"] == "hangup"
    assert "machine_detection" in refusal(call, machine_detection=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("answer_url", "wss://voice.example.com"),
        ("answer_url", "voice.example.com/answer"),
        ("hangup_url", "ftp://h/"),
        ("answer_method", "PUT"),
        ("caller_name", "x" * 51),
        ("send_digits", "1;2"),
        ("time_limit", 0),
        ("ring_timeout", -1),
    ],
)
def test_a_wrong_parameter_is_named(name: str, value: int | str) -> None:
    assert name in refusal(call, **{name: value})


@pytest.mark.parametrize("digits", ["1w2W3", "123@1000", "*9#AD"])
def test_digits_may_have_pauses_and_a_length(digits: str) -> None:
    assert call(send_digits=digits).send_digits == digits


@pytest.mark.parametrize(
    ("legs", "missing"), [("aleg", "aleg_url"), ("bleg", "bleg_url"), ("both", "aleg_url")]
)
def test_each_transferred_leg_needs_a_url(legs: str, missing: str) -> None:
    assert missing in refusal(TransferRequest, legs=legs)


def test_the_caller_is_transferred_by_default() -> None:
    assert TransferRequest(aleg_url=ANSWER).body() == {"legs": "aleg", "aleg_url": ANSWER}


@pytest.mark.parametrize("digits", ["", "12a4x", "1 2", "\uff11"])
def test_what_is_no_key_is_not_pressed(digits: str) -> None:
    assert "digits" in refusal(DigitsRequest, digits=digits)


def test_an_application_change_names_only_what_changes() -> None:
    assert ApplicationRequest(answer_url=ANSWER).body() == {"answer_url": ANSWER}


# Answers


def test_a_stream_object_is_read_as_the_page_shows_it() -> None:
    page = {
        "api_id": "f7615566-13c5-11ee-b552-0242ac110005",
        "stream_id": "20170ada-f610-433b-8758-c02a2aab3662",
        "call_uuid": "78737f83-4660-490d-98e1-025dfe4b5c8f",
        "service_url": "wss://mysocket.com/wss/v2/1/demo/",
        "audio_track": "both",
        "bidirectional": False,
        "content_type": "audio/x-l16;rate=8000",
        "start_time": "2023-06-21 18:53:16+05:30",
        "end_time": "2023-06-21 18:53:43+05:30",
        "bill_duration": 27,
        "billed_amount": "0.00300",
        "rounded_bill_duration": 60,
    }
    read = StreamObject.model_validate(page)
    assert read.model_dump(exclude_unset=True) == page
    assert not read.model_extra


def test_a_list_of_streams_is_read_as_the_page_shows_it() -> None:
    page = {
        "api_id": "87399872-13cb-11ee-9da1-0242ac110003",
        "meta": {"limit": 20, "offset": 0, "total_count": 1},
        "objects": [{"stream_id": "s-1", "call_uuid": "c-1", "end_time": None}],
    }
    read = StreamList.model_validate(page)
    assert read.meta.total_count == 1
    assert [each.stream_id for each in read.objects] == ["s-1"]


def test_other_spellings_of_the_same_are_read() -> None:
    read = StreamObject.model_validate(
        {"stream_id": "s", "rounded_bill_duration": "60", "billed_amount": 0.003,
         "bidirectional": "true", "bill_duration": "", "news": [1]}
    )  # fmt: skip
    assert read.rounded_bill_duration == 60
    assert read.billed_amount == "0.003"
    assert read.bidirectional is True
    assert read.bill_duration is None
    assert read.model_extra == {"news": [1]}
    assert Meta.model_validate({"count": 3}).total_count == 3


@given(
    st.dictionaries(
        st.sampled_from(sorted(StreamObject.model_fields.keys() - {"stream_id"})),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    )
)
def test_no_odd_field_makes_a_stream_object_unreadable(
    fields: dict[str, None] | dict[str, int | str | None],
) -> None:
    assert StreamObject.model_validate({**fields, "stream_id": "s"}).stream_id == "s"


def test_one_request_or_several_come_back() -> None:
    one = CallCreated.model_validate({"message": "call fired", "request_uuid": "r-1"})
    many = CallCreated.model_validate({"message": "calls queued", "request_uuid": ["r-1", "r-2"]})
    assert (one.call_uuid, one.request_uuids, one.queued) == ("r-1", ["r-1"], False)
    assert (many.call_uuid, many.request_uuids, many.queued) == ("r-1", ["r-1", "r-2"], True)


@pytest.mark.parametrize("request_uuid", [None, "", [], [""]])
def test_a_call_without_an_id_is_no_call(request_uuid: list[str] | str | None) -> None:
    with pytest.raises(ValidationError):
        CallCreated.model_validate({"request_uuid": request_uuid})


def test_a_live_call_is_read() -> None:
    read = LiveCall.model_validate(
        {"call_uuid": "c", "from": "+14155550100", "to": "1415", "call_status": "in-progress"}
    )
    assert read.from_ == "+14155550100"


def test_live_calls_come_as_ids_or_as_objects() -> None:
    ids = LiveCallList.model_validate({"calls": ["c-1", "c-2"]})
    objects = LiveCallList.model_validate({"objects": [{"call_uuid": "c-1"}, {"call_uuid": "c-2"}]})
    assert ids.calls == objects.calls == ["c-1", "c-2"]


@pytest.mark.parametrize(
    ("following", "page"),
    [
        (None, None),
        ("", None),
        ("/v1/Account/MA/Call/?limit=20&offset=40", {"limit": 20, "offset": 40}),
        ("/v1/Account/MA/Call/?limit=5&cursor=ab&offset=0", {"limit": 5, "cursor": "ab"}),
        ("/v1/Account/MA/Call/", None),
    ],
)
def test_the_next_page_is_known(
    following: str | None, page: dict[str, int | str] | dict[str, int] | None
) -> None:
    assert Meta(next=following).next_page == page


def test_a_number_knows_its_application() -> None:
    number = Number.model_validate(
        {"number": "1415", "application": "/v1/Account/MA/Application/77/"}
    )
    assert number.app_id == "77"
    assert Number(number="1415").app_id is None


@pytest.mark.parametrize(
    "name", [n for n in dir(models) if n.endswith("Request") and n != "Request"]
)
def test_a_request_is_json(name: str) -> None:
    examples = {
        "CallRequest": call(),
        "StreamRequest": stream(),
        "TransferRequest": TransferRequest(aleg_url=ANSWER),
        "DigitsRequest": DigitsRequest(digits="1"),
        "NumberRequest": models.NumberRequest(app_id="7"),
        "ApplicationRequest": ApplicationRequest(answer_url=ANSWER),
    }
    body = examples[name].body()
    assert json.loads(json.dumps(body)) == body != {}


def test_what_is_wrong_with_a_request_is_said_in_a_line() -> None:
    with pytest.raises(ValidationError) as caught:
        call(from_="0800", time_limit=0, colour="red")
    assert models.problems(caught.value) == (
        "from: a phone number has its country code first and 3 to 15 digits, such as"
        " +14155550100; not '0800'; time_limit: must be at least 1, not 0;"
        " colour: Extra inputs are not permitted"
    )
    with pytest.raises(ValidationError) as caught:
        TransferRequest()
    assert models.problems(caught.value) == "legs is 'aleg', so aleg_url must be set"
