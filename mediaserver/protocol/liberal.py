"""Reading JSON from senders that do not all follow the reference.

Every function either returns a usable value or raises `ProtocolError`. The errors of the JSON and
base64 parsers never leave this module.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Any, Final

import msgspec
import pybase64

from mediaserver.protocol.errors import ProtocolError, quote


MAX_MESSAGE_BYTES: Final = 65_536
"""Plivo's limit for one WebSocket message, in either direction."""

MAX_COUNT: Final = 2**63 - 1
"""Largest number accepted as a timestamp or a counter."""

MAX_DEPTH: Final = 32
"""Deepest nesting of a message. Plivo's own messages need 3 levels."""

PARSER_ERRORS: Final = (msgspec.MsgspecError, ValueError, RecursionError)
"""What msgspec raises on bad input: its own errors, UnicodeError, RecursionError if too deep."""

_STRING: Final = re.compile(rb'"(?:[^"\\]+|\\.)*"?', re.DOTALL)
"""A string, in which brackets do not count; the last one may break off."""
_STEPS: Final = [(byte in b"[{") - (byte in b"]}") for byte in range(256)]
"""By byte, how much deeper it leads."""

_parse = msgspec.json.Decoder().decode


def too_large(size: int, max_size: int) -> ProtocolError:
    """Return the error for a message longer than `max_size` (in bytes; in characters for `str`)."""
    return ProtocolError("too_large", f"the message is {size} long, the limit is {max_size}")


def check_encoding(text: str | bytes | bytearray) -> None:
    """Check that a message is UTF-8 to its end: parsers do not look at what they skip."""
    try:
        text.encode() if isinstance(text, str) else text.decode()
    except UnicodeError:
        raise ProtocolError("not_utf8", "the message is not UTF-8") from None


def parse_json(text: str | bytes | bytearray) -> Any:
    """Parse JSON of moderate depth."""
    try:
        value = _parse(text)
    except UnicodeError:
        raise ProtocolError("not_utf8", "the message is not UTF-8") from None
    except PARSER_ERRORS as error:
        # How deep a parser goes before it gives up depends on the version of Python.
        if isinstance(error, RecursionError) or _opens_deeper_than(MAX_DEPTH, text):
            raise ProtocolError("too_deep", f"the message nests deeper than {MAX_DEPTH}") from None
        what, _, where = str(error).partition(" (byte ")
        if what.endswith("trailing characters"):
            raise ProtocolError(
                "not_json",
                f"the JSON ends at byte {where.rstrip(')')} and the message does not:"
                " send one object in each message",
            ) from None
        what = str(error).partition(" - at ")[0].removeprefix("JSON is malformed: ")
        raise ProtocolError("not_json", f"the message is not JSON: {what}") from None
    if _deeper_than(MAX_DEPTH, value):
        raise ProtocolError("too_deep", f"the message nests deeper than {MAX_DEPTH}")
    return value


def parse_object(text: str | bytes | bytearray) -> dict[str, Any]:
    """Parse a JSON object."""
    value = parse_json(text)
    if not isinstance(value, dict):
        raise ProtocolError("not_object", f"expected a JSON object, got {type(value).__name__}")
    return value


def nested(message: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the object under `key`, or an empty one."""
    value = message.get(key)
    return value if isinstance(value, dict) else {}


def optional_text(value: object) -> str:
    """Return `value` if it is a string, otherwise `""`."""
    return value if isinstance(value, str) else ""


def read_count(value: object) -> int | None:
    """Read a timestamp or counter from a number or a numeric string, otherwise return `None`."""
    if isinstance(value, str):
        value = _number(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value <= MAX_COUNT else None


def read_payload(value: object, where: str) -> bytes:
    """Decode base64 audio: standard or URL-safe, with or without padding, spaces ignored."""
    if value is None:
        raise ProtocolError("missing_field", f"{where} is missing; expected base64 audio")
    if not isinstance(value, str):
        raise ProtocolError(
            "bad_value", f"{where} should be a base64 string, got {type(value).__name__}"
        )
    digits = "".join(value.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return pybase64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except ValueError:
        raise ProtocolError(
            "bad_base64", f"{where} ({len(value)} characters) is not base64"
        ) from None


def required_text(value: object, where: str) -> str:
    """Return `value`, which must be a string that is not empty."""
    if value is None or value == "":
        raise ProtocolError("missing_field", f"{where} is missing or empty")
    if not isinstance(value, str):
        raise ProtocolError("bad_value", f"{where} should be a string, got {quote(value)}")
    return value


def _number(digits: str) -> int | float | None:
    try:
        return int(digits)
    except ValueError:
        pass
    try:
        return float(digits)
    except ValueError:
        return None


def _opens_deeper_than(limit: int, text: str | bytes | bytearray) -> bool:
    """Return whether text that is not JSON opens more than `limit` brackets within each other."""
    bare = _STRING.sub(b"", text.encode() if isinstance(text, str) else text)
    return max(accumulate(map(_STEPS.__getitem__, bare)), default=0) > limit


def _deeper_than(limit: int, value: Any) -> bool:
    level = [value]
    for _ in range(limit + 1):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return False
    return True
