import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from audiocodecs import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat
from mediaserver.protocol import (
    MAX_MESSAGE_BYTES,
    MAX_PLAY_BYTES,
    ClearAudio,
    ClearedAudio,
    Dtmf,
    Media,
    PlayAudio,
    PlayAudioEncoder,
    PlayedStream,
    ProtocolError,
    SendDtmf,
    SetCheckpoint,
    Start,
    Stop,
    StreamError,
    Unknown,
    UnknownCommand,
    encode_command,
    encode_event,
)


# Of the wrong type.
STOP: Any = Stop()
CLEAR: Any = ClearAudio("s")
NOTHING: Any = None
NUMBER: Any = 5


CALL = "0eb0f00e-49ba-41ca-81f6-700628f7af8b"
STREAM = "20170ada-f610-433b-8758-c02a2aab3662"
FORMATS = [MULAW_8K, L16_8K, L16_16K, L16_24K]


# commands


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            PlayAudio(b"\x00\x01\x02\xff", MULAW_8K),
            (
                b'{"event":"playAudio","media":{"contentType":"audio/x-mulaw","sampleRate":8000,'
                b'"payload":"AAEC/w=="}}'
            ),
        ),
        (
            PlayAudio(b"\x00\x01", L16_16K),
            (
                b'{"event":"playAudio","media":{"contentType":"audio/x-l16","sampleRate":16000,'
                b'"payload":"AAE="}}'
            ),
        ),
        (
            SetCheckpoint(STREAM, "greeting"),
            b'{"event":"checkpoint","streamId":"%b","name":"greeting"}' % STREAM.encode(),
        ),
        (ClearAudio(STREAM), b'{"event":"clearAudio","streamId":"%b"}' % STREAM.encode()),
        (SendDtmf("1234#"), b'{"event":"sendDTMF","dtmf":"1234#"}'),
    ],
)
def test_commands_are_written_exactly_as_documented(
    command: ClearAudio | PlayAudio | SendDtmf | SetCheckpoint, expected: bytes
) -> None:
    assert encode_command(command) == expected


def test_warnings_are_not_sent() -> None:
    assert encode_command(ClearAudio("s", ("odd",))) == encode_command(ClearAudio("s"))


def test_any_text_is_a_checkpoint_name() -> None:
    name = '{"id": "é\\n\x00"}'
    assert json.loads(encode_command(SetCheckpoint("s", name)))["name"] == name


def test_lower_case_digits_are_sent_as_capitals() -> None:
    assert json.loads(encode_command(SendDtmf("1a")))["dtmf"] == "1A"


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (PlayAudio(bytes(MAX_PLAY_BYTES + 1), MULAW_8K), "too_large"),
        (PlayAudio(b"\xff", None), "unsupported_format"),
        (PlayAudio(b"\xff", AudioFormat("alaw", 8000)), "unsupported_format"),
        (PlayAudio(b"\xff", AudioFormat("l16", 48000)), "unsupported_format"),
        (SetCheckpoint("", "a"), "missing_field"),
        (SetCheckpoint("s", ""), "missing_field"),
        (SetCheckpoint("s", NOTHING), "missing_field"),
        (SetCheckpoint("s", NUMBER), "bad_value"),
        (SetCheckpoint("s", "\ud800"), "not_utf8"),
        (SetCheckpoint("s", "a" * MAX_MESSAGE_BYTES), "too_large"),
        (ClearAudio(""), "missing_field"),
        (SendDtmf(""), "missing_field"),
        (SendDtmf("12w"), "bad_value"),
        (SendDtmf("12E"), "bad_value"),
        (UnknownCommand("hangup", {}), "bad_value"),
    ],
)
def test_what_plivo_would_refuse_is_not_sent(command: Any, reason: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        encode_command(command)
    assert caught.value.reason == reason
    assert len(str(caught.value)) < 250


def test_what_is_no_command_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="takes a command"):
        encode_command(STOP)


# the hot path


