"""Sarvam's services keep the contract of services."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mediaserver.agents.services.sarvam.recognizer import SarvamRecognizer
from mediaserver.agents.services.sarvam.voice import SarvamVoice
from mediaserver.testing.contract import RecognizerContract, VoiceContract
from mediaserver.testing.sarvam import BulbulServer, SaarasServer
from mediaserver.testing.services import Timing
from tests.agents.virtual_network import VirtualNetworkLoop


class FromSarvam:
    kind: Any
    key: str
    server: Any

    def new_loop(self) -> asyncio.AbstractEventLoop:
        return VirtualNetworkLoop()

    def served(self, **options: Any) -> Any:
        raise NotImplementedError

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Any]:
        async with self.served(api_key=self.key) as self.server:
            yield self.kind("hi-IN", base_url=self.server.base_url, api_key=self.key)

    @asynccontextmanager
    async def failing(self) -> AsyncIterator[Any]:
        async with self.served() as server:
            yield self.kind("hi-IN", base_url=server.base_url, api_key=self.key)

    async def cut(self) -> None:
        for session in self.server.sessions:
            session.drop()


class TestSaaras(FromSarvam, RecognizerContract):
    kind = SarvamRecognizer

    def served(self, **options: Any) -> Any:
        return SaarasServer(*["I want a table."] * 9, **options)


class TestBulbul(FromSarvam, VoiceContract):
    kind = SarvamVoice

    def served(self, **options: Any) -> Any:
        return BulbulServer(timing=Timing(0.1, 0.05), **options)
