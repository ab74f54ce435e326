"""Short-lived tokens that carry what ``/answer`` knows of a call into the stream's URL.

``From`` and ``To`` are not on the socket, webhook and socket may land on different processes, and
Plivo's signature does not cover the query of a stream URL. So what is said there is signed here:
base64url of JSON, a dot, base64url of its HMAC-SHA256, none of which needs escaping in a query.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

import msgspec


TOKEN_PARAMETER: Final = "token"
"""Name of the query parameter that carries a token."""

_MAC_BYTES: Final = 16
_MAX_LENGTH: Final = 2048


class TokenError(ValueError):
    """A token that was not given out here, was changed on the way, or has run out."""


class Claims(msgspec.Struct, frozen=True, array_like=True):
    """What a token says."""

    call_id: str
    """Plivo's CallUUID."""
    caller: str | None
    """``From`` of the answer webhook."""
    called: str | None
    """``To`` of the answer webhook: the number that was dialled."""
    expires: int
    """Seconds since the epoch. A wall clock, since several machines read it."""
    direction: str | None = None
    """``Direction`` of the answer webhook."""


_decoder = msgspec.json.Decoder(Claims)


def seal(claims: Claims, secret: str) -> str:
    """Write a token."""
    body = _encode(msgspec.json.encode(claims))
    return f"{body}.{_encode(_mac(body, secret))}"


def unseal(token: str, secret: str, now: float) -> Claims:
    """Read a token.

    Args:
        token: As it came in the query.
        secret: The key it should have been written with.
        now: Seconds since the epoch.

    Raises:
        TokenError: It says why, without the token.

    """
    if len(token) > _MAX_LENGTH:
        raise TokenError(f"a token of {len(token)} characters is too long")
    body, dot, mac = token.partition(".")
    if not dot:
        raise TokenError("not a token")
    try:
        given = _decode(mac)
    except ValueError:
        raise TokenError("not a token") from None
    if not hmac.compare_digest(given, _mac(body, secret)):
        raise TokenError("its signature is not ours: another secret, or it was changed")
    try:
        claims = _decoder.decode(_decode(body))
    except (ValueError, msgspec.MsgspecError):
        raise TokenError("signed, but not in a form this version reads") from None
    if now >= claims.expires:
        raise TokenError(f"it ran out {now - claims.expires:.0f} s ago")
    return claims


def _mac(body: str, secret: str) -> bytes:
    message = body.encode("utf-8", "surrogatepass")
    return hmac.digest(secret.encode(), message, hashlib.sha256)[:_MAC_BYTES]


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        raw = text.encode("ascii")
        decoded = base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise ValueError("not base64url") from None
    if _encode(decoded) != text:
        raise ValueError("not canonical base64url")
    return decoded
