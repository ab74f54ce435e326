"""Encodes events and commands as messages, only in the strict form of Plivo's reference.

Every official SDK reads this form: counters are numbers, timestamps are strings, ids are UUIDs with
correct version and variant bits, and `extra_headers` is always present and a string.
"""

from __future__ import annotations

import functools
import re
from typing import Any, Final

import msgspec
import pybase64

from audiocodecs import AudioFormat, Payload
from mediaserver.protocol.commands import (
    MAX_PLAY_BYTES,
    ClearAudio,
    Command,
    PlayAudio,
    SendDtmf,
    SetCheckpoint,
    UnknownCommand,
)
from mediaserver.protocol.dtmf import checked_digits
from mediaserver.protocol.errors import ProtocolError, quote
from mediaserver.protocol.events import (
    ClearedAudio,
    Dtmf,
    Event,
    Media,
    PlayedStream,
    Start,
    Stop,
    StreamError,
    Unknown,
)
from mediaserver.protocol.extra_headers import format_extra_headers
from mediaserver.protocol.liberal import MAX_COUNT, MAX_MESSAGE_BYTES, required_text, too_large
from mediaserver.protocol.media_format import ALLOWED, PLIVO_FORMATS


_MAX_PLAY_BASE64: Final = MAX_PLAY_BYTES // 3 * 4
_STREAM_ERRORS: Final = frozenset({"error", "playFailed", "incorrectPayload"})
_UUID: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE
)


class PlayAudioEncoder:
    """Turns payloads of one format into `playAudio` messages.

    Only the payload differs between messages, so the rest is built once:

        encode = PlayAudioEncoder(MULAW_8K)
        socket.send(encode(payload))

    The result is byte for byte that of `encode_command(PlayAudio(payload, format))`.
    """

    __slots__ = ("_head", "format")

    def __init__(self, audio_format: AudioFormat) -> None:
        self.format = _checked_format(audio_format, "playAudio")
        self._head = (
            f'{{"event":"playAudio","media":{{"contentType":"{audio_format.content_type}",'
            f'"sampleRate":{audio_format.rate},"payload":"'
        ).encode()

    def __call__(self, payload: Payload) -> bytes:
        """Return the message that plays `payload`.

        Raises:
            ProtocolError: `too_large` if it is longer than `MAX_PLAY_BYTES`.

        """
        encoded = pybase64.b64encode(payload)
        if len(encoded) > _MAX_PLAY_BASE64:
            raise ProtocolError(
                "too_large",
                f"the payload takes {len(encoded)} bytes of base64, the limit is "
                f"{_MAX_PLAY_BASE64} ({MAX_PLAY_BYTES} bytes of audio)",
            )
        return b'%b%b"}}' % (self._head, encoded)


def encode_command(command: Command) -> bytes:
    """Write a command in the form of Plivo's reference; `warnings` are not sent.

    Raises:
        ProtocolError: `too_large` for more than `MAX_PLAY_BYTES` of audio or a message of more
            than 64 KB, `unsupported_format`, `missing_field` for an empty stream id, name or
            digits, `bad_value` for invalid digits.

    """
    match command:
        case PlayAudio(payload=payload, format=audio_format):
            return _play_audio_encoder(_checked_format(audio_format, "playAudio"))(payload)
        case SetCheckpoint(stream_id=stream_id, name=name):
            return _encode(
                {
                    "event": "checkpoint",
                    "streamId": required_text(stream_id, "checkpoint.streamId"),
                    "name": required_text(name, "checkpoint.name"),
                }
            )
        case ClearAudio(stream_id=stream_id):
            return _encode(
                {"event": "clearAudio", "streamId": required_text(stream_id, "clearAudio.streamId")}
            )
        case SendDtmf(digits=digits):
            digits = checked_digits(required_text(digits, "sendDTMF.dtmf"))
            return _encode({"event": "sendDTMF", "dtmf": digits})
        case UnknownCommand(event=event):
            raise ProtocolError("bad_value", f"Plivo has no command {quote(event)}")
    raise TypeError(f"encode_command takes a command, got {quote(command)}")


def encode_event(event: Event) -> str:
    """Write an event in the form of Plivo's reference. The carrier's side of a stream uses this.

    As on a real stream, every field must be set: ids are UUIDs, numbers are not `None`. `Stop` and
    `StreamError` are not in the reference; they are written in the form that Plivo's examples read,
    with the fields they have. `Unknown` is written as it came.

    Raises:
        ProtocolError: `missing_field`, `bad_value` or `unsupported_format` for an event that could
            not have come from Plivo, `too_large` for a message of more than 64 KB.

    """
    return _encode(_wire_event(event)).decode()


