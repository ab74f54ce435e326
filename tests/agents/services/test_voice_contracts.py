"""The voices with contexts keep the contract of voices."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mediaserver.agents.services import Voice
from mediaserver.agents.services.cartesia.voice import CartesiaVoice
from mediaserver.agents.services.elevenlabs.voice import ElevenLabsVoice
from mediaserver.agents.services.xai.voice import XAIVoice
from mediaserver.testing import VirtualTimeLoop
from mediaserver.testing.cartesia import CartesiaServer
from mediaserver.testing.contract import VoiceContract
from mediaserver.testing.elevenlabs import ElevenLabsServer
from mediaserver.testing.services import Timing
from mediaserver.testing.xai import XAIVoiceServer


class FromLocalServer(VoiceContract):
    __test__ = False

    served: type[ElevenLabsServer] | type[CartesiaServer] | type[XAIVoiceServer]
    voice: type[ElevenLabsVoice] | type[CartesiaVoice] | type[XAIVoice]

    def new_loop(self) -> asyncio.AbstractEventLoop:
        return VirtualTimeLoop()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Voice]:
        async with self.served(api_key=self.key, timing=Timing(0.1, 0.05)) as self.server:
            yield self.voice("anna", api_key=self.key, base_url=self.server.base_url)

    @asynccontextmanager
    async def failing(self) -> AsyncIterator[Voice]:
        async with self.served() as server:
            yield self.voice("anna", api_key=self.key, base_url=server.base_url)

    async def cut(self) -> None:
        for session in self.server.sessions:
            session.drop()


class TestElevenLabs(FromLocalServer):
    __test__ = True
    served = ElevenLabsServer
    voice = ElevenLabsVoice


class TestCartesia(FromLocalServer):
    __test__ = True
    served = CartesiaServer
    voice = CartesiaVoice


class TestXAI(FromLocalServer):
    __test__ = True
    served = XAIVoiceServer
    voice = XAIVoice
