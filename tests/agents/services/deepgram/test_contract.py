"""Deepgram's services keep the contract of services."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mediaserver.agents.services.deepgram.aura import DeepgramVoice
from mediaserver.agents.services.deepgram.flux import FluxRecognizer
from mediaserver.agents.services.deepgram.nova import DeepgramRecognizer
from mediaserver.testing.contract import RecognizerContract, VoiceContract
from mediaserver.testing.deepgram import DeepgramFault, DeepgramServer
from tests.agents.virtual_network import VirtualNetworkLoop


class FromDeepgram:
    kind: Any
    key: str

    def new_loop(self) -> asyncio.AbstractEventLoop:
        return VirtualNetworkLoop()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Any]:
        self.server = DeepgramServer(*["I want a table."] * 9)
        async with self.server.running():
            yield self.kind(base_url=self.server.base_url, api_key=self.server.api_key)

    @asynccontextmanager
    async def failing(self) -> AsyncIterator[Any]:
        server = DeepgramServer(faults=(DeepgramFault(refuse=401),) * 9)
        async with server.running():
            yield self.kind(base_url=server.base_url, api_key=self.key)

    async def cut(self) -> None:
        self.server.cut()


class TestNova(FromDeepgram, RecognizerContract):
    kind = DeepgramRecognizer


class TestFlux(FromDeepgram, RecognizerContract):
    kind = FluxRecognizer


class TestAura(FromDeepgram, VoiceContract):
    kind = DeepgramVoice
