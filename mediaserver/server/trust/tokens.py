"""Short-lived tokens in the stream's URL, with what ``/answer`` knows of the call.

The socket does not carry ``From`` and ``To``, it may reach another process than the webhook, and
Plivo's signature does not cover the query of a stream URL. So the query carries a signed token:
base64url of JSON, a dot, and base64url of its HMAC-SHA256, which need no escaping.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final, TypeVar

import msgspec


TOKEN_PARAMETER: Final = "token"
"""Name of the query parameter that carries a token."""
RESUME_PARAMETER: Final = "resume"
"""Name of the query parameter of ``/resume`` that carries `ResumeClaims`."""

_MAC_BYTES: Final = 16
_MAX_LENGTH: Final = 4096


class TokenError(ValueError):
    """The token has another signature, was changed, or has expired; the message says which."""


class Claims(msgspec.Struct, frozen=True, array_like=True):
    """The content of a token."""

    call_id: str
    """Plivo's CallUUID."""
    caller: str | None
    """``From`` of the answer webhook."""
    called: str | None
    """``To`` of the answer webhook: the dialled number."""
    expires: int
    """Seconds since the epoch: several machines may read it, so it is wall-clock time."""
    direction: str | None = None
    """``Direction`` of the answer webhook."""
    process: str | None = None
    """The process that prepared the call, as in `Runtime.process`; None in an older token."""
    issued: float | None = None
    """When the call was answered, in seconds since the epoch; None in an older token."""


class ResumeClaims(msgspec.Struct, frozen=True, array_like=True, tag="resume"):
    """What ``/resume`` must know of a call whose stream is over.

    The tag, and a number where `Claims` have a text, keep either from being read as the other.
    """

    expires: int
    """Seconds since the epoch."""
    call_id: str
    """Plivo's CallUUID."""
    path: str
    """Path of the stream."""
    process: str
    """The process that prepared the call."""
    issued: float
    """When the call was answered, or last resumed, in seconds since the epoch."""
    resumed: int = 0
    """How often it was resumed before."""
    on_end: str | None = None
    """URL of the XML for the call if its stream has ended as it should; None to hang up."""


_decoder = msgspec.json.Decoder(Claims)
_resume_decoder = msgspec.json.Decoder(ResumeClaims)

_Claims = TypeVar("_Claims", Claims, ResumeClaims)


def seal(claims: Claims | ResumeClaims, secret: str) -> str:
    """Return a signed token."""
    body = _encode(msgspec.json.encode(claims))
    return f"{body}.{_encode(_mac(body, secret))}"


def unseal(token: str, secret: str, now: float) -> Claims:
    """Check a token and return its content.

    Args:
        token: The value from the query.
        secret: The key with which it was signed.
        now: Seconds since the epoch.

    Raises:
        TokenError: The token is not valid. The message does not repeat it.

    """
    return _unseal(token, secret, now, _decoder)


def unseal_resume(token: str, secret: str, now: float) -> ResumeClaims:
    """Check the token of a ``/resume`` and return its content, as `unseal` does."""
    return _unseal(token, secret, now, _resume_decoder)


def _unseal(token: str, secret: str, now: float, decoder: msgspec.json.Decoder[_Claims]) -> _Claims:
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
        raise TokenError(
            "the signature does not match: the token was changed, or signed with another secret"
        )
    try:
        claims = decoder.decode(_decode(body))
    except (ValueError, msgspec.MsgspecError):
        raise TokenError("signed, but not in a form that this version reads") from None
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
