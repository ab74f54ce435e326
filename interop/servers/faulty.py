"""Faulty WebSocket servers, one at each path."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from interop.servers.report import report


async def refuse(connection: ServerConnection, request: Request) -> Response | None:
    """Refuse calls at `/refuses`; never answer at `/hangs`."""
    if request.path == "/refuses":
        await report("refused")
        return connection.respond(503, "no room\n")
    if request.path == "/hangs":
        await report("left hanging")
        await asyncio.get_running_loop().create_future()
    return None


async def misbehave(connection: ServerConnection) -> None:
    """Misbehave as the path says."""
    assert connection.request is not None
    path = connection.request.path
    await report("connected", path=path)
    if path == "/talks_rubbish":
        await connection.send("this is not JSON")
        await connection.send(b"\x00\xff binary")
        await connection.send(json.dumps({"event": "playAudio", "media": {"payload": "%%%"}}))
        await connection.send(json.dumps({"event": "noSuchThing"}))
    if path == "/stops_reading":
        connection.transport.pause_reading()
        await asyncio.get_running_loop().create_future()
    elif path == "/sends_too_much":
        await connection.send("[" * 100_000)
    elif path == "/breaks":
        await connection.close(1011, "something broke")
    with suppress(ConnectionClosed):
        async for _ in connection:
            pass
    await report("closed", path=path, code=connection.close_code)


async def main() -> None:
    """Serve until the process is stopped."""
    async with serve(
        misbehave, "127.0.0.1", 0, process_request=refuse, open_timeout=None, ping_interval=None
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"listening at ws://127.0.0.1:{port}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
