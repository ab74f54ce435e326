"""Decodes the server's messages to commands. The carrier's side of a stream uses this.

A message in the strict form takes one typed pass. Any other message is read as far as it makes
sense, and the command's `warnings` list what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec
import pybase64

from audiocodecs import AudioFormat
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
from mediaserver.protocol.liberal import (
    MAX_MESSAGE_BYTES,
    PARSER_ERRORS,
    nested,
    parse_object,
    read_count,
    read_payload,
    required_text,
    too_large,
)
from mediaserver.protocol.media_format import (
    BY_NAME_AND_RATE,
    MULAW,
    plivo_format,
    split_content_type,
)


class _WireAudio(msgspec.Struct, gc=False, rename="camel", forbid_unknown_fields=True):
    content_type: str
    sample_rate: int
    payload: bytes


class _WirePlayAudio(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    event: Literal["playAudio"]
    media: _WireAudio


_decode_play_audio = msgspec.json.Decoder(_WirePlayAudio).decode


def decode_command(
    message: str | bytes | bytearray, *, max_size: int = MAX_MESSAGE_BYTES
) -> Command:
    """Read one message to Plivo, in any of the forms that servers send.

    Args:
        message: the text frame.
        max_size: longest message read, in bytes (in characters for a `str`).

    Returns:
        The command; its `warnings` describe each departure from the reference. An object that is
        not a known command becomes an `UnknownCommand`.

    Raises:
        ProtocolError: the message cannot be read. No input raises anything else.

    """
    if len(message) > max_size:
        raise too_large(len(message), max_size)
    try:
        audio = _decode_play_audio(message).media
    except PARSER_ERRORS:
        audio = None
    if audio is not None and 0 < len(audio.payload) <= MAX_PLAY_BYTES:
        audio_format = BY_NAME_AND_RATE.get((audio.content_type, audio.sample_rate))
        if audio_format is not None:
            return PlayAudio(audio.payload, audio_format)
    return _decode_patiently(message)


def _decode_patiently(message: str | bytes | bytearray) -> Command:
    fields = parse_object(message)
    name = fields.get("event")
    if not isinstance(name, str):
        return UnknownCommand(None, fields, ("event is missing or not a string",))
    read = _READERS.get(name)
    if read is None:
        return UnknownCommand(name, fields, (f"Plivo has no command {quote(name)}",))
    return read(fields)


def _play_audio(fields: dict[str, Any]) -> PlayAudio:
    warnings: list[str] = []
    if "streamId" in fields:
        warnings.append("streamId on playAudio")
    media = nested(fields, "media")
    audio_format = _play_format(media, warnings)
    written = media.get("payload")
    payload = read_payload(written, "media.payload")
    if pybase64.b64encode(payload).decode() != written:
        warnings.append("payload is not standard base64 with padding")
    if not payload:
        warnings.append("payload is empty")
    if len(payload) > MAX_PLAY_BYTES:
        warnings.append("payload over 16 KB of base64")
    return PlayAudio(payload, audio_format, tuple(warnings))


def _play_format(media: dict[str, Any], warnings: list[str]) -> AudioFormat | None:
    content_type, rate = media.get("contentType"), media.get("sampleRate")
    if isinstance(rate, str):
        warnings.append("sampleRate is a string")
    if rate is None:
        warnings.append("sampleRate is missing")
    if content_type is None:
        warnings.append("contentType is missing")
        return None
    if not isinstance(content_type, str):
        raise ProtocolError(
            "bad_value", f"media.contentType should be a string, got {quote(content_type)}"
        )
    name, suffix_rate = split_content_type(content_type)
    if name in ("raw", "wav", "audio/wav"):
        warnings.append(f"contentType is {name}")
        return None
    if ";" in content_type:
        warnings.append("contentType carries ;rate=")
        if rate is None:
            rate = suffix_rate
        elif suffix_rate is not None and read_count(rate) != suffix_rate:
            warnings.append("contentType and sampleRate disagree")
    if rate is None and name != MULAW:
        return None
    return plivo_format(name, rate, "playAudio")


def _stream_id(fields: dict[str, Any], warnings: list[str]) -> str:
    stream_id = fields.get("streamId")
    if stream_id is None and isinstance(fields.get("stream_uuid"), str):
        warnings.append("stream_uuid instead of streamId")
        return str(fields["stream_uuid"])
    if not isinstance(stream_id, str) or not stream_id:
        warnings.append("streamId is missing")
        return ""
    return stream_id


def _checkpoint(fields: dict[str, Any]) -> SetCheckpoint:
    warnings: list[str] = []
    name = required_text(fields.get("name"), "checkpoint.name")
    return SetCheckpoint(_stream_id(fields, warnings), name, tuple(warnings))


def _clear_audio(fields: dict[str, Any]) -> ClearAudio:
    warnings: list[str] = []
    return ClearAudio(_stream_id(fields, warnings), tuple(warnings))


def _send_dtmf(fields: dict[str, Any]) -> SendDtmf:
    warnings: list[str] = []
    digits = fields.get("dtmf")
    if isinstance(digits, int) and not isinstance(digits, bool):
        warnings.append("dtmf is a number")
        digits = str(digits)
    digits = required_text(digits, "sendDTMF.dtmf")
    if digits != digits.upper():
        warnings.append("dtmf has lower-case letters")
        digits = digits.upper()
    return SendDtmf(checked_digits(digits), tuple(warnings))


_READERS: Final[dict[str, Callable[[dict[str, Any]], Command]]] = {
    "playAudio": _play_audio,
    "checkpoint": _checkpoint,
    "clearAudio": _clear_audio,
    "sendDTMF": _send_dtmf,
}
