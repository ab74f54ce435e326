import json
import math
from collections.abc import Callable
from typing import Any

import msgspec
import pybase64
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiocodecs import L16_8K, L16_16K, MULAW_8K
from mediaserver.protocol import (
    MAX_MESSAGE_BYTES,
    REASONS,
    ClearedAudio,
    Dtmf,
    Event,
    Media,
    MediaAudio,
    PlayedStream,
    ProtocolError,
    Start,
    Stop,
    StreamError,
    Unknown,
    decode_audio,
    decode_event,
)
from mediaserver.protocol.event_decoding import MAX_PATIENT_BYTES


CALL = "0eb0f00e-49ba-41ca-81f6-700628f7af8b"
STREAM = "20170ada-f610-433b-8758-c02a2aab3662"


def decoded(message: bytes | str) -> Any:
    """Return an event whose attributes a test looks at."""
    return decode_event(message)


def reason(message: bytes | str, **options: Any) -> str:
    with pytest.raises(ProtocolError) as caught:
        decode_event(message, **options)
    assert caught.value.reason in REASONS
    assert len(str(caught.value)) < 250
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return caught.value.reason


# start


def start(**changes: Any) -> str:
    message = {
        "event": "start",
        "sequenceNumber": 1,
        "start": {
            "callId": CALL,
            "streamId": STREAM,
            "accountId": "MAXXXXXXXXXXXXXXXXXX",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000},
        },
        "extra_headers": "{X-PH-agent: 7}",
    }
    message["start"] |= changes.pop("start", {})
    return json.dumps(message | changes)


def test_a_start_in_the_documented_form() -> None:
    assert decode_event(start()) == Start(
        call_id=CALL,
        stream_id=STREAM,
        account_id="MAXXXXXXXXXXXXXXXXXX",
        tracks=("inbound",),
        media_format=MULAW_8K,
        extra_headers={"agent": "7"},
        extra_headers_text="{X-PH-agent: 7}",
        sequence_number=1,
    )


def test_a_start_with_ids_alone() -> None:
    message = json.dumps({"event": "start", "start": {"callId": "c1", "streamId": "s1"}})
    assert decode_event(message) == Start("c1", "s1")


def test_a_start_as_an_integration_sample_has_it() -> None:
    message = (
        '{"sequenceNumber":0,"event":"start","start":{"callId":"c","streamId":"s",'
        '"mediaFormat":{"encoding":"audio/x-l16","sampleRate":8000}}}'
    )
    assert decode_event(message) == Start("c", "s", media_format=L16_8K, sequence_number=0)


@pytest.mark.parametrize("key", ["callId", "callUUID", "CallUUID"])
def test_the_call_id_has_three_names(key: str) -> None:
    message = json.dumps({"event": "start", "start": {key: "c1", "streamId": "s1"}})
    assert decoded(message).call_id == "c1"


def test_the_nested_stream_id_wins_over_the_one_at_the_top() -> None:
    assert decoded(start(streamId="top")).stream_id == STREAM


@pytest.mark.parametrize("start_object", [{}, None, [], "x"])
def test_ids_at_the_top_are_enough(start_object: dict[Any, Any] | list[Any] | str | None) -> None:
    message = {"event": "start", "start": start_object, "callId": "c1", "streamId": "s1"}
    assert decode_event(json.dumps(message)) == Start("c1", "s1")


