"""Opening the WebSocket of a call as the carrier opens it."""

from __future__ import annotations

import ssl as tls
from collections.abc import Mapping
from http import HTTPStatus
from socket import socket
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI

from mediaserver.protocol import MAX_MESSAGE_BYTES
from mediaserver.sandbox.errors import CallFailed


_MAX_REASON = 200


async def open_websocket(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    ssl: tls.SSLContext | None = None,
    sock: socket | None = None,
    open_timeout: float = 10.0,
    close_timeout: float = 2.0,
) -> ClientConnection:
    """Open a WebSocket that takes messages up to Plivo's 64 KB, without compression.

    Nothing is sent that Plivo is not known to send: no `User-Agent`, no subprotocol, no pings.
    Proxies of the environment are not used.

    Raises:
        CallFailed: It could not be opened.

    """
    options: dict[str, Any] = {"ssl": ssl, "sock": sock}
    try:
        return await connect(
            url,
            compression=None,
            max_size=MAX_MESSAGE_BYTES,
            additional_headers=headers,
            user_agent_header=None,
            proxy=None,
            open_timeout=open_timeout,
            close_timeout=close_timeout,
            ping_interval=None,
            **{name: given for name, given in options.items() if given is not None},
        )
    except InvalidStatus as refusal:
        raise _refused(refusal) from refusal
    except InvalidURI as error:
        raise CallFailed(None, f"{url!r} is no WebSocket address: ws://… or wss://…") from error
    except TimeoutError as error:
        raise CallFailed(None, f"{url} did not take the call in {open_timeout:g} s") from error
    except (OSError, InvalidHandshake) as error:
        raise CallFailed(None, f"cannot call {url}: {_plain(error)}") from error


def _plain(error: Exception) -> str:
    if isinstance(error, tls.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    return str(error) or type(error).__name__


def _refused(refusal: InvalidStatus) -> CallFailed:
    status = refusal.response.status_code
    body = (refusal.response.body or b"").decode(errors="replace").strip()
    if body:
        return CallFailed(status, body[:_MAX_REASON])
    try:
        return CallFailed(status, HTTPStatus(status).phrase)
    except ValueError:
        return CallFailed(status, refusal.response.reason_phrase)
