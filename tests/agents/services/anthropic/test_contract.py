"""Anthropic's models keep the contract of language models."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mediaserver.agents.services import LanguageModel
from mediaserver.agents.services.anthropic.model import AnthropicModel
from mediaserver.testing.anthropic import AnthropicServer, AnthropicToolUse, anthropic_answers
from mediaserver.testing.contract import LanguageModelContract
from tests.agents.virtual_network import VirtualNetworkLoop


class TestAnthropicModelContract(LanguageModelContract):
    def new_loop(self) -> asyncio.AbstractEventLoop:
        return VirtualNetworkLoop()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[LanguageModel]:
        async with AnthropicServer() as server:
            yield AnthropicModel(base_url=server.base_url, api_key=server.api_key, max_retries=0)
        assert not server.refused

    @asynccontextmanager
    async def calling(self) -> AsyncIterator[LanguageModel]:
        async with AnthropicServer() as server:
            server.messages.answer = anthropic_answers(
                "Let me see.", uses=[AnthropicToolUse("weather", {"town": "Bonn"})]
            )
            yield AnthropicModel(base_url=server.base_url, api_key=server.api_key, max_retries=0)

    @asynccontextmanager
    async def failing(self) -> AsyncIterator[LanguageModel]:
        async with AnthropicServer() as server:
            yield AnthropicModel(base_url=server.base_url, api_key=self.key, max_retries=0)
