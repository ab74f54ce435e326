"""A monologue on plivo-stream-sdk: it has no playback queue, so frames are paced by sleeping."""

import asyncio
from urllib.parse import parse_qs, urlsplit

import uvloop
from plivo_stream import PlivoWebsocketStreamingHandler, StartEvent
from websockets.asyncio.server import ServerConnection, serve

from audiocodecs import mulaw_encode
from benchmarks.servers.options import Options, parse_options
from benchmarks.servers.speech import speech


FRAME_BYTES = 160
FRAME_SECONDS = 0.02


async def monologue(websocket: ServerConnection) -> None:
    handler = PlivoWebsocketStreamingHandler()
    request = websocket.request
    query = parse_qs(urlsplit(request.path).query) if request else {}
    audio = mulaw_encode(speech(float(query.get("seconds", ["60"])[0])))
    speaking: set[asyncio.Task[None]] = set()

    async def speak() -> None:
        for start in range(0, len(audio), FRAME_BYTES):
            await handler.send_media(audio[start : start + FRAME_BYTES])
            await asyncio.sleep(FRAME_SECONDS)

    async def on_start(event: StartEvent) -> None:
        speaking.add(asyncio.create_task(speak()))

    handler.on_start(on_start)
    try:
        await handler.handle(websocket)
    finally:
        for task in speaking:
            task.cancel()


async def main(options: Options) -> None:
    server = serve(monologue, options.host, options.port, ssl=options.ssl, compression=None)
    async with server as running:
        await running.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(parse_options()))
