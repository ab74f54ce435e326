"""OpenAI's recogniser keeps the contract of services, at OpenAI and at Azure."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from mediaserver.agents.services import Recognizer
from mediaserver.agents.services.openai.azure import AzureResource
from mediaserver.agents.services.openai.recognizer import OpenAIRecognizer
from mediaserver.testing.contract import RecognizerContract
from mediaserver.testing.openai import AzureGate
from mediaserver.testing.openai.realtime import OpenAITranscriptionServer
from tests.agents.virtual_network import VirtualNetworkLoop


TEXT = "I want a table."


class TestOpenAIRecognizer(RecognizerContract):
    model = "gpt-live-transcribe"
    turn_detection: Mapping[str, Any] | None = None
    azure: AzureGate | None = None

    def new_loop(self) -> asyncio.AbstractEventLoop:
        return VirtualNetworkLoop()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Recognizer]:
        self.server = OpenAITranscriptionServer(*[TEXT] * 9, azure=self.azure)
        async with self.server.running():
            yield self.made(self.server, self.server.api_key)

    @asynccontextmanager
    async def failing(self) -> AsyncIterator[Recognizer]:
        server = OpenAITranscriptionServer(azure=self.azure)
        async with server.running():
            yield self.made(server, self.key)

    def made(self, server: OpenAITranscriptionServer, key: str) -> OpenAIRecognizer:
        where: dict[str, Any] = {"base_url": server.base_url, "api_key": key}
        if self.azure is not None:
            where = {"azure": AzureResource(server.base_url, api_key=key)}
        return OpenAIRecognizer(self.model, turn_detection=self.turn_detection, **where)

    async def cut(self) -> None:
        for session in self.server.sessions:
            await session.drop()


class TestOpenAIRecognizerThatTakesTurns(TestOpenAIRecognizer):
    model = "gpt-transcribe"
    turn_detection: Mapping[str, Any] | None = {"type": "server_vad", "silence_duration_ms": 300}
    azure = AzureGate()
