"""AssemblyAI's recogniser keeps the contract of recognisers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mediaserver.agents.services import Recognizer
from mediaserver.agents.services.assemblyai.recognizer import AssemblyAIRecognizer
from mediaserver.testing.assemblyai import AssemblyAIServer
from mediaserver.testing.contract import RecognizerContract
from mediaserver.testing.socket_server import SocketFault
from tests.agents.virtual_network import VirtualNetworkLoop


class TestAssemblyAI(RecognizerContract):
    model = "universal-3-5-pro"

    def new_loop(self) -> asyncio.AbstractEventLoop:
        return VirtualNetworkLoop()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Recognizer]:
        self.server = AssemblyAIServer(*["I want a table."] * 9)
        async with self.server.running():
            yield AssemblyAIRecognizer(
                self.model, base_url=self.server.base_url, api_key=self.server.api_key
            )

    @asynccontextmanager
    async def failing(self) -> AsyncIterator[Recognizer]:
        server = AssemblyAIServer(faults=(SocketFault(refuse=401),) * 9)
        async with server.running():
            yield AssemblyAIRecognizer(self.model, base_url=server.base_url, api_key=self.key)

    async def cut(self) -> None:
        self.server.cut()


class TestUniversalStreaming(TestAssemblyAI):
    model = "universal-streaming-english"
