"""An echo on websockets' asyncio server, uncompressed: no JSON, no base64, no audio."""

import uvloop
from websockets.asyncio.server import ServerConnection, serve

from benchmarks.servers.options import Options, parse_options


async def echo(websocket: ServerConnection) -> None:
    async for message in websocket:
        await websocket.send(message)


async def main(options: Options) -> None:
    server = serve(echo, options.host, options.port, ssl=options.ssl, compression=None)
    async with server as running:
        await running.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(parse_options()))