@pytest.mark.parametrize("key", ["callId", "streamId"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_start_without_an_id_is_refused(key: str, value: str | None) -> None:
    assert reason(start(start={key: value})) == "missing_field"


@pytest.mark.parametrize("key", ["callId", "streamId"])
def test_an_id_that_is_no_string_is_refused(key: str) -> None:
    assert reason(start(start={key: [1]})) == "bad_value"


@pytest.mark.parametrize(
    ("tracks", "expected"),
    [
        (["inbound", "outbound"], ("inbound", "outbound")),
        (None, ("inbound",)),
        ([], ("inbound",)),
        ("outbound", ("outbound",)),
        ([1, "outbound", None], ("outbound",)),
        ({"a": 1}, ("inbound",)),
    ],
)
def test_tracks(
    tracks: dict[str, int] | list[int | str | None] | list[str] | str | None,
    expected: tuple[str, str] | tuple[str],
) -> None:
    assert decoded(start(start={"tracks": tracks})).tracks == expected


@pytest.mark.parametrize("value", [None, 5, {}, []])
def test_an_account_id_that_is_no_string_is_left_out(
    value: dict[Any, Any] | int | list[Any] | None,
) -> None:
    assert decoded(start(start={"accountId": value})).account_id == ""


def test_type_and_rate_name_the_format_too() -> None:
    media_format = {"type": "audio/x-l16", "rate": "16000"}
    assert decoded(start(start={"mediaFormat": media_format})).media_format is L16_16K


def test_a_format_that_plivo_does_not_stream_is_refused() -> None:
    media_format = {"encoding": "audio/opus", "sampleRate": 48000}
    assert reason(start(start={"mediaFormat": media_format})) == "unsupported_format"


@pytest.mark.parametrize(
    ("headers", "text", "expected"),
    [
        ("{}", "{}", {}),
        ("", "", {}),
        (None, "", {}),
        (5, "", {}),
        ([], "", {}),
        ("userId=1;b=2", "userId=1;b=2", {"userId": "1", "b": "2"}),
        ('{"userId":"1"}', '{"userId":"1"}', {"userId": "1"}),
        ({"userId": 1}, '{"userId":1}', {"userId": "1"}),
    ],
)
def test_extra_headers_of_a_start(
    headers: dict[str, int] | int | list[Any] | str | None, text: str, expected: dict[str, str]
) -> None:
    event = decoded(start(extra_headers=headers))
    assert event.extra_headers_text == text
    assert event.extra_headers == expected


def test_extra_headers_inside_start() -> None:
    event = decoded(start(extra_headers=None, start={"extra_headers": "a=b"}))
    assert event.extra_headers == {"a": "b"}
    assert event.extra_headers_text == "a=b"


def test_extra_headers_at_the_top_win() -> None:
    event = decoded(start(start={"extra_headers": "a=b"}))
    assert event.extra_headers == {"agent": "7"}


def test_custom_parameters_are_ignored() -> None:
    plain = decode_event(start())
    assert decode_event(start(start={"customParameters": {"a": [1]}})) == plain


# media


def media(**changes: Any) -> str:
    message = {
        "event": "media",
        "sequenceNumber": 42,
        "streamId": STREAM,
        "media": {
            "track": "inbound",
            "timestamp": "1705312200000",
            "chunk": 41,
            "payload": "AAEC/w==",
        },
        "extra_headers": "{}",
    }
    message["media"] |= changes.pop("media", {})
    return json.dumps(message | changes)


def test_media_in_the_documented_form() -> None:
    assert decode_event(media()) == Media(
        payload=b"\x00\x01\x02\xff",
        track="inbound",
        timestamp=1705312200000,
        chunk=41,
        stream_id=STREAM,
        sequence_number=42,
        extra_headers_text="{}",
    )


def test_media_as_older_documents_have_it() -> None:
    message = (
        '{"event":"media","sequenceNumber":"3","media":{"track":"inbound","chunk":"1",'
        '"timestamp":"1711216222735","payload":"AAEC"},"streamId":"s",'
        '"extra_headers":"{X-PH-key1: value1}"}'
    )
    assert decode_event(message) == Media(
        b"\x00\x01\x02", "inbound", 1711216222735, 1, "s", 3, "{X-PH-key1: value1}"
    )


def test_media_with_a_payload_alone() -> None:
    assert decode_event('{"event":"media","media":{"payload":"AAEC"}}') == Media(b"\x00\x01\x02")


def test_media_of_the_outbound_track() -> None:
    assert decoded(media(media={"track": "outbound"})).track == "outbound"


@pytest.mark.parametrize("payload", ["AAEC_w==", "AAEC/w", "AAEC_w", " AAEC\n/w==\n"])
def test_base64_in_other_spellings(payload: str) -> None:
    assert decode_event(media(media={"payload": payload})) == decode_event(media())


def test_base64_with_escaped_slashes() -> None:
    assert decoded(media().replace("/w==", "\\/w==")) == decode_event(media())


def test_an_empty_payload_is_no_error() -> None:
    assert decoded(media(media={"payload": ""})).payload == b""


def test_an_odd_number_of_bytes_is_passed_on() -> None:
    assert decoded(media(media={"payload": "AAEC"})).payload == b"\x00\x01\x02"


@pytest.mark.parametrize("value", [7, 7.0, "7", "7.0", " 7 "])
def test_numbers_of_media_in_any_spelling(value: float | str) -> None:
    event = decoded(media(sequenceNumber=value, media={"timestamp": value, "chunk": value}))
    assert (event.sequence_number, event.timestamp, event.chunk) == (7, 7, 7)


@pytest.mark.parametrize("value", [None, "", "x", True, -1, "-1", [], {}, 10**30, str(10**30)])
def test_numbers_of_media_that_make_no_sense_are_left_out(
    value: dict[Any, Any] | int | list[Any] | str | None,
) -> None:
    event = decoded(media(sequenceNumber=value, media={"timestamp": value, "chunk": value}))
    assert (event.sequence_number, event.timestamp, event.chunk) == (None, None, None)
    assert event.payload == b"\x00\x01\x02\xff"


@pytest.mark.parametrize("value", [None, 5, []])
def test_strings_of_media_that_are_none_are_left_out(value: int | list[Any] | None) -> None:
    event = decoded(media(streamId=value, extra_headers=value, media={"track": value}))
    assert (event.stream_id, event.extra_headers_text, event.track) == ("", "", "inbound")
    assert event.payload == b"\x00\x01\x02\xff"


def test_extra_headers_of_media_as_an_object() -> None:
    assert decoded(media(extra_headers={"a": "b"})).extra_headers_text == '{"a":"b"}'


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ('{"event":"media"}', "missing_field"),
        ('{"event":"media","media":null}', "missing_field"),
        ('{"event":"media","media":[]}', "missing_field"),
        ('{"event":"media","media":{}}', "missing_field"),
        ('{"event":"media","media":{"payload":null}}', "missing_field"),
        ('{"event":"media","media":{"payload":5}}', "bad_value"),
        ('{"event":"media","media":{"payload":"A"}}', "bad_base64"),
        ('{"event":"media","media":{"payload":"AA*A"}}', "bad_base64"),
    ],
)
def test_media_without_audio_is_refused(message: str, expected: str) -> None:
    assert reason(message) == expected


