"""Decodes Plivo's messages to events.

Media comes fifty times a second on each track, so it takes a fast path: one typed pass over the
JSON, base64 included. Media that this pass refuses, and every other event, takes the slower path,
which accepts more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

import msgspec

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
from mediaserver.protocol.extra_headers import parse_extra_headers
from mediaserver.protocol.liberal import (
    MAX_COUNT,
    MAX_MESSAGE_BYTES,
    PARSER_ERRORS,
    check_encoding,
    nested,
    optional_text,
    parse_object,
    read_count,
    read_payload,
    required_text,
    too_large,
)
from mediaserver.protocol.media_format import read_media_format


MAX_PATIENT_BYTES: Final = 8_192
"""Longest message that is read on the slower path, which takes a millisecond for as much. Plivo's
longest is `start`, with 512 bytes of extra headers; media of any length takes the fast path."""

MAX_REASON: Final = 256
"""Characters of a reason that are read; it appears in logs and in errors."""

_Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]


class MediaAudio(msgspec.Struct, gc=False):
    """What a call needs of a `Media` event: its first four fields."""

    payload: bytes
    track: str = "inbound"
    timestamp: _Count | None = None
    chunk: _Count | None = None


class _WireAudio(msgspec.Struct, gc=False):
    event: Literal["media"]
    media: MediaAudio


class _WireMedia(_WireAudio, gc=False, rename="camel"):
    sequence_number: _Count | None = None
    stream_id: str = ""
    extra_headers: str = msgspec.field(default="", name="extra_headers")


_decode_audio = msgspec.json.Decoder(_WireAudio, strict=False).decode
_decode_media = msgspec.json.Decoder(_WireMedia, strict=False).decode


def decode_audio(
    message: str | bytes | bytearray, *, max_size: int = MAX_MESSAGE_BYTES
) -> MediaAudio | Event:
    """Read one message like `decode_event`, but of media only what a call needs.

    The text of the other fields is checked and not read, which takes half the time.

    Raises:
        ProtocolError: as `decode_event`.

    """
    if len(message) <= max_size and message.isascii():
        try:
            return _decode_audio(message).media
        except PARSER_ERRORS:
            pass
    event = decode_event(message, max_size=max_size)
    if isinstance(event, Media):
        return MediaAudio(event.payload, event.track, event.timestamp, event.chunk)
    return event


def decode_event(message: str | bytes | bytearray, *, max_size: int = MAX_MESSAGE_BYTES) -> Event:
    """Read one message from Plivo, in any of the forms that Plivo and its look-alikes send.

    Numbers may be strings, optional fields may be missing, unknown fields are ignored, base64 may
    be URL-safe or without padding. An object that is not a known event becomes `Unknown`.

    Args:
        message: the text frame.
        max_size: longest message read, in bytes (in characters for a `str`).

    Raises:
        ProtocolError: the message cannot be read. No input raises anything else. For a `start`
            whose audio is not in one of Plivo's four formats the reason is `unsupported_format`.

    """
    if len(message) > max_size:
        raise too_large(len(message), max_size)
    if not message.isascii():
        check_encoding(message)
    try:
        wire = _decode_media(message)
    except PARSER_ERRORS:
        wire = None
    if wire is None:
        return _decode_patiently(message)
    audio = wire.media
    return Media(
        audio.payload,
        audio.track,
        audio.timestamp,
        audio.chunk,
        wire.stream_id,
        wire.sequence_number,
        wire.extra_headers,
    )


def _decode_patiently(message: str | bytes | bytearray) -> Event:
    if len(message) > MAX_PATIENT_BYTES:
        raise ProtocolError(
            "too_large",
            f"the message is {len(message)} long; at most {MAX_PATIENT_BYTES} are read of one that"
            " is not plain media",
        )
    fields = parse_object(message)
    name = fields.get("event")
    if not isinstance(name, str):
        return Unknown(None, fields)
    read = _READERS.get(name)
    return Unknown(name, fields) if read is None else read(fields)


def _start(fields: dict[str, Any]) -> Start:
    start = nested(fields, "start")
    call_id = (
        start.get("callId")
        or start.get("callUUID")
        or start.get("CallUUID")
        or fields.get("callId")
    )
    headers = fields.get("extra_headers") or start.get("extra_headers")
    return Start(
        call_id=required_text(call_id, "start.callId"),
        stream_id=required_text(start.get("streamId") or fields.get("streamId"), "start.streamId"),
        account_id=optional_text(start.get("accountId")),
        tracks=_tracks(start.get("tracks")),
        media_format=read_media_format(start.get("mediaFormat")),
        extra_headers=parse_extra_headers(headers if isinstance(headers, str | dict) else None),
        extra_headers_text=_headers_text(headers),
        sequence_number=read_count(fields.get("sequenceNumber")),
    )


def _media(fields: dict[str, Any]) -> Media:
    audio = nested(fields, "media")
    return Media(
        payload=read_payload(audio.get("payload"), "media.payload"),
        track=_track(audio),
        timestamp=read_count(audio.get("timestamp")),
        chunk=read_count(audio.get("chunk")),
        stream_id=optional_text(fields.get("streamId")),
        sequence_number=read_count(fields.get("sequenceNumber")),
        extra_headers_text=_headers_text(fields.get("extra_headers")),
    )


def _dtmf(fields: dict[str, Any]) -> Dtmf:
    key = nested(fields, "dtmf")
    digit = key.get("digit")
    if isinstance(digit, int) and not isinstance(digit, bool):
        digit = str(digit)
    digit = checked_digits(required_text(digit, "dtmf.digit"))
    if len(digit) > 1:
        raise ProtocolError("bad_value", f"dtmf.digit should be one key, got {quote(digit)}")
    return Dtmf(
        digit=digit,
        track=_track(key),
        timestamp=read_count(key.get("timestamp")),
        stream_id=optional_text(fields.get("streamId")),
        sequence_number=read_count(fields.get("sequenceNumber")),
        extra_headers_text=_headers_text(fields.get("extra_headers")),
    )


def _played_stream(fields: dict[str, Any]) -> PlayedStream:
    name = (
        fields.get("name")
        or nested(fields, "playedStream").get("name")
        or nested(fields, "played").get("name")
    )
    return PlayedStream(
        name=required_text(name, "playedStream.name"),
        stream_id=optional_text(fields.get("streamId")),
        sequence_number=read_count(fields.get("sequenceNumber")),
    )


def _cleared_audio(fields: dict[str, Any]) -> ClearedAudio:
    return ClearedAudio(
        stream_id=optional_text(fields.get("streamId")),
        sequence_number=read_count(fields.get("sequenceNumber")),
    )


def _stop(fields: dict[str, Any]) -> Stop:
    stop = nested(fields, "stop")
    return Stop(
        reason=_reason(fields) or _reason(stop),
        stream_id=optional_text(fields.get("streamId")) or optional_text(stop.get("streamId")),
        sequence_number=read_count(fields.get("sequenceNumber")),
    )


def _stream_error(fields: dict[str, Any]) -> StreamError:
    return StreamError(
        event=fields["event"],
        reason=_reason(fields) or "unknown",
        stream_id=optional_text(fields.get("streamId")),
        sequence_number=read_count(fields.get("sequenceNumber")),
    )


_READERS: Final[dict[str, Callable[[dict[str, Any]], Event]]] = {
    "start": _start,
    "media": _media,
    "dtmf": _dtmf,
    "playedStream": _played_stream,
    "played": _played_stream,
    "clearedAudio": _cleared_audio,
    "stop": _stop,
    "error": _stream_error,
    "playFailed": _stream_error,
    "incorrectPayload": _stream_error,
}


def _reason(fields: dict[str, Any]) -> str:
    return optional_text(fields.get("reason"))[:MAX_REASON]


def _track(fields: dict[str, Any]) -> str:
    track = fields.get("track")
    return track if isinstance(track, str) else "inbound"


def _tracks(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        value = []
    return tuple(track for track in value if isinstance(track, str)) or ("inbound",)


def _headers_text(headers: Any) -> str:
    if isinstance(headers, dict):
        return msgspec.json.encode(headers).decode()
    return optional_text(headers)
