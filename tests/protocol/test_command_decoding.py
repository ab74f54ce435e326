import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiocodecs import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat
from mediaserver.protocol import (
    MAX_MESSAGE_BYTES,
    MAX_PLAY_BYTES,
    REASONS,
    ClearAudio,
    Command,
    PlayAudio,
    ProtocolError,
    SendDtmf,
    SetCheckpoint,
    UnknownCommand,
    decode_command,
)


def play(**changes: Any) -> str:
    message = {"event": "playAudio"}
    message["media"] = {
        "contentType": "audio/x-mulaw",
        "sampleRate": 8000,
        "payload": "AAEC/w==",
    } | changes.pop("media", {})
    return json.dumps(message | changes)


def without(*keys: Any) -> Any:
    message = json.loads(play())
    for key in keys:
        del message["media"][key]
    return json.dumps(message)


def reason(message: bytes | str, **options: Any) -> str:
    with pytest.raises(ProtocolError) as caught:
        decode_command(message, **options)
    assert caught.value.reason in REASONS
    assert len(str(caught.value)) < 250
    return caught.value.reason


@pytest.mark.parametrize(
    ("content_type", "rate", "expected"),
    [
        ("audio/x-mulaw", 8000, MULAW_8K),
        ("audio/x-l16", 8000, L16_8K),
        ("audio/x-l16", 16000, L16_16K),
        ("audio/x-l16", 24000, L16_24K),
    ],
)
def test_play_audio_in_the_documented_form(
    content_type: str, rate: int, expected: AudioFormat
) -> None:
    command = decode_command(play(media={"contentType": content_type, "sampleRate": rate}))
    assert command == PlayAudio(b"\x00\x01\x02\xff", expected)
    assert command.warnings == ()


@pytest.mark.parametrize(
    ("message", "expected_format", "warnings"),
    [
        (play(streamId="s"), MULAW_8K, ["streamId on playAudio"]),
        (play(media={"sampleRate": "8000"}), MULAW_8K, ["sampleRate is a string"]),
        (
            play(media={"contentType": "audio/x-mulaw;rate=8000"}),
            MULAW_8K,
            ["contentType carries ;rate="],
        ),
        (
            play(media={"contentType": "audio/x-l16;rate=16000", "sampleRate": 8000}),
            L16_8K,
            ["contentType carries ;rate=", "contentType and sampleRate disagree"],
        ),
        (
            play(media={"contentType": "audio/x-l16;rate=16000", "sampleRate": None}),
            L16_16K,
            ["sampleRate is missing", "contentType carries ;rate="],
        ),
        (play(media={"contentType": "raw"}), None, ["contentType is raw"]),
        (play(media={"contentType": "wav"}), None, ["contentType is wav"]),
        (without("sampleRate"), MULAW_8K, ["sampleRate is missing"]),
        (
            play(media={"contentType": "audio/x-l16", "sampleRate": None}),
            None,
            ["sampleRate is missing"],
        ),
        (without("contentType"), None, ["contentType is missing"]),
        (
            without("contentType", "sampleRate"),
            None,
            ["sampleRate is missing", "contentType is missing"],
        ),
    ],
)
def test_play_audio_in_other_forms_is_read_with_warnings(
    message: str, expected_format: AudioFormat | None, warnings: list[str]
) -> None:
    command = decode_command(message)
    assert command == PlayAudio(b"\x00\x01\x02\xff", expected_format, tuple(warnings))


def test_unknown_fields_are_ignored() -> None:
    message = play(extra=1, media={"extra": 1})
    assert decode_command(message) == decode_command(play())


@pytest.mark.parametrize("payload", ["AAEC_w==", "AAEC/w", "AAEC/w==\n"])
def test_base64_in_other_spellings_is_read_with_a_warning(payload: str) -> None:
    command = decode_command(play(media={"payload": payload}))
    assert isinstance(command, PlayAudio)
    assert command.payload == b"\x00\x01\x02\xff"
    assert command.warnings == ("payload is not standard base64 with padding",)


def test_an_empty_payload_is_read_with_a_warning() -> None:
    command = decode_command(play(media={"payload": ""}))
    assert command == PlayAudio(b"", MULAW_8K, ("payload is empty",))


def test_16_kib_of_base64_are_allowed_and_more_are_read_with_a_warning() -> None:
    largest = decode_command(play(media={"payload": "A" * 16384}))
    assert isinstance(largest, PlayAudio)
    assert (len(largest.payload), largest.warnings) == (MAX_PLAY_BYTES, ())
    larger = decode_command(play(media={"payload": "A" * 16388}))
    assert larger.warnings == ("payload over 16 KB of base64",)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (play(media={"payload": None}), "missing_field"),
        (play(media={"payload": 5}), "bad_value"),
        (play(media={"payload": "A"}), "bad_base64"),
        (play(media={"contentType": 5}), "bad_value"),
        (play(media={"contentType": "audio/opus"}), "unsupported_format"),
        (play(media={"sampleRate": 16000}), "unsupported_format"),
        (play(media={"sampleRate": "fast", "contentType": "audio/x-l16"}), "unsupported_format"),
        ('{"event":"playAudio"}', "missing_field"),
        ('{"event":"playAudio","media":[]}', "missing_field"),
    ],
)
def test_play_audio_without_usable_audio_is_refused(message: str, expected: str) -> None:
    assert reason(message) == expected


def test_a_checkpoint() -> None:
    message = '{"event":"checkpoint","streamId":"s","name":"greeting"}'
    assert decode_command(message) == SetCheckpoint("s", "greeting")


def test_a_checkpoint_whose_name_is_json_text() -> None:
    message = json.dumps({"event": "checkpoint", "streamId": "s", "name": '{"id":1}'})
    assert decode_command(message) == SetCheckpoint("s", '{"id":1}')