def test_a_refused_payload_is_not_repeated() -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_event(media(media={"payload": "SECRETSECRET*"}))
    assert "SECRET" not in str(caught.value)


NUMBER = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6)),
    *(st.integers().map(str), st.floats().map(str), st.sampled_from(["null", "1e3", "-0", "00"])),
)


@given(st.binary(max_size=400), NUMBER, st.text(max_size=9))
def test_the_fast_path_and_the_patient_one_agree(audio: bytes, number: Any, word: Any) -> None:
    payload = pybase64.b64encode(audio).decode()
    fields = {"payload": payload, "track": word, "timestamp": number, "chunk": number}
    message = {"event": "media", "sequenceNumber": number, "media": fields, "extra_headers": word}
    if isinstance(number, float) and not math.isfinite(number):
        assert reason(json.dumps(message)) == "not_json"
        return
    assert decode_event(json.dumps(message | {"streamId": ""})) == decode_event(
        json.dumps(message | {"streamId": None})
    )


@given(st.binary(max_size=400), NUMBER, st.text(max_size=9))
def test_audio_alone_is_read_as_with_the_rest(audio: bytes, number: Any, word: Any) -> None:
    payload = pybase64.b64encode(audio).decode()
    fields = {"payload": payload, "track": word, "timestamp": number, "chunk": number}
    message = json.dumps({"event": "media", "media": fields, "streamId": word})
    if isinstance(number, float) and not math.isfinite(number):
        with pytest.raises(ProtocolError, match="JSON"):
            decode_audio(message)
        return
    media = decoded(message)
    assert decode_audio(message) == MediaAudio(
        media.payload, media.track, media.timestamp, media.chunk
    )


def test_what_is_no_media_is_read_like_any_event() -> None:
    assert decode_audio(start()) == decode_event(start())
    with pytest.raises(ProtocolError, match="limit is 10"):
        decode_audio(media(), max_size=10)


# dtmf


def dtmf(**changes: Any) -> str:
    return json.dumps(
        {
            "event": "dtmf",
            "sequenceNumber": 50,
            "streamId": STREAM,
            "dtmf": {"track": "inbound", "digit": "5", "timestamp": "1705312250000"} | changes,
            "extra_headers": "{}",
        }
    )


def test_dtmf_in_the_documented_form() -> None:
    assert decode_event(dtmf()) == Dtmf("5", "inbound", 1705312250000, STREAM, 50, "{}")


@pytest.mark.parametrize("digit", "0123456789*#ABCD")
def test_every_key(digit: str) -> None:
    assert decode_event(f'{{"event":"dtmf","dtmf":{{"digit":"{digit}"}}}}') == Dtmf(digit)


@pytest.mark.parametrize(("digit", "expected"), [(5, "5"), (0, "0"), ("a", "A")])
def test_other_spellings_of_a_key(digit: int | str, expected: str) -> None:
    assert decoded(dtmf(digit=digit)).digit == expected


