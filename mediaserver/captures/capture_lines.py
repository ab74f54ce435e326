"""What a capture consists of: lines of text, of which the first describes the call.

    {"capture":1,"call":"…","began":"2026-11-29T09:15:00.000000+00:00","handler":"Echo", …}
    0.001532 < {"event":"start","start":{…}}
    0.021873 < {"event":"media","media":{…}}
    0.022051 > {"event":"playAudio","media":{…}}
    4.310202 ! {"what":"barge-in","confirmed":true}

Each line has the seconds since the stream was accepted; where a message went (``<`` from the
carrier, ``>`` to the carrier, ``!`` for what the server decided); and the message as it was on the
wire. A message with a line break in it is written as ``~`` and its base64, a binary one as ``~~``
and its base64.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import msgspec

from mediaserver.call.follower import decision_json


FORMAT: Final = 1
"""The version of the format that is written, and the newest that can be read."""

Side: TypeAlias = Literal["<", ">", "!"]
"""``<``: from the carrier; ``>``: to the carrier; ``!``: decided by the server or the handler."""

SIDES: Final[tuple[Side, ...]] = ("<", ">", "!")

MOST_SECONDS: Final = 100_000.0
"""When the last message of a capture can be: a stream lasts a day at most (Plivo's
``streamTimeout``)."""

ENCODED: Final = b"~"
"""What a message begins with that is written as base64."""


UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What is raised by text that is no JSON, or is nested too deeply."""


class CaptureError(ValueError):
    """What was read is not a capture; the message says which line, and what is wrong with it."""


class CaptureHead(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a call when its stream is accepted."""

    capture: int = FORMAT
    """The version of the format."""
    call: str | None = None
    """Plivo's CallUUID, if it was known then; the stream's ``start`` has it as well."""
    began: str = ""
    """When the stream was accepted, by ISO 8601."""
    handler: str = ""
    """The name of the handler."""
    path: str = "/stream"
    """The path of the stream's URL, percent-decoded."""
    route: str = ""
    """The path of the handler's route, with the names of its parameters."""
    query: dict[str, str] = {}
    """The query parameters for the handler."""
    caller: str | None = None
    called: str | None = None
    answer: dict[str, Any] | None = None
    """What the answer webhook received."""
    settings: dict[str, Any] = {}
    """The settings that decide when audio is sent."""
    process: str = ""
    """The process that served the call."""
    redacted: list[str] = []
    """What was taken out, by the names of the setting ``capture_redact``."""


@dataclass(frozen=True, slots=True)
class CapturedLine:
    """One message or decision."""

    at: float
    """Seconds since the stream was accepted."""
    side: Side
    message: bytes
    """As it was on the wire; of a decision, a JSON object whose ``what`` says what it is."""
    binary: bool = False
    """Whether it was a binary message, which is none of Plivo's."""


@dataclass(frozen=True, slots=True)
class Capture:
    """The wire of one call."""

    head: CaptureHead
    lines: list[CapturedLine] = field(default_factory=list)
    whole: bool = True
    """Whether the capture was finished; if not, the server was killed or still writes it, or it
    became `full`."""
    full: bool = False
    """Whether it ended before its call, because captures took all that they may of the disk."""


def encode_head(head: CaptureHead) -> bytes:
    """Return the first line, with its line break."""
    return msgspec.json.encode(head) + b"\n"


def encode_line(at: float, side: Side, message: bytes, *, binary: bool = False) -> bytes:
    """Return the line of a message, with its line break."""
    if binary:
        message = ENCODED + encoded(message)
    elif b"\n" in message or message[:1] == ENCODED:
        message = encoded(message)
    return b"%.6f %s %s\n" % (at, side.encode(), message)


def encoded(message: bytes | bytearray) -> bytes:
    """Return how a message is written that has a line break, or begins as one in base64 does."""
    return ENCODED + base64.b64encode(message)


def encode_decision(what: str, details: Mapping[str, object]) -> bytes:
    """Return the message of a decision, whatever its details are."""
    # A handler may call its details as it likes.
    own = {"what": what}
    return decision_json({**own, **details, **own})


def decode_capture(text: bytes, *, whole: bool = True) -> Capture:
    """Return the capture that lines of text describe.

    Args:
        text: the lines.
        whole: whether that is all that was written; if not, a last line without a break is dropped.

    Raises:
        CaptureError: a line is not of a capture.

    """
    head_line, complete, rest = text.partition(b"\n")
    if not complete and (not text or not whole):
        raise CaptureError(
            "not a capture: it ends within its first line, as if the server was killed as it wrote"
        )
    head = decode_head(head_line)
    *_, unfinished = rest.rpartition(b"\n")
    lines = list(decode_lines(rest.removesuffix(unfinished), 2))
    last = _what(lines[-1].message) if lines and lines[-1].side == "!" else None
    ended = whole and not unfinished and last == CAPTURE_ENDED
    return Capture(head, lines, ended, full=last == CAPTURE_FULL)


CAPTURE_ENDED: Final = "capture ended"
"""The last decision of a capture that was finished."""

CAPTURE_FULL: Final = "capture full"
"""The last decision of a capture that ended before its call."""


def _what(message: bytes) -> object:
    try:
        return msgspec.json.decode(message).get("what")
    except (*UNREADABLE, AttributeError):
        return None


def decode_head(line: bytes) -> CaptureHead:
    """Return what the first line of a capture says.

    Raises:
        CaptureError: the line does not begin a capture.

    """
    try:
        version = msgspec.json.decode(line)["capture"]
    except (*UNREADABLE, TypeError, KeyError):
        raise CaptureError("not a capture: its first line does not describe a call") from None
    if not isinstance(version, int) or not 1 <= version <= FORMAT:
        raise CaptureError(
            f"a capture of version {version!r}, of which this version of mediaserver can read up to"
            f" {FORMAT}: use the one that wrote it, or a newer one"
        )
    try:
        return msgspec.json.decode(line, type=CaptureHead)
    except msgspec.ValidationError as error:
        raise CaptureError(f"line 1 of the capture: {error}") from None


def decode_lines(text: bytes, first: int = 1) -> Iterator[CapturedLine]:
    """Yield the messages of whole lines.

    Args:
        text: the lines.
        first: the number of the first line, for errors.

    Raises:
        CaptureError: a line is not that of a message.

    """
    for number, line in enumerate(text.split(b"\n")[:-1], first):
        at, _, rest = line.partition(b" ")
        side, _, message = rest.partition(b" ")
        known = next((each for each in SIDES if each.encode() == side), None)
        try:
            seconds = float(at)
            if known is None or not 0 <= seconds <= MOST_SECONDS:
                raise ValueError
            binary = message[:2] == 2 * ENCODED
            if message[:1] == ENCODED:
                message = base64.b64decode(message[1 + binary :], validate=True)
        except (ValueError, binascii.Error):
            raise CaptureError(
                f"line {number} of the capture is not TIME, one of < > !, and a message:"
                f" {line[:80]!r}"
            ) from None
        yield CapturedLine(seconds, known, message, binary)
