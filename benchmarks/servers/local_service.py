"""A service on a WebSocket, in a process of its own."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response


async def serve_until_eof(session: Callable[[ServerConnection], Awaitable[None]]) -> None:
    """Serve clients until standard input ends; print the address first."""

    async def serve_one(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            await session(connection)

    async with serve(
        serve_one, "127.0.0.1", 0, compression=None, process_request=_checked
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"ws://127.0.0.1:{port}", flush=True)
        await asyncio.to_thread(sys.stdin.read)


def _checked(connection: ServerConnection, request: Request) -> Response | None:
    """Answer a request that opens no WebSocket, such as one that checks the key."""
    if "Upgrade" in request.headers:
        return None
    return connection.respond(HTTPStatus.OK, "{}")
