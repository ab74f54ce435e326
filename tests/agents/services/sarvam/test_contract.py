"""Sarvam's services keep the contract of services."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mediaserver.agents.services import Recognizer, Voice
from mediaserver.agents.services.sarvam.recognizer import SarvamRecognizer
from mediaserver.agents.services.sarvam.voice import SarvamVoice
from mediaserver.testing.contract import RecognizerContract, VoiceContract
from mediaserver.testing.sarvam import BulbulServer, SaarasServer
from mediaserver.testing.services import Timing
from tests.agents.virtual_network import VirtualNetworkLoop


class OnVirtualNetwork:
    def new_loop(self) -> asyncio.AbstractEventLoop:
        return VirtualNetworkLoop()


class TestSaaras(OnVirtualNetwork, RecognizerContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Recognizer]:
        self.server = SaarasServer(*["I want a table."] * 9)
        self.server.api_key = self.key
        async with self.server.running():
            yield SarvamRecognizer("hi-IN", base_url=self.server.base_url, api_key=self.key)

    @asynccontextmanager
    async def failing(self) -> AsyncIterator[Recognizer]:
        async with SaarasServer().running() as server:
            yield SarvamRecognizer("hi-IN", base_url=server.base_url, api_key=self.key)

    async def cut(self) -> None:
        self.server.cut()


class TestBulbul(OnVirtualNetwork, VoiceContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Voice]:
        async with BulbulServer(timing=Timing(0.1, 0.05), api_key=self.key) as self.server:
            yield SarvamVoice("hi-IN", base_url=self.server.base_url, api_key=self.key)

    @asynccontextmanager
    async def failing(self) -> AsyncIterator[Voice]:
        async with BulbulServer() as server:
            yield SarvamVoice("hi-IN", base_url=server.base_url, api_key=self.key)

    async def cut(self) -> None:
        for session in self.server.sessions:
            session.drop()
