"""The example of docs/writing-services.md keeps the contract."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from examples.services.own_voice import OwnVoice
from mediaserver.testing.contract import VoiceContract
from tests.agents.virtual_network import VirtualNetworkLoop


class LocalVoice:
    """The service on this machine: 20 ms of audio for each character."""

    def __init__(self, key: str | None) -> None:
        self._key = key
        self.connections: set[ServerConnection] = set()

    def admit(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.headers.get("Authorization") == f"Bearer {self._key}":
            return None
        said = f"{request.headers.get('Authorization')} is unknown"
        return connection.respond(HTTPStatus.UNAUTHORIZED, said)

    async def speak(self, connection: ServerConnection) -> None:
        self.connections.add(connection)
        texts: dict[str, str] = {}
        async for message in connection:
            match json.loads(message):
                case {"text": str(text), "id": str(name), **rest} if not rest:
                    texts[name] = texts.get(name, "") + text
                case {"flush": str(name)} | {"end": str(name)} as command:
                    for _ in texts[name]:
                        audio = base64.b64encode(b"\xff" * 160).decode()
                        await connection.send(json.dumps({"id": name, "audio": audio}))
                        await asyncio.sleep(0.001)
                    texts[name] = ""
                    if "end" in command:
                        await connection.send(json.dumps({"id": name, "done": True}))
                case {"clear": str(name)}:
                    del texts[name]
                case other:
                    raise ValueError(f"unknown: {other}")


class TestOwnVoice(VoiceContract):
    def new_loop(self) -> asyncio.AbstractEventLoop:
        return VirtualNetworkLoop()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[OwnVoice]:
        async with self.voice(self.key) as voice:
            yield voice

    @asynccontextmanager
    async def failing(self) -> AsyncIterator[OwnVoice]:
        async with self.voice(None) as voice:
            yield voice

    @asynccontextmanager
    async def voice(self, key: str | None) -> AsyncIterator[OwnVoice]:
        self.local = LocalVoice(key)
        async with serve(
            self.local.speak, "127.0.0.1", 0, process_request=self.local.admit, close_timeout=1
        ) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            yield OwnVoice(api_key=self.key, base_url=f"ws://127.0.0.1:{port}")

    async def cut(self) -> None:
        for connection in self.local.connections:
            connection.transport.abort()
