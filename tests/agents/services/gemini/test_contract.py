"""Gemini's services keep the contract of services."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mediaserver.agents.services import LanguageModel, RealtimeModel
from mediaserver.agents.services.gemini.live import GeminiLive
from mediaserver.agents.services.gemini.model import GeminiModel
from mediaserver.testing.contract import LanguageModelContract, RealtimeModelContract
from mediaserver.testing.gemini import GeminiLiveServer, GeminiServer, GeminiToolCall, answers
from mediaserver.testing.realtime_answers import RealtimeAnswer
from tests.agents.virtual_network import VirtualNetworkLoop


class TestGeminiModelContract(LanguageModelContract):
    def new_loop(self) -> asyncio.AbstractEventLoop:
        return VirtualNetworkLoop()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[LanguageModel]:
        async with GeminiServer() as server:
            yield GeminiModel(base_url=server.base_url, api_key=server.api_key, max_retries=0)

    @asynccontextmanager
    async def failing(self) -> AsyncIterator[LanguageModel]:
        async with GeminiServer() as server:
            yield GeminiModel(base_url=server.base_url, api_key=self.key, max_retries=0)

    @asynccontextmanager
    async def calling(self) -> AsyncIterator[LanguageModel]:
        async with GeminiServer() as server:
            server.generate.answer = answers(calls=[GeminiToolCall("weather", {"town": "Bonn"})])
            yield GeminiModel(base_url=server.base_url, api_key=server.api_key, max_retries=0)


class TestGeminiLiveContract(RealtimeModelContract):
    def new_loop(self) -> asyncio.AbstractEventLoop:
        return VirtualNetworkLoop()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[RealtimeModel]:
        self.server = GeminiLiveServer(*[RealtimeAnswer(text="Good morning to you.")] * 9)
        async with self.server.running():
            yield GeminiLive(base_url=self.server.base_url, api_key=self.server.api_key)

    @asynccontextmanager
    async def failing(self) -> AsyncIterator[RealtimeModel]:
        async with GeminiLiveServer().running() as server:
            yield GeminiLive(base_url=server.base_url, api_key=self.key)

    def test_check_finds_nothing_wrong(self) -> None:
        """`check` asks Gemini's HTTP API, which this server is not: see test_live.py."""

    async def cut(self) -> None:
        await self.server.sessions[-1].drop()
