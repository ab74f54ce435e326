"""Cartesia's recognisers keep the contract of recognisers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mediaserver.agents.services import Recognizer
from mediaserver.agents.services.cartesia.ink import CartesiaRecognizer, InkTurnsRecognizer
from mediaserver.testing.contract import RecognizerContract
from mediaserver.testing.ink import InkServer
from tests.agents.virtual_network import VirtualNetworkLoop


class TestInk(RecognizerContract):
    kind: type[CartesiaRecognizer] | type[InkTurnsRecognizer] = CartesiaRecognizer

    def new_loop(self) -> asyncio.AbstractEventLoop:
        return VirtualNetworkLoop()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Recognizer]:
        self.server = InkServer(*["I want a table."] * 9)
        async with self.server.running():
            yield self.kind(base_url=self.server.base_url, api_key=self.server.api_key)

    @asynccontextmanager
    async def failing(self) -> AsyncIterator[Recognizer]:
        async with InkServer().running() as server:
            yield self.kind(base_url=server.base_url, api_key=self.key)

    async def cut(self) -> None:
        self.server.cut()


class TestInkTurns(TestInk):
    kind = InkTurnsRecognizer
