"""Signatures of webhooks, after https://www.standardwebhooks.com, which has code to verify them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final


_PREFIX: Final = "whsec_"

TOLERANCE: Final = 300.0
"""Seconds by which the clocks of both sides may differ; it ends the use of a recorded request."""


class WebhookSignatureError(ValueError):
    """A webhook is not signed with the secret, or is old; the message says which."""


def webhook_key(secret: str) -> bytes:
    """Return the key of a secret: what ``whsec_…`` encodes, or else the text itself.

    Raises:
        ValueError: what follows ``whsec_`` is not base64.

    """
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("what follows whsec_ must be base64") from None


def signed_headers(key: bytes, name: str, body: bytes, now: float) -> dict[str, str]:
    """Return the headers that sign a webhook.

    Args:
        key: see `webhook_key`.
        name: names the webhook; the same when it is sent again.
        body: the body of the request.
        now: seconds since the epoch.

    """
    at = str(int(now))
    return {
        "webhook-id": name,
        "webhook-timestamp": at,
        "webhook-signature": f"v1,{_signature(key, name, at, body)}",
    }


def check_signed(key: bytes, headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Check the signature of a webhook.

    Args:
        key: see `webhook_key`.
        headers: of the request, with names in lower case.
        body: as it was received, before it is parsed.
        now: seconds since the epoch.

    Raises:
        WebhookSignatureError: it is not signed with this key, or was signed at another time.

    """
    name, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not at.isdecimal() or abs(now - int(at)) > TOLERANCE:
        raise WebhookSignatureError("webhook-timestamp is not of the last five minutes")
    expected = f"v1,{_signature(key, name, at, body)}".encode()
    given = headers.get("webhook-signature", "").encode().split()
    if not any(hmac.compare_digest(each, expected) for each in given):
        raise WebhookSignatureError("webhook-signature does not fit the secret and the body")


def _signature(key: bytes, name: str, at: str, body: bytes) -> str:
    signed = b".".join((name.encode(), at.encode(), body))
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