@pytest.mark.parametrize("audio_format", FORMATS, ids=str)
@pytest.mark.parametrize("size", [0, 1, 2, 160, 961, MAX_PLAY_BYTES])
def test_the_encoder_writes_what_encode_command_writes(
    audio_format: AudioFormat, size: int
) -> None:
    payload = bytes(i % 256 for i in range(size))
    encoded = PlayAudioEncoder(audio_format)(payload)
    assert encoded == encode_command(PlayAudio(payload, audio_format))
    assert json.loads(encoded)["media"]["sampleRate"] == audio_format.rate


@pytest.mark.parametrize("convert", [bytearray, memoryview])
def test_the_encoder_takes_any_buffer(convert: type[bytearray] | type[memoryview]) -> None:
    encode = PlayAudioEncoder(MULAW_8K)
    assert encode(convert(b"\x01\x02")) == encode(b"\x01\x02")


def test_the_encoder_counts_bytes_not_items() -> None:
    samples = memoryview(bytes(MAX_PLAY_BYTES)).cast("h")
    assert len(PlayAudioEncoder(L16_8K)(samples)) > 16_384
    with pytest.raises(ProtocolError, match="16384"):
        PlayAudioEncoder(L16_8K)(memoryview(bytes(MAX_PLAY_BYTES + 2)).cast("h"))


def test_the_encoder_refuses_a_format_that_plivo_does_not_play() -> None:
    with pytest.raises(ProtocolError, match=r"audio/x-l16;rate=48000.*allowed are") as caught:
        PlayAudioEncoder(AudioFormat("l16", 48000))
    assert caught.value.reason == "unsupported_format"


def test_the_encoder_knows_its_format() -> None:
    assert PlayAudioEncoder(L16_8K).format is L16_8K


# events


def change(event: Any, **fields: Any) -> Any:
    return type(event)(**{name: getattr(event, name) for name in event.__struct_fields__} | fields)


