"""The project's own services keep the contract that services of others are tested by."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from mediaserver.agents.conversing.transcribing import UtteranceRecognizer
from mediaserver.agents.services import RealtimeModel, Recognizer, SpeechToText, TextToSpeech
from mediaserver.agents.services.openai.chat import OpenAIChat
from mediaserver.agents.services.openai.realtime import OpenAIRealtime
from mediaserver.agents.services.openai.speech import OpenAISpeech
from mediaserver.agents.services.openai.transcription import OpenAITranscription
from mediaserver.agents.services.scripted import Rule, ScriptedModel, Use
from mediaserver.testing.contract import (
    LanguageModelContract,
    RealtimeModelContract,
    RecognizerContract,
    SpeechToTextContract,
    TextToSpeechContract,
)
from mediaserver.testing.openai import ChatToolCall, OpenAIServer, fails, says
from mediaserver.testing.openai.realtime import OpenAIRealtimeServer, RealtimeAnswer
from mediaserver.testing.realtime import ScriptedRealtime
from mediaserver.testing.recognizer import ToneRecognizer
from mediaserver.testing.services import TimedModel, TimedSpeech, TimedTranscription
from tests.agents.virtual_network import VirtualNetworkLoop


class InVirtualTime:
    def new_loop(self) -> asyncio.AbstractEventLoop:
        return VirtualNetworkLoop()


class FromOpenAI(InVirtualTime):
    """Services of OpenAI's HTTP protocol: `kind` with a server that works, and one that refuses."""

    kind: Any
    key: str

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Any]:
        async with OpenAIServer(api_key=self.key) as self.server:
            yield self.kind(base_url=self.server.base_url, api_key=self.key, max_retries=0)

    @asynccontextmanager
    async def failing(self) -> AsyncIterator[Any]:
        async with OpenAIServer() as server:
            reply = fails(401, f"Incorrect API key provided: {self.key}")
            server.chat.answer = server.speech.answer = server.transcription.answer = reply
            yield self.kind(base_url=server.base_url, api_key=self.key, max_retries=0)


class TestOpenAITranscription(FromOpenAI, SpeechToTextContract):
    kind = OpenAITranscription


class TestOpenAISpeech(FromOpenAI, TextToSpeechContract):
    kind = OpenAISpeech


class TestOpenAIChat(FromOpenAI, LanguageModelContract):
    kind = staticmethod(partial(OpenAIChat, "any"))

    @asynccontextmanager
    async def calling(self) -> AsyncIterator[Any]:
        async with self.opened() as service:
            self.server.chat.will(says(calls=[ChatToolCall("weather", '{"town": "Bonn"}')]))
            yield service


class TestOpenAIRealtime(InVirtualTime, RealtimeModelContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[RealtimeModel]:
        self.server = OpenAIRealtimeServer(*[RealtimeAnswer(text="Good morning to you.")] * 9)
        async with self.server.running():
            yield OpenAIRealtime(base_url=self.server.base_url, api_key=self.server.api_key)

    @asynccontextmanager
    async def failing(self) -> AsyncIterator[RealtimeModel]:
        server = OpenAIRealtimeServer(refuse=(401, 9))
        async with server.running():
            yield OpenAIRealtime(base_url=server.base_url, api_key=self.key)

    async def cut(self) -> None:
        await self.server.sessions[-1].drop()


class TestScriptedModel(InVirtualTime, LanguageModelContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[ScriptedModel]:
        yield ScriptedModel(otherwise="I see. 🙂", first=0.1, between=0.05)

    @asynccontextmanager
    async def calling(self) -> AsyncIterator[ScriptedModel]:
        yield ScriptedModel([Rule("", use=Use("weather", {"town": "Bonn"}))])


class TestTimedModel(InVirtualTime, LanguageModelContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[TimedModel]:
        yield TimedModel(["I see, indeed."] * 9)


class TestTimedTranscription(InVirtualTime, SpeechToTextContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[SpeechToText]:
        yield TimedTranscription(["I see, indeed."] * 9, partial_every=0.3)


class TestTimedSpeech(InVirtualTime, TextToSpeechContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[TextToSpeech]:
        yield TimedSpeech()


class TestScriptedRealtime(InVirtualTime, RealtimeModelContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[RealtimeModel]:
        yield ScriptedRealtime(["Good morning to you."] * 9)


class TestEspeak(InVirtualTime, TextToSpeechContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[TextToSpeech]:
        pytest.importorskip("espeakng_loader")
        from mediaserver.agents.services.espeak import EspeakSpeech

        yield EspeakSpeech()


class TestPocketSphinx(InVirtualTime, SpeechToTextContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[SpeechToText]:
        pytest.importorskip("pocketsphinx")
        from mediaserver.agents.services.pocketsphinx import PocketSphinxTranscription

        yield PocketSphinxTranscription(["a table for four"])


class TestToneRecognizer(InVirtualTime, RecognizerContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Recognizer]:
        self.recognizer = ToneRecognizer(["yes", "no"], may_after=0.1, finished_after=0.2)
        yield self.recognizer

    async def cut(self) -> None:
        self.recognizer.sessions[-1].lose()


class TestUtteranceRecognizer(InVirtualTime, RecognizerContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Recognizer]:
        yield UtteranceRecognizer(TimedTranscription(["I see."] * 9), patience=3.0)
