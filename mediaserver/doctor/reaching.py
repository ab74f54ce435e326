"""Requests to the server's public URL, as Plivo makes them, and to the API."""

from __future__ import annotations

import asyncio
import base64
import secrets
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, TypeVar
from urllib.parse import urlsplit

import httpx

from mediaserver.settings.values import is_loopback


_SECONDS: Final = 4.0
_T = TypeVar("_T")

UPGRADE: Final = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
}
"""The headers of a request for a WebSocket, besides its key."""


def client_for(url: str) -> httpx.AsyncClient:
    """Return a client that trusts what the system trusts, and follows no redirect."""
    return httpx.AsyncClient(
        # To read the system's certificates takes long.
        verify=url.startswith("https:") and ssl.create_default_context(),
        timeout=_SECONDS,
        headers={"user-agent": "mediaserver-doctor"},
        trust_env=not is_loopback(urlsplit(url).hostname or ""),
    )


async def upgrade(url: str, headers: Mapping[str, str]) -> tuple[int, str]:
    """Ask for a WebSocket, and return the status and the text of the reply.

    Args:
        url: Of the stream, ``http://`` or ``https://``.
        headers: More headers, such as a signature.

    """
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    async with (
        client_for(url) as client,
        client.stream("GET", url, headers={**headers, **UPGRADE, "sec-websocket-key": key}) as got,
    ):
        if got.status_code == httpx.codes.SWITCHING_PROTOCOLS:
            return got.status_code, ""
        return got.status_code, (await got.aread()).decode("utf-8", "replace").strip()


async def in_a_thread(function: Callable[[], _T]) -> _T:
    """Run a function that may block for any time, in a thread that the end does not wait for."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def tell(value: _T | None, error: Exception | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(value)  # type: ignore[arg-type]

    def work() -> None:
        value, problem = None, None
        try:
            value = function()
        except Exception as error:
            problem = error
        except SystemExit as error:
            problem = RuntimeError(f"sys.exit({error.code!r}) was called")
        # Nobody waits any more for what comes after the time limit.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(tell, value, problem)

    threading.Thread(target=work, daemon=True).start()
    return await done
