"""xAI's voice agent keeps the contract of services."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mediaserver.agents.services import RealtimeModel
from mediaserver.agents.services.xai.realtime import XAIRealtime
from mediaserver.testing.contract import RealtimeModelContract
from mediaserver.testing.realtime_answers import RealtimeAnswer
from mediaserver.testing.xai import XAIRealtimeServer
from tests.agents.virtual_network import VirtualNetworkLoop


class TestXAIRealtimeContract(RealtimeModelContract):
    def new_loop(self) -> asyncio.AbstractEventLoop:
        return VirtualNetworkLoop()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[RealtimeModel]:
        self.server = XAIRealtimeServer(*[RealtimeAnswer(text="Good morning to you.")] * 9)
        async with self.server.running():
            yield XAIRealtime(base_url=self.server.base_url, api_key=self.server.api_key)
        assert not [code for code, _ in self.server.refusals if code == "invalid_request"]

    @asynccontextmanager
    async def failing(self) -> AsyncIterator[RealtimeModel]:
        server = XAIRealtimeServer(refuse=(401, 9))
        async with server.running():
            yield XAIRealtime(base_url=server.base_url, api_key=self.key)

    async def cut(self) -> None:
        await self.server.sessions[-1].drop()