def _wire_event(event: Event) -> dict[str, Any]:
    match event:
        case Start():
            return _wire_start(event)
        case Media():
            return {
                "event": "media",
                "sequenceNumber": _number(event.sequence_number, "sequenceNumber", 1),
                "streamId": _uuid(event.stream_id, "streamId"),
                "media": {
                    "track": _track(event.track),
                    "timestamp": str(_number(event.timestamp, "media.timestamp", 0)),
                    "chunk": _number(event.chunk, "media.chunk", 1),
                    "payload": _audio(event.payload),
                },
                "extra_headers": _string(event.extra_headers_text, "extra_headers_text"),
            }
        case Dtmf():
            return {
                "event": "dtmf",
                "sequenceNumber": _number(event.sequence_number, "sequenceNumber", 1),
                "streamId": _uuid(event.stream_id, "streamId"),
                "dtmf": {
                    "track": _track(event.track),
                    "digit": _digit(event.digit),
                    "timestamp": str(_number(event.timestamp, "dtmf.timestamp", 0)),
                },
                "extra_headers": _string(event.extra_headers_text, "extra_headers_text"),
            }
        case PlayedStream():
            return {
                "event": "playedStream",
                "sequenceNumber": _number(event.sequence_number, "sequenceNumber", 1),
                "streamId": _uuid(event.stream_id, "streamId"),
                "name": required_text(event.name, "playedStream.name"),
            }
        case ClearedAudio():
            return {
                "event": "clearedAudio",
                "sequenceNumber": _number(event.sequence_number, "sequenceNumber", 1),
                "streamId": _uuid(event.stream_id, "streamId"),
            }
        case Stop():
            return {"event": "stop"} | _wire_undocumented(event)
        case StreamError():
            if event.event not in _STREAM_ERRORS:
                raise ProtocolError(
                    "bad_value",
                    f"a StreamError is one of {sorted(_STREAM_ERRORS)}, got {quote(event.event)}",
                )
            return {"event": event.event} | _wire_undocumented(event)
        case Unknown():
            return event.message
    raise TypeError(f"encode_event takes an event, got {quote(event)}")


def _wire_start(event: Start) -> dict[str, Any]:
    media_format = _checked_format(event.media_format, "start.mediaFormat")
    if not event.tracks:
        raise ProtocolError("missing_field", "start.tracks is empty")
    headers = event.extra_headers_text
    if event.extra_headers and not headers:
        headers = format_extra_headers(event.extra_headers)
    return {
        "event": "start",
        "sequenceNumber": _number(event.sequence_number, "sequenceNumber", 1),
        "start": {
            "callId": _uuid(event.call_id, "start.callId"),
            "streamId": _uuid(event.stream_id, "start.streamId"),
            "accountId": required_text(event.account_id, "start.accountId"),
            "tracks": [_track(track) for track in event.tracks],
            "mediaFormat": {
                "encoding": media_format.content_type,
                "sampleRate": media_format.rate,
            },
        },
        "extra_headers": _string(headers, "extra_headers_text"),
    }


def _wire_undocumented(event: Stop | StreamError) -> dict[str, Any]:
    fields = {
        "sequenceNumber": event.sequence_number,
        "streamId": event.stream_id,
        "reason": event.reason,
    }
    return {key: value for key, value in fields.items() if value not in (None, "")}


def _encode(message: dict[str, Any]) -> bytes:
    try:
        encoded = msgspec.json.encode(message)
    except UnicodeError:
        raise ProtocolError("not_utf8", "a field holds text that is not valid Unicode") from None
    if len(encoded) > MAX_MESSAGE_BYTES:
        raise too_large(len(encoded), MAX_MESSAGE_BYTES)
    return encoded


def _checked_format(audio_format: AudioFormat | None, where: str) -> AudioFormat:
    if audio_format is None or audio_format not in PLIVO_FORMATS:
        raise ProtocolError(
            "unsupported_format", f"{where} is {quote(str(audio_format))}; allowed are {ALLOWED}"
        )
    return audio_format


_play_audio_encoder = functools.cache(PlayAudioEncoder)


_is_uuid = functools.lru_cache(maxsize=1024)(_UUID.fullmatch)


def _uuid(value: str, where: str) -> str:
    if not _is_uuid(required_text(value, where)):
        raise ProtocolError("bad_value", f"{where} should be a UUID (RFC 9562), got {quote(value)}")
    return value


def _number(value: object, where: str, least: int) -> int:
    if value is None:
        raise ProtocolError("missing_field", f"{where} is None")
    if not isinstance(value, int) or not least <= value <= MAX_COUNT:
        raise ProtocolError("bad_value", f"{where} counts from {least}, got {quote(value)}")
    return int(value)


def _audio(payload: object) -> object:
    if not isinstance(payload, bytes | bytearray | memoryview):
        raise ProtocolError(
            "bad_value", f"media.payload should be bytes, got {type(payload).__name__}"
        )
    return payload


def _string(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise ProtocolError("bad_value", f"{where} should be a string, got {quote(value)}")
    return value


def _track(value: str) -> str:
    if value not in ("inbound", "outbound"):
        raise ProtocolError("bad_value", f"a track is inbound or outbound, got {quote(value)}")
    return value


def _digit(value: str) -> str:
    digit = checked_digits(required_text(value, "dtmf.digit"))
    if len(digit) > 1:
        raise ProtocolError("bad_value", f"dtmf.digit should be one key, got {quote(value)}")
    return digit
