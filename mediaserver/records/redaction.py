"""What of a person is recorded: numbers whole, in part or as a hash, and no words by default."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final, Literal, NamedTuple, TypeAlias

from mediaserver.plivo.numbers import phone_key


NumberForm: TypeAlias = Literal["whole", "last4", "hash"]
"""How numbers are recorded: as Plivo writes them; as their last four characters; as a keyed hash,
by which the calls of one number can be found, and the number cannot be read."""

_LONGEST_NUMBER: Final = 200


class RecordedNumber(NamedTuple):
    """A phone number in a record."""

    shown: str | None
    key: str | None
    """By which it is found: the same for all forms in which Plivo writes it."""


class Redaction:
    """Decides what is recorded of a person.

    Args:
        numbers: how numbers are recorded.
        key: keys the hash. Whoever knows it can find out numbers by trying them.
        transcripts: whether the words of a conversation are recorded.

    """

    def __init__(self, numbers: NumberForm, *, key: bytes, transcripts: bool) -> None:
        self._numbers = numbers
        self._key = key
        self.transcripts = transcripts

    def number(self, address: str | None) -> RecordedNumber:
        """Return what is recorded of a phone number or SIP address."""
        if not address:
            return RecordedNumber(None, None)
        key = phone_key(address) or address
        if self._numbers == "whole":
            shown = storable(address, _LONGEST_NUMBER)
            return RecordedNumber(shown, storable(key, _LONGEST_NUMBER))
        text = last_four(key) if self._numbers == "last4" else hashed(key, self._key)
        return RecordedNumber(text, text)


def search_keys(address: str, key: bytes | None) -> list[str]:
    """Return the keys under which the calls of a number may be recorded, in any form.

    Args:
        address: the number, as it is typed.
        key: keys the hash; None if it is not known.

    """
    whole = phone_key(address) or address.strip()
    keys = [whole, last_four(whole)]
    return keys if key is None else [*keys, hashed(whole, key)]


def last_four(key: str) -> str:
    """Return the last four characters of a number, or of the name in a SIP address."""
    return "…" + storable(key.removeprefix("sip:").partition("@")[0][-4:], 4)


def hashed(key: str, secret: bytes) -> str:
    """Return a keyed hash of a number."""
    text = b"number of a call record:" + key.encode("utf-8", "replace")
    return "#" + hmac.new(secret, text, hashlib.sha256).hexdigest()[:24]


def storable(text: str, longest: int) -> str:
    """Return a text that every database can store: cut, and without what is not text."""
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    if text.isascii() and text.isprintable():
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
