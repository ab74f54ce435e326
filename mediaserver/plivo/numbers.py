"""Phone numbers in the three forms in which Plivo writes them.

``+14155550100`` as people type it and in the newer callbacks, ``14155550100`` in the older ones
and in the REST API's responses, ``sip:14155550100@phone.plivo.com`` where a SIP endpoint is called.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote


_MAX_DIGITS: Final = 15
"""Digits of the longest phone number, country code included (ITU-T E.164)."""

_MIN_DIGITS: Final = 3

_SEPARATORS: Final = re.compile(r"[ ().\u00a0\u2010-\u2013-]")
_NUMBER: Final = re.compile(rf"\+?([1-9][0-9]{{{_MIN_DIGITS - 1},{_MAX_DIGITS - 1}}})")
_SIP: Final = re.compile(r"(sips?):([^\s@<>:;]+)(?:[:;][^\s@<>]*)?@([^\s@<>;?]+)([^\s<>@]*)", re.I)
_TEL: Final = re.compile(r"tel:([^;]+)(?:;.*)?", re.I)
_NAMED: Final = re.compile(r"[^<>]*<([^<>]+)>")


class NumberError(ValueError):
    """The text is neither a phone number nor a SIP address; the message quotes it."""


def digits(address: str) -> str | None:
    """Return the digits of a phone number, country code first, or None if it has none.

    A SIP address has digits if its user is a phone number: ``sip:+14155550100@example.com``. So has
    a ``tel:`` address (RFC 3966).
    """
    text = _bare(address)
    if (sip := _SIP.fullmatch(text)) is not None:
        text = unquote(sip[2])
    elif (tel := _TEL.fullmatch(text)) is not None:
        text = tel[1]
    number = _NUMBER.fullmatch(_SEPARATORS.sub("", text))
    return number[1] if number else None


def phone_key(address: str) -> str | None:
    """Return the text that all forms of a phone's address have in common; None if it has no form.

    It is the digits of a phone number, whatever the host of a SIP address. Names of SIP users stand
    as they are, hosts without regard to case (RFC 3261, section 19.1.4).
    """
    number = digits(address)
    if number is not None:
        return number
    sip = _SIP.fullmatch(_bare(address))
    return f"sip:{unquote(sip[2])}@{sip[3].lower()}" if sip else None


def same_number(one: str, other: str) -> bool:
    """Return whether two addresses name the same phone, in any of their forms (see `phone_key`).

    Two empty texts are not the same number.
    """
    key = phone_key(one)
    return key is not None and key == phone_key(other)


def dialable(address: str) -> str:
    """Return an address as the REST API takes it: without separators, with its ``+`` if it has one.

    Raises:
        NumberError: The address is neither a phone number with country code nor a SIP address.

    """
    text = address.strip()
    if text.lower().startswith(("sip:", "sips:")):
        if _SIP.fullmatch(text) is None:
            raise NumberError(f"a SIP address is sip:user@host, not {_shown(address)}")
        return text
    number = _SEPARATORS.sub("", text)
    if _NUMBER.fullmatch(number) is None:
        raise NumberError(
            "a phone number has its country code first and"
            f" {_MIN_DIGITS} to {_MAX_DIGITS} digits, such as +14155550100; not {_shown(address)}"
        )
    return number


def _bare(address: str) -> str:
    """Return the address in ``"A name" <sip:user@host>``, which carriers pass on."""
    text = address.strip()
    named = _NAMED.fullmatch(text)
    return named[1].strip() if named else text


def _shown(address: str) -> str:
    return repr(address if len(address) <= 60 else address[:60] + "…")