@pytest.mark.parametrize(
    ("digit", "expected"),
    [
        (None, "missing_field"),
        ("", "missing_field"),
        ("12", "bad_value"),
        (12, "bad_value"),
        (-1, "bad_value"),
        ("E", "bad_value"),
        ("w", "bad_value"),
        (True, "bad_value"),
        (5.5, "bad_value"),
        ([], "bad_value"),
    ],
)
def test_a_key_that_is_none_is_refused(
    digit: float | list[Any] | str | None, expected: str
) -> None:
    assert reason(dtmf(digit=digit)) == expected


# the rest


@pytest.mark.parametrize("event", ["playedStream", "played"])
def test_played_stream_under_both_names(event: str) -> None:
    message = {"event": event, "sequenceNumber": 75, "streamId": STREAM, "name": "greeting"}
    assert decode_event(json.dumps(message)) == PlayedStream("greeting", STREAM, 75)


def test_played_stream_with_a_name_alone() -> None:
    assert decode_event('{"event":"playedStream","name":"{\\"a\\":1}"}') == PlayedStream('{"a":1}')


@pytest.mark.parametrize("event", ["playedStream", "played"])
def test_played_stream_with_its_name_inside(event: str) -> None:
    assert decode_event(json.dumps({"event": event, event: {"name": "a"}})) == PlayedStream("a")


def test_played_stream_with_a_string_number() -> None:
    message = '{"event":"playedStream","sequenceNumber":"75","name":"a"}'
    assert decoded(message).sequence_number == 75


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ('{"event":"playedStream"}', "missing_field"),
        ('{"event":"playedStream","name":""}', "missing_field"),
        ('{"event":"playedStream","name":5}', "bad_value"),
    ],
)
def test_played_stream_without_a_name_is_refused(message: str, expected: str) -> None:
    assert reason(message) == expected


def test_cleared_audio() -> None:
    message = {"event": "clearedAudio", "sequenceNumber": 80, "streamId": STREAM}
    assert decode_event(json.dumps(message)) == ClearedAudio(STREAM, 80)
    assert decode_event('{"event":"clearedAudio"}') == ClearedAudio()


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({}, Stop()),
        ({"stop": {"callId": CALL, "streamId": STREAM, "tracks": []}}, Stop("", STREAM)),
        ({"reason": "hangup", "streamId": "s"}, Stop("hangup", "s")),
        ({"stop": {"reason": "hangup"}, "sequenceNumber": "9"}, Stop("hangup", "", 9)),
        ({"stop": True}, Stop()),
        ({"stop": [], "reason": 5}, Stop()),
    ],
)
def test_stop_in_any_shape(message: Any, expected: Stop) -> None:
    assert decode_event(json.dumps({"event": "stop"} | message)) == expected


@pytest.mark.parametrize("event", ["error", "playFailed", "incorrectPayload"])
def test_stream_errors(event: str) -> None:
    message = {"event": event, "reason": "buffer_overflow", "streamId": "s", "sequenceNumber": 3}
    assert decode_event(json.dumps(message)) == StreamError(event, "buffer_overflow", "s", 3)
    assert decode_event(json.dumps({"event": event})) == StreamError(event, "unknown")


@pytest.mark.parametrize("event", ["muteStream", "unmuteStream", "connected", "mark", "START", ""])
def test_other_events_are_unknown(event: str) -> None:
    message = {"event": event, "a": [1, {"b": None}]}
    assert decode_event(json.dumps(message)) == Unknown(event, message)


@pytest.mark.parametrize("message", [{}, {"event": None}, {"event": 5}, {"event": ["start"]}])
def test_an_object_without_an_event_is_unknown(
    message: dict[str, None] | dict[str, int] | dict[str, list[str]],
) -> None:
    assert decode_event(json.dumps(message)) == Unknown(None, message)


def test_media_without_its_event_is_unknown() -> None:
    assert decoded('{"media":{"payload":"AAEC"}}').event is None


# any text frame


@pytest.mark.parametrize("convert", [str, str.encode, lambda text: bytearray(text.encode())])
def test_text_and_bytes_are_read_alike(convert: Any) -> None:
    for message in (start(), media(), dtmf()):
        assert decode_event(convert(message)) == decode_event(message)


