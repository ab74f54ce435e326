"""An echo on plivo-stream-sdk's handler for websockets, written as in its README."""

import uvloop
from plivo_stream import MediaEvent, PlivoWebsocketStreamingHandler
from websockets.asyncio.server import ServerConnection, serve

from benchmarks.servers.options import Options, parse_options


async def echo(websocket: ServerConnection) -> None:
    handler = PlivoWebsocketStreamingHandler()

    async def on_media(event: MediaEvent) -> None:
        await handler.send_media(event.get_raw_media())

    handler.on_media(on_media)
    await handler.handle(websocket)


async def main(options: Options) -> None:
    server = serve(echo, options.host, options.port, ssl=options.ssl, compression=None)
    async with server as running:
        await running.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(parse_options()))