@pytest.mark.parametrize(
    ("name", "expected"), [(None, "missing_field"), ("", "missing_field"), (5, "bad_value")]
)
def test_a_checkpoint_without_a_name_is_refused(name: int | str | None, expected: str) -> None:
    assert reason(json.dumps({"event": "checkpoint", "streamId": "s", "name": name})) == expected


def test_a_clear() -> None:
    assert decode_command('{"event":"clearAudio","streamId":"s"}') == ClearAudio("s")


@pytest.mark.parametrize(
    ("fields", "stream_id", "warning"),
    [
        ({}, "", "streamId is missing"),
        ({"streamId": None}, "", "streamId is missing"),
        ({"streamId": ""}, "", "streamId is missing"),
        ({"streamId": 5}, "", "streamId is missing"),
        ({"stream_uuid": 5}, "", "streamId is missing"),
        ({"stream_uuid": "s"}, "s", "stream_uuid instead of streamId"),
    ],
)
def test_stream_ids_in_other_forms_are_read_with_a_warning(
    fields: dict[str, None] | dict[str, int] | dict[str, str], stream_id: str, warning: str
) -> None:
    clear = decode_command(json.dumps({"event": "clearAudio"} | fields))
    assert clear == ClearAudio(stream_id, (warning,))
    checkpoint = decode_command(json.dumps({"event": "checkpoint", "name": "a"} | fields))
    assert checkpoint == SetCheckpoint(stream_id, "a", (warning,))


@pytest.mark.parametrize(
    ("dtmf", "expected"),
    [
        ("1234#", SendDtmf("1234#")),
        ("1a", SendDtmf("1A", ("dtmf has lower-case letters",))),
        (123, SendDtmf("123", ("dtmf is a number",))),
    ],
)
def test_send_dtmf(dtmf: int | str, expected: SendDtmf) -> None:
    assert decode_command(json.dumps({"event": "sendDTMF", "dtmf": dtmf})) == expected


@pytest.mark.parametrize(
    ("dtmf", "expected"),
    [
        (None, "missing_field"),
        ("", "missing_field"),
        ("12w3", "bad_value"),
        ("+1", "bad_value"),
        (-5, "bad_value"),
        (True, "bad_value"),
        (["1"], "bad_value"),
    ],
)
def test_digits_that_are_none_are_refused(
    dtmf: int | list[str] | str | None, expected: str
) -> None:
    assert reason(json.dumps({"event": "sendDTMF", "dtmf": dtmf})) == expected


@pytest.mark.parametrize("event", ["stop", "hangup", "mark", "media", "playaudio", "sendDtmf"])
def test_what_is_no_command_is_unknown(event: str) -> None:
    command = decode_command(json.dumps({"event": event}))
    assert isinstance(command, UnknownCommand)
    assert (command.event, command.message) == (event, {"event": event})
    assert command.warnings == (f"Plivo has no command '{event}'",)


@pytest.mark.parametrize("message", [{}, {"event": None}, {"event": 5}])
def test_an_object_without_an_event_is_unknown(message: dict[str, None] | dict[str, int]) -> None:
    command = decode_command(json.dumps(message))
    assert command == UnknownCommand(None, message, ("event is missing or not a string",))


def test_audio_without_its_event_is_unknown() -> None:
    message = json.loads(play())
    del message["event"]
    command = decode_command(json.dumps(message))
    assert isinstance(command, UnknownCommand)
    assert command.event is None


@pytest.mark.parametrize("convert", [str, str.encode, lambda text: bytearray(text.encode())])
def test_text_and_bytes_are_read_alike(convert: Any) -> None:
    for message in (play(), play(streamId="s"), '{"event":"clearAudio","streamId":"s"}'):
        assert decode_command(convert(message)) == decode_command(message)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("", "not_json"),
        ("{", "not_json"),
        ("[]", "not_object"),
        (b'{"event":"\xff"}', "not_utf8"),
        ('{"event":"\ud800"}', "not_utf8"),
        ('{"event":"clearAudio","x":' + "[" * 20_000, "too_deep"),
    ],
)
def test_what_is_no_message_is_refused(message: bytes | str, expected: str) -> None:
    assert reason(message) == expected


def test_more_than_64_kib_are_refused() -> None:
    clear = '{"event":"clearAudio","streamId":"s"}'
    assert decode_command(clear.ljust(MAX_MESSAGE_BYTES)) == ClearAudio("s")
    assert reason(clear.ljust(MAX_MESSAGE_BYTES + 1)) == "too_large"
    assert reason(clear, max_size=10) == "too_large"


FIELDS = [
    "event",
    "media",
    "streamId",
    "stream_uuid",
    "name",
    "dtmf",
    "contentType",
    "sampleRate",
    "payload",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3)
    ),
    max_leaves=8,
)
EVENT = st.sampled_from(["playAudio", "checkpoint", "clearAudio", "sendDTMF", "x"])


def is_read_or_refused(message: bytes | str) -> bool:
    try:
        return isinstance(decode_command(message), Command)
    except ProtocolError as error:
        return error.reason in REASONS and len(str(error)) < 250


@given(st.binary(max_size=200) | st.text(st.characters(), max_size=200) | JSON.map(json.dumps))
def test_any_input_is_a_command_or_a_protocol_error(message: bytes | str) -> None:
    assert is_read_or_refused(message)


@given(EVENT, st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6))
def test_any_fields_of_a_command_are_a_command_or_a_protocol_error(
    event: str,
    fields: dict[str, dict[str, dict[str, bool] | list[Any]] | list[str]]
    | dict[str, dict[str, int] | float],
) -> None:
    assert is_read_or_refused(json.dumps(fields | {"event": event}))