def test_unknown_fields_are_ignored() -> None:
    extra = {"x": [{"y": "z"}], "": None, "é": "😀"}
    assert decode_event(media(**extra)) == decode_event(media())
    assert decode_event(start(**extra)) == decode_event(start())


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("", "not_json"),
        (b"", "not_json"),
        ("start", "not_json"),
        ("{", "not_json"),
        ('{"event":"media","media":{"payload":"AAEC"}', "not_json"),
        ('{"event":"stop"} {"event":"stop"}', "not_json"),
        ("{'event':'stop'}", "not_json"),
        ('{"event":"stop","x":NaN}', "not_json"),
        ('{"event":"stop","x":Infinity}', "not_json"),
        ('{"event":"stop","x":1e999}', "not_json"),
        ('{"event":"stop","x":%s}' % ("1" * 5000), "not_json"),
        ('{"event":"stop","x":"\\ud800"}', "not_json"),
        ('\ufeff{"event":"stop"}', "not_json"),
        ('{"event":"stop","x":"\ud800"}', "not_utf8"),
        (b'{"event":"stop","x":"\xff"}', "not_utf8"),
        ('{"event":"stop"}'.encode("utf-16"), "not_utf8"),
        ('{"event":"stop","x":"' + "x" * MAX_PATIENT_BYTES + '"}', "too_large"),
        ('{"event":"mystery","x":[' + "[[]]," * MAX_PATIENT_BYTES + "0]}", "too_large"),
        (b'{"event":"media","media":{"payload":"AA=="},"junk":"\xff"}', "not_utf8"),
        ("[]", "not_object"),
        ('"stop"', "not_object"),
        ("null", "not_object"),
        ('{"event":"stop","x":' + "[" * 4_000 + "]" * 4_000 + "}", "too_deep"),
        ('{"event":"media","x":' + '{"a":' * 1_300 + "0" + "}" * 1_301, "too_deep"),
        ('{"event":"stop","x":' + "[" * 40 + "]" * 40 + "}", "too_deep"),
    ],
)
def test_what_is_no_message_is_refused(message: bytes | str, expected: str) -> None:
    assert reason(message) == expected


def test_of_two_events_the_last_counts() -> None:
    assert decode_event('{"event":"media","event":"stop"}') == Stop()
    assert decode_event('{"event":"stop","event":"clearedAudio"}') == ClearedAudio()


@pytest.mark.parametrize("build", [media, start, dtmf])
def test_every_truncation_is_refused(build: Callable[..., Any]) -> None:
    message = build()
    assert {reason(message[:end]) for end in range(len(message))} == {"not_json"}


def test_a_message_as_long_as_the_limit_is_read() -> None:
    message = media() + " " * (MAX_MESSAGE_BYTES - len(media()))
    assert decode_event(message) == decode_event(media())


def test_a_longer_message_is_refused() -> None:
    message = media() + " " * (MAX_MESSAGE_BYTES - len(media()) + 1)
    assert reason(message) == "too_large"


def test_the_limit_can_be_set() -> None:
    assert reason(media(), max_size=100) == "too_large"
    assert decode_event(media() + " " * 70_000, max_size=100_000) == decode_event(media())


FIELD = st.sampled_from(
    [
        "event",
        "start",
        "media",
        "dtmf",
        "stop",
        "playedStream",
        "name",
        "streamId",
        "callId",
        "sequenceNumber",
        "payload",
        "track",
        "tracks",
        "timestamp",
        "chunk",
        "digit",
        "mediaFormat",
        "encoding",
        "sampleRate",
        "type",
        "rate",
        "extra_headers",
        "reason",
        "contentType",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELD, inner, max_size=3),
    max_leaves=8,
)
EVENT = st.sampled_from(
    [
        "start",
        "media",
        "dtmf",
        "playedStream",
        "played",
        "clearedAudio",
        "stop",
        "error",
        "playFailed",
        "x",
    ]
)


def is_read_or_refused(message: bytes | str) -> bool:
    try:
        event = decoded(message)
    except ProtocolError as error:
        return error.reason in REASONS and len(str(error)) < 250
    return isinstance(event, Event) and has_its_types(event)


def has_its_types(event: Any) -> bool:
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    return bool(msgspec.convert(fields, type(event), builtin_types=(bytes,)) == event)


@given(st.binary(max_size=200) | st.text(st.characters(), max_size=200) | JSON.map(json.dumps))
def test_any_input_is_an_event_or_a_protocol_error(message: bytes | str) -> None:
    assert is_read_or_refused(message)


@given(EVENT, st.dictionaries(FIELD, JSON, max_size=6))
def test_any_fields_of_an_event_are_an_event_or_a_protocol_error(
    event: str,
    fields: dict[str, dict[str, dict[str, str] | float]]
    | dict[str, list[bool | list[float | str]] | list[list[Any]]],
) -> None:
    assert is_read_or_refused(json.dumps(fields | {"event": event}))
