"""The mark of a stream that another node relays: who its client is; it is not relayed again.

It is signed with the secret that all nodes share, for one URL and a short time. A mark that is not
valid is passed over: anybody can send the header.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

import msgspec


RELAYED_HEADER: Final = "x-mediaserver-relayed"
"""Name of the header that has the mark."""

_SECONDS: Final = 60
"""For how long a mark is valid. The clocks of nodes may differ by as much."""


class RelayedClient(msgspec.Struct, frozen=True, array_like=True):
    """The client of a stream, as the node knows it that relays."""

    host: str
    port: int
    secure: bool
    """Whether it uses TLS, which has been ended at that node."""
    marked: float
    """When that was, in seconds since the epoch."""


_decode: Final = msgspec.json.Decoder(RelayedClient).decode


def mark(client: RelayedClient, url: str, secret: str) -> str:
    """Return the mark of a client's request for a URL (its path and query)."""
    body = base64.urlsafe_b64encode(msgspec.json.encode(client)).decode()
    return f"{body}.{_mac(body, url, secret)}"


def marked_client(given: str, url: str, secret: str, now: float) -> RelayedClient | None:
    """Return the client that a mark names; None if it is not valid.

    Args:
        given: The value of the header.
        url: The path and query of the request.
        secret: With which it was signed.
        now: Seconds since the epoch.

    """
    body, _, mac = given.partition(".")
    if not hmac.compare_digest(mac.encode(), _mac(body, url, secret).encode()):
        return None
    try:
        client = _decode(base64.urlsafe_b64decode(body))
    except (binascii.Error, msgspec.MsgspecError):
        return None
    return client if abs(now - client.marked) < _SECONDS else None


def _mac(body: str, url: str, secret: str) -> str:
    message = f"relayed\n{body}\n{url}".encode("utf-8", "surrogatepass")
    return hmac.digest(secret.encode(), message, hashlib.sha256).hex()
