"""ElevenLabs' recogniser keeps the contract of recognisers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mediaserver.agents.services import Recognizer
from mediaserver.agents.services.elevenlabs.recognizer import ElevenLabsRecognizer
from mediaserver.testing.contract import RecognizerContract
from mediaserver.testing.scribe import ScribeServer
from tests.agents.virtual_network import VirtualNetworkLoop


class TestScribe(RecognizerContract):
    def new_loop(self) -> asyncio.AbstractEventLoop:
        return VirtualNetworkLoop()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Recognizer]:
        self.server = ScribeServer(*["I want a table."] * 9)
        async with self.server.running():
            yield ElevenLabsRecognizer(base_url=self.server.base_url, api_key=self.server.api_key)

    @asynccontextmanager
    async def failing(self) -> AsyncIterator[Recognizer]:
        async with ScribeServer().running() as server:
            yield ElevenLabsRecognizer(base_url=server.base_url, api_key=self.key)

    async def cut(self) -> None:
        self.server.cut()
