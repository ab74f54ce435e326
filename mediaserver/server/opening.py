"""The answer to an ordinary request for a WebSocket (RFC 6455, section 4.2).

websockets' core reads every form that these headers may have, and takes four times as long. Plivo's
requests have the simplest one.
"""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64encode
from collections.abc import Iterable
from typing import Final


_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_NAMES: Final = ("connection", "upgrade", "sec-websocket-version", "sec-websocket-key")


def switching_protocols(headers: Iterable[tuple[str, str]]) -> bytes | None:
    """Return the response that opens the WebSocket.

    Args:
        headers: Those of a GET request by HTTP/1.1, with names in lower case.

    Returns:
        None for a request that is refused, or that has another form: the core decides on it.

    """
    named = [each for each in headers if each[0] in _NAMES]
    given = dict(named)
    if len(named) != 4 or len(given) != 4:
        return None
    connection, upgrade, version, key = map(given.__getitem__, _NAMES)
    if (connection.lower(), upgrade.lower(), version) != ("upgrade", "websocket", "13"):
        return None
    try:
        if len(binascii.a2b_base64(key, strict_mode=True)) != 16:
            return None
    except ValueError:
        return None
    accept = b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
    )
