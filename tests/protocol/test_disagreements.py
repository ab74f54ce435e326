"""Where Plivo's documents, its SDKs and live traffic differ: what is read and what is written."""

import json
from typing import Any

import pytest

from audiocodecs import L16_16K, L16_24K, MULAW_8K, AudioFormat
from mediaserver.protocol import (
    ClearAudio,
    Dtmf,
    Media,
    PlayAudio,
    PlayedStream,
    Start,
    Stop,
    decode_command,
    decode_event,
    encode_command,
    encode_event,
)


CALL = "0eb0f00e-49ba-41ca-81f6-700628f7af8b"
STREAM = "20170ada-f610-433b-8758-c02a2aab3662"


def read_start(fields: dict[str, Any] | None = None, /, **top: Any) -> Any:
    start = {"callId": CALL, "streamId": STREAM} | (fields or {})
    return decode_event(json.dumps({"event": "start", "start": start} | top))


def read_media(fields: dict[str, Any] | None = None, /, **top: Any) -> Any:
    media = {"payload": "AAEC"} | (fields or {})
    return decode_event(json.dumps({"event": "media", "media": media} | top))


def read_play(fields: dict[str, Any] | None = None, /, **top: Any) -> Any:
    media = {"contentType": "audio/x-mulaw", "sampleRate": 8000, "payload": "AAEC"}
    return decode_command(json.dumps({"event": "playAudio", "media": media | (fields or {})} | top))


def written_start(**fields: Any) -> Any:
    defaults: dict[str, Any] = {"account_id": "MA", "media_format": MULAW_8K, "sequence_number": 1}
    return json.loads(encode_event(Start(CALL, STREAM, **defaults | fields)))


def written_media() -> Any:
    return json.loads(encode_event(Media(b"\0", "inbound", 20, 1, STREAM, 2)))


@pytest.mark.parametrize(
    ("message", "number"),
    [
        ({"sequenceNumber": 1}, 1),
        ({"sequenceNumber": 0}, 0),
        ({"sequenceNumber": "1"}, 1),
        ({}, None),
    ],
)
def test_the_sequence_number_of_a_start_is_1_or_0_or_a_string_or_absent(
    message: dict[str, int] | dict[str, str], number: int | None
) -> None:
    assert read_start(**message).sequence_number == number


def test_the_sequence_number_of_a_start_is_written_as_1() -> None:
    assert written_start()["sequenceNumber"] == 1


@pytest.mark.parametrize("chunk", [7, "7"])
def test_a_chunk_is_a_number_or_a_string(chunk: int | str) -> None:
    assert read_media({"chunk": chunk}).chunk == 7


def test_a_chunk_is_written_as_a_number() -> None:
    assert written_media()["media"]["chunk"] == 1


@pytest.mark.parametrize("timestamp", ["1705312200000", 1705312200000])
def test_a_timestamp_is_a_string_or_a_number(timestamp: int | str) -> None:
    assert read_media({"timestamp": timestamp}).timestamp == 1705312200000


def test_a_timestamp_counts_from_1970_or_from_the_start() -> None:
    assert (
        read_media({"timestamp": "40"}).timestamp - read_media({"timestamp": "20"}).timestamp == 20
    )


def test_a_timestamp_is_written_as_a_string() -> None:
    assert written_media()["media"]["timestamp"] == "20"


def test_the_stream_id_of_a_start_is_nested_or_at_the_top() -> None:
    assert read_start().stream_id == STREAM
    assert read_start({"streamId": None}, streamId="top").stream_id == "top"
    assert read_start(streamId="top").stream_id == STREAM


def test_the_stream_id_of_a_start_is_written_nested_only() -> None:
    message = written_start()
    assert "streamId" not in message
    assert message["start"]["streamId"] == STREAM


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"mediaFormat": {"encoding": "audio/x-l16", "sampleRate": 16000}}, L16_16K),
        ({"mediaFormat": {"type": "audio/x-l16", "rate": 16000}}, L16_16K),
        ({"mediaFormat": {"encoding": "audio/x-l16;rate=16000"}}, L16_16K),
        ({"mediaFormat": {"encoding": "audio/x-l16", "sampleRate": "16000"}}, L16_16K),
        ({}, None),
    ],
)
def test_a_media_format_has_two_sets_of_keys_or_is_missing(
    fields: dict[str, dict[str, int | str]] | dict[str, dict[str, str]],
    expected: AudioFormat | None,
) -> None:
    assert read_start(fields).media_format is expected


