"""A voice agent of plivo-stream-sdk's websockets variant."""

from __future__ import annotations

import asyncio

from plivo_stream.websockets import PlivoWebsocketStreamingHandler
from websockets.asyncio.server import ServerConnection, serve

from interop.servers.sdk_call import SdkCall


async def take(connection: ServerConnection) -> None:
    """Take a call."""
    handler = PlivoWebsocketStreamingHandler()
    SdkCall(handler)
    await handler.handle(connection)


async def main() -> None:
    """Serve until the process is stopped."""
    async with serve(take, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"listening at ws://127.0.0.1:{port}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
