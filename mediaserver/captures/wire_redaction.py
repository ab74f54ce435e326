"""Taking out of a capture what must not be kept."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from audiocodecs import AudioFormat
from mediaserver.captures.capture_lines import CaptureHead, Side
from mediaserver.protocol import ProtocolError, Start, decode_event


Redacted: TypeAlias = Literal[
    "caller-audio", "agent-audio", "digits", "headers", "numbers", "words"
]
"""What can be taken out: the audio of one side, which becomes silence; keys, which become 0; extra
headers; phone numbers; the words in decisions."""

REDACTABLE: Final[tuple[Redacted, ...]] = (
    "caller-audio",
    "agent-audio",
    "digits",
    "headers",
    "numbers",
    "words",
)

_HIDDEN: Final = "…"
_HEADERS: Final = ("headers", "fields")
"""The fields of an answer webhook's request that hold SIP headers."""

_UNREADABLE: Final = b"redacted"
_DETAILS: Final[Mapping[str, Redacted]] = {
    "words": "words",
    "message": "words",
    "digit": "digits",
    "digits": "digits",
    "extra_headers": "headers",
}
"""The details of decisions that are taken out, and by which name."""


class WireRedaction:
    """Takes out what is named, message by message, of one call.

    Times, order and the length of audio stay, so that the capture can still be replayed.

    Args:
        names: what to take out.
        default: the format of the audio, if the ``start`` event does not name one.

    """

    def __init__(self, names: Collection[Redacted], default: AudioFormat) -> None:
        self._names = frozenset(names)
        self._format = default

    def head(self, head: CaptureHead) -> CaptureHead:
        """Return the description of the call without what is taken out."""
        changes: dict[str, Any] = {"redacted": sorted({*head.redacted, *self._names})}
        if "numbers" in self._names:
            changes |= {"caller": None, "called": None, "answer": None}
        elif "headers" in self._names and head.answer is not None:
            changes["answer"] = {
                name: value for name, value in head.answer.items() if name not in _HEADERS
            }
        return msgspec.structs.replace(head, **changes)

    def message(self, side: Side, message: bytes) -> bytes:
        """Return a message without what is taken out."""
        if not self._names:
            return message
        try:
            fields = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            # What it may hold is not known.
            return _UNREADABLE
        if not isinstance(fields, dict):
            return _UNREADABLE
        if side == "<":
            self._event(fields, message)
        elif side == ">":
            self._command(fields)
        else:
            self._decision(fields)
        return msgspec.json.encode(fields)

    def _event(self, fields: dict[str, Any], message: bytes) -> None:
        if fields.get("event") == "start":
            try:
                start = decode_event(message)
            except ProtocolError:
                start = None
            if isinstance(start, Start) and start.media_format is not None:
                self._format = start.media_format
        if "headers" in self._names:
            for part in (fields, fields.get("start")):
                for name in ("extra_headers", "extraHeaders"):
                    if isinstance(part, dict) and name in part:
                        part[name] = "" if isinstance(part[name], str) else {}
        if "caller-audio" in self._names:
            self._silence(fields.get("media"))
        dtmf = fields.get("dtmf")
        if "digits" in self._names and isinstance(dtmf, dict) and "digit" in dtmf:
            dtmf["digit"] = "0"

    def _command(self, fields: dict[str, Any]) -> None:
        if "agent-audio" in self._names:
            self._silence(fields.get("media"))
        if "digits" in self._names and isinstance(fields.get("dtmf"), str):
            fields["dtmf"] = "0" * len(fields["dtmf"])

    def _decision(self, fields: dict[str, Any]) -> None:
        for name, value in fields.items():
            if value and _DETAILS.get(name) in self._names:
                fields[name] = _HIDDEN

    def _silence(self, media: Any) -> None:
        """Put silence in the place of a payload, of the same length."""
        if not isinstance(media, dict) or "payload" not in media:
            return
        try:
            size = len(base64.b64decode(media["payload"]))
        except (TypeError, ValueError, binascii.Error):
            media["payload"] = ""
            return
        sample = self._format.silence
        silence = (sample * (size // len(sample) + 1))[:size]
        media["payload"] = base64.b64encode(silence).decode()
