"""Taking out of a capture what must not be kept."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from audiocodecs import AudioFormat
from mediaserver.captures.capture_lines import UNREADABLE, CaptureHead, Side
from mediaserver.protocol import ProtocolError, Start, decode_event
from mediaserver.protocol.errors import without_quote


Redacted: TypeAlias = Literal[
    "caller-audio", "agent-audio", "digits", "headers", "numbers", "words"
]
"""What can be taken out: the audio of one side, which becomes silence; keys, and digits in words,
which become 0; extra headers; phone numbers; the words in decisions."""

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

_HEADER_NAMES: Final = ("extra_headers", "extraHeaders")
"""The names by which extra headers come, on the message and within its ``start``."""

_UNREADABLE: Final = b"redacted"
_DIGIT: Final = re.compile(r"\d")
_NUMBER: Final = re.compile(r"\d(?:[ ().-]{0,2}\d){5,}")
"""A phone number within a text. Other long numbers look the same, and are taken out as well."""
_TEXTS: Final[frozenset[Redacted]] = frozenset({"digits", "headers", "numbers", "words"})
_SIP: Final = re.compile(r"(sips?(?::|%3a))[^\s<>;,\"'{}]+", re.IGNORECASE)
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

    def __bool__(self) -> bool:
        return bool(self._names)

    def head(self, head: CaptureHead) -> CaptureHead:
        """Return the description of the call without what is taken out."""
        changes: dict[str, Any] = {"redacted": sorted({*head.redacted, *self._names})}
        if "numbers" in self._names:
            changes |= {
                "caller": None,
                "called": None,
                "answer": None,
                "path": _without_numbers(head.path),
                "query": _changed(head.query, _without_numbers),
            }
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
        except UNREADABLE:
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
        for part in (fields, fields.get("start")):
            for name in _HEADER_NAMES:
                if isinstance(part, dict) and name in part:
                    if "headers" in self._names:
                        part[name] = "" if isinstance(part[name], str) else {}
                    elif "numbers" in self._names:
                        part[name] = _changed(part[name], _without_numbers)
        media = fields.get("media")
        outbound = isinstance(media, dict) and media.get("track") == "outbound"
        if ("agent-audio" if outbound else "caller-audio") in self._names:
            self._silence(media)
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
            kind = _DETAILS.get(name)
            if name == "reason" and isinstance(value, str):
                fields[name] = self._reason(value)
            elif value and kind in self._names:
                fields[name] = _HIDDEN
            elif kind == "words":
                if "digits" in self._names:
                    # An agent is told which keys were pressed, and tells its tools.
                    value = fields[name] = _changed(value, _without_digits)
                if "numbers" in self._names:
                    fields[name] = _changed(value, _without_numbers)

    def _reason(self, reason: str) -> str:
        if _TEXTS & self._names:
            reason = without_quote(reason)
        return _without_numbers(reason) if "numbers" in self._names else reason

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


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    """Return a value of JSON with each text in it changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_changed(each, change) for each in value]
    if isinstance(value, dict):
        return {name: _changed(each, change) for name, each in value.items()}
    return value


def _without_digits(text: str) -> str:
    return _DIGIT.sub("0", text)


def _without_numbers(text: str) -> str:
    """Put zeros in the place of phone numbers, so that a path still is one of its route."""
    text = _SIP.sub(rf"\1{_HIDDEN}", text)
    return _NUMBER.sub(lambda found: _without_digits(found[0]), text)