def test_a_media_format_is_written_as_encoding_and_sample_rate() -> None:
    expected = {"encoding": "audio/x-mulaw", "sampleRate": 8000}
    assert written_start()["start"]["mediaFormat"] == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (None, {}),
        ("", {}),
        ("{}", {}),
        ('{"k":"v"}', {"k": "v"}),
        ("{X-PH-k: v}", {"k": "v"}),
        ("k=v;l=w", {"k": "v", "l": "w"}),
        ("k=v,l=w", {"k": "v", "l": "w"}),
    ],
)
def test_extra_headers_come_in_seven_forms_and_two_places(
    headers: str | None, expected: dict[str, str]
) -> None:
    assert read_start(extra_headers=headers).extra_headers == expected
    assert read_start({"extra_headers": headers}).extra_headers == expected


def test_extra_headers_are_written_in_the_live_form() -> None:
    assert written_start(extra_headers={"k": "v"})["extra_headers"] == "{X-PH-k: v}"


@pytest.mark.parametrize("event", ["playedStream", "played"])
def test_a_played_checkpoint_has_two_names_and_needs_no_ids(event: str) -> None:
    assert decode_event(json.dumps({"event": event, "name": "a"})) == PlayedStream("a")


def test_a_played_checkpoint_is_written_in_full() -> None:
    assert json.loads(encode_event(PlayedStream("a", STREAM, 5))) == {
        "event": "playedStream",
        "sequenceNumber": 5,
        "streamId": STREAM,
        "name": "a",
    }


@pytest.mark.parametrize(
    "fields", [{}, {"stop": {"callId": CALL, "streamId": STREAM}}, {"reason": "x"}, {"stop": 1}]
)
def test_a_stop_has_no_fixed_shape(
    fields: dict[str, dict[str, str]] | dict[str, int] | dict[str, str],
) -> None:
    assert isinstance(decode_event(json.dumps({"event": "stop"} | fields)), Stop)


def test_a_stop_is_written_bare() -> None:
    assert encode_event(Stop()) == '{"event":"stop"}'


def test_the_sample_rate_of_play_audio_is_a_number_or_a_string() -> None:
    assert read_play({"sampleRate": 8000}) == PlayAudio(b"\x00\x01\x02", MULAW_8K)
    assert read_play({"sampleRate": "8000"}).format is MULAW_8K


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("audio/x-mulaw", MULAW_8K),
        ("audio/x-mulaw;rate=8000", MULAW_8K),
        ("raw", None),
        ("wav", None),
    ],
)
def test_the_content_type_of_play_audio_is_bare_or_has_a_rate_or_is_a_legacy_word(
    content_type: str, expected: AudioFormat | None
) -> None:
    assert read_play({"contentType": content_type}).format is expected


def test_play_audio_is_read_with_and_without_a_stream_id() -> None:
    assert read_play().payload == read_play(streamId=STREAM).payload


def test_play_audio_is_written_bare() -> None:
    assert json.loads(encode_command(PlayAudio(b"\x00\x01", L16_16K))) == {
        "event": "playAudio",
        "media": {"contentType": "audio/x-l16", "sampleRate": 16000, "payload": "AAE="},
    }


@pytest.mark.parametrize(
    ("fields", "stream_id"), [({"streamId": "s"}, "s"), ({}, ""), ({"stream_uuid": "s"}, "s")]
)
def test_a_clear_names_the_stream_in_two_ways_or_not_at_all(
    fields: dict[str, str], stream_id: Any
) -> None:
    command = decode_command(json.dumps({"event": "clearAudio"} | fields))
    assert isinstance(command, ClearAudio)
    assert command.stream_id == stream_id


def test_a_clear_is_written_with_its_stream_id() -> None:
    assert json.loads(encode_command(ClearAudio("s"))) == {"event": "clearAudio", "streamId": "s"}


@pytest.mark.parametrize("size", [160, 640, 12_288, 48_000])
def test_audio_comes_in_any_size_up_to_64_kib(size: int) -> None:
    assert len(read_play({"payload": "AAAA" * (size // 3)}).payload) == size // 3 * 3
    assert len(read_media({"payload": "AAAA" * (size // 3)}).payload) == size // 3 * 3


@pytest.mark.parametrize(
    "stream_id", [STREAM, "12345678-1234-1234-1234-123456789abc", "MZ1", "x y"]
)
def test_ids_are_any_text(stream_id: str) -> None:
    assert read_start({"streamId": stream_id, "callId": stream_id}).stream_id == stream_id
    assert read_media(streamId=stream_id).stream_id == stream_id


def test_24_khz_is_accepted() -> None:
    media_format = {"encoding": "audio/x-l16", "sampleRate": 24000}
    assert read_start({"mediaFormat": media_format}).media_format is L16_24K
    assert read_play({"contentType": "audio/x-l16", "sampleRate": 24000}).format is L16_24K


def test_dtmf_needs_no_timestamp() -> None:
    assert decode_event('{"event":"dtmf","dtmf":{"digit":"#"}}') == Dtmf("#")