START = Start(
    CALL, STREAM, "MAXXXXXXXXXXXXXXXXXX", ("inbound",), MULAW_8K, {"a": "b"}, "{X-PH-a: b}", 1
)
MEDIA = Media(b"\x00\x01\x02\xff", "inbound", 1705312200000, 41, STREAM, 42, "{}")
DTMF = Dtmf("5", "inbound", 1705312250000, STREAM, 50, "{}")
PLAYED = PlayedStream("greeting", STREAM, 75)
CLEARED = ClearedAudio(STREAM, 80)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            START,
            {
                "event": "start",
                "sequenceNumber": 1,
                "start": {
                    "callId": CALL,
                    "streamId": STREAM,
                    "accountId": "MAXXXXXXXXXXXXXXXXXX",
                    "tracks": ["inbound"],
                    "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000},
                },
                "extra_headers": "{X-PH-a: b}",
            },
        ),
        (
            MEDIA,
            {
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
            },
        ),
        (
            DTMF,
            {
                "event": "dtmf",
                "sequenceNumber": 50,
                "streamId": STREAM,
                "dtmf": {"track": "inbound", "digit": "5", "timestamp": "1705312250000"},
                "extra_headers": "{}",
            },
        ),
        (
            PLAYED,
            {
                "event": "playedStream",
                "sequenceNumber": 75,
                "streamId": STREAM,
                "name": "greeting",
            },
        ),
        (CLEARED, {"event": "clearedAudio", "sequenceNumber": 80, "streamId": STREAM}),
        (Stop(), {"event": "stop"}),
        (
            Stop("hangup", STREAM, 9),
            {"event": "stop", "sequenceNumber": 9, "streamId": STREAM, "reason": "hangup"},
        ),
        (StreamError("playFailed", "late"), {"event": "playFailed", "reason": "late"}),
        (Unknown("muteStream", {"event": "muteStream"}), {"event": "muteStream"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_events_are_written_exactly_as_documented(event: Any, expected: Any) -> None:
    message = encode_event(event)
    assert json.loads(message) == expected
    assert list(json.loads(message)) == list(expected)
    assert ": " not in message.replace("{X-PH-a: b}", "")


@pytest.mark.parametrize("audio_format", FORMATS, ids=str)
def test_a_start_in_each_format(audio_format: AudioFormat) -> None:
    start = json.loads(encode_event(change(START, media_format=audio_format)))["start"]
    assert start["mediaFormat"] == {
        "encoding": audio_format.content_type,
        "sampleRate": audio_format.rate,
    }


@pytest.mark.parametrize("event", [START, MEDIA, DTMF], ids=lambda event: type(event).__name__)
def test_extra_headers_are_there_even_when_there_are_none(event: Dtmf | Media | Start) -> None:
    headers: dict[str, Any] = {"extra_headers": {}} if isinstance(event, Start) else {}
    bare = change(event, extra_headers_text="", **headers)
    assert json.loads(encode_event(bare))["extra_headers"] == ""


def test_extra_headers_without_a_text_are_written_as_live_calls_have_them() -> None:
    event = change(START, extra_headers={"a": "b", "c": "d"}, extra_headers_text="")
    assert json.loads(encode_event(event))["extra_headers"] == "{X-PH-a: b, X-PH-c: d}"


def test_timestamps_are_strings_and_counters_are_numbers() -> None:
    message = json.loads(encode_event(MEDIA))
    assert type(message["media"]["timestamp"]) is str
    assert type(message["media"]["chunk"]) is type(message["sequenceNumber"]) is int


@pytest.mark.parametrize("version", [uuid.uuid1, uuid.uuid4])
def test_a_uuid_is_a_good_id(version: Callable[..., Any]) -> None:
    assert encode_event(ClearedAudio(str(version()), 1))


def test_payloads_may_be_any_buffer() -> None:
    for convert in (bytearray, memoryview):
        assert encode_event(change(MEDIA, payload=convert(MEDIA.payload))) == encode_event(MEDIA)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (change(START, media_format=None), "unsupported_format"),
        (change(START, media_format=AudioFormat("alaw", 8000)), "unsupported_format"),
        (change(START, tracks=()), "missing_field"),
        (change(START, tracks=("both",)), "bad_value"),
        (change(START, account_id=""), "missing_field"),
        (change(START, call_id=""), "missing_field"),
        (change(START, call_id="call-1"), "bad_value"),
        (change(START, stream_id="12345678-1234-1234-1234-123456789abc"), "bad_value"),
        (change(START, stream_id="87654321-4321-4321-4321-cba987654321"), "bad_value"),
        (change(START, stream_id=STREAM + "\n"), "bad_value"),
        (change(START, sequence_number=None), "missing_field"),
        (change(START, extra_headers={"a": "b,c"}, extra_headers_text=""), "bad_extra_headers"),
        (change(START, extra_headers_text=None, extra_headers={}), "bad_value"),
        (change(MEDIA, stream_id=""), "missing_field"),
        (change(MEDIA, sequence_number=0), "bad_value"),
        (change(MEDIA, sequence_number="42"), "bad_value"),
        (change(MEDIA, sequence_number=2**63), "bad_value"),
        (change(MEDIA, chunk=None), "missing_field"),
        (change(MEDIA, chunk=0), "bad_value"),
        (change(MEDIA, timestamp=None), "missing_field"),
        (change(MEDIA, timestamp=-1), "bad_value"),
        (change(MEDIA, track="both"), "bad_value"),
        (change(MEDIA, payload="AAEC"), "bad_value"),
        (change(MEDIA, payload=bytes(MAX_MESSAGE_BYTES)), "too_large"),
        (change(MEDIA, extra_headers_text={"a": "b"}), "bad_value"),
        (change(MEDIA, extra_headers_text="\ud800"), "not_utf8"),
        (change(DTMF, digit=""), "missing_field"),
        (change(DTMF, digit="12"), "bad_value"),
        (change(DTMF, digit="w"), "bad_value"),
        (change(DTMF, timestamp=None), "missing_field"),
        (change(PLAYED, name=""), "missing_field"),
        (change(CLEARED, sequence_number=None), "missing_field"),
        (StreamError("mute"), "bad_value"),
    ],
)
def test_what_plivo_would_not_send_is_not_sent(
    event: Media | PlayedStream | Start, reason: str
) -> None:
    with pytest.raises(ProtocolError) as caught:
        encode_event(event)
    assert caught.value.reason == reason
    assert len(str(caught.value)) < 250


def test_what_is_no_event_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="takes an event"):
        encode_event(CLEAR)
