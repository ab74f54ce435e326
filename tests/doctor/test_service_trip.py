import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from audiocodecs import AudioFormat
from mediaserver.agents.services import ServiceError
from mediaserver.agents.services.known import KNOWN_SERVICES
from mediaserver.call import Frame
from mediaserver.doctor.service_trip import TripStage, service_trip, short_recording
from mediaserver.testing import in_virtual_time
from mediaserver.testing.anthropic import AnthropicServer
from mediaserver.testing.assemblyai import AssemblyAIServer
from mediaserver.testing.cartesia import CartesiaServer
from mediaserver.testing.deepgram import DeepgramServer
from mediaserver.testing.elevenlabs import ElevenLabsServer
from mediaserver.testing.gemini import GeminiLiveServer, GeminiServer
from mediaserver.testing.ink import InkServer
from mediaserver.testing.openai import OpenAIServer
from mediaserver.testing.openai.realtime import OpenAIRealtimeServer, OpenAITranscriptionServer
from mediaserver.testing.realtime_answers import RealtimeAnswer
from mediaserver.testing.sarvam import BulbulServer, SaarasServer
from mediaserver.testing.scribe import ScribeServer
from mediaserver.testing.services import TimedSpeech, TimedTranscription, Timing
from mediaserver.testing.xai import XAIRealtimeServer, XAIVoiceServer
from tests.agents.virtual_network import VirtualNetworkLoop


KEY = "a key"
VOICE = ["connect", "first audio", "whole audio"]
TEXT = ["first text", "whole answer"]
WORDS = ["connect", "first words", "final words"]


def known(name: str) -> Any:
    every = (each for provider in KNOWN_SERVICES.values() for each in provider.services)
    return next(each for each in every if each.name == name)


async def trip(service: Any) -> list[TripStage]:
    recording, _ = short_recording()
    return await service_trip(service, recording, asyncio.get_running_loop().time)


async def against(name: str, server: Any) -> list[TripStage]:
    running: AbstractAsyncContextManager[Any] = getattr(server, "running", lambda: server)()
    async with running:
        key = getattr(server, "api_key", KEY)
        return await trip(known(name).make(base_url=server.base_url, api_key=key))


def answering(server: type) -> Any:
    return server(RealtimeAnswer(text="Hello."))


TRIPS: list[tuple[str, Any, list[str]]] = [
    ("OpenAISpeech", lambda: OpenAIServer(api_key=KEY), ["prewarm", *VOICE[1:]]),
    ("OpenAITranscription", lambda: OpenAIServer(api_key=KEY), ["prewarm", *WORDS[2:]]),
    ("OpenAIChat", lambda: OpenAIServer(api_key=KEY), ["prewarm", *TEXT]),
    ("DeepgramVoice", DeepgramServer, VOICE),
    ("DeepgramRecognizer", lambda: DeepgramServer("Good morning."), WORDS),
    ("FluxRecognizer", lambda: DeepgramServer("Good morning."), WORDS),
    ("GeminiModel", GeminiServer, ["prewarm", *TEXT]),
    (
        "OpenAIRecognizer",
        lambda: OpenAITranscriptionServer("Good morning."),
        ["prewarm", *WORDS],
    ),
    (
        "OpenAIRealtime",
        lambda: answering(OpenAIRealtimeServer),
        ["prewarm", "connect", "first audio", "whole answer"],
    ),
    (
        "GeminiLive",
        lambda: answering(GeminiLiveServer),
        ["prewarm", "connect", "first audio", "whole answer"],
    ),
    ("ElevenLabsVoice", lambda: ElevenLabsServer(api_key=KEY), VOICE),
    ("ElevenLabsRecognizer", lambda: ScribeServer("Good morning."), WORDS),
    ("CartesiaVoice", lambda: CartesiaServer(api_key=KEY), VOICE),
    ("AssemblyAIRecognizer", lambda: AssemblyAIServer("Good morning."), WORDS),
    ("CartesiaRecognizer", lambda: InkServer("Good morning."), WORDS),
    ("InkTurnsRecognizer", lambda: InkServer("Good morning."), WORDS),
    ("XAIVoice", lambda: XAIVoiceServer(api_key=KEY), VOICE),
    (
        "XAIRealtime",
        lambda: answering(XAIRealtimeServer),
        ["prewarm", "connect", "first audio", "whole answer"],
    ),
    ("AnthropicModel", AnthropicServer, ["prewarm", *TEXT]),
    ("SarvamVoice", lambda: BulbulServer(api_key=KEY), VOICE),
    ("SarvamRecognizer", lambda: SaarasServer("Good morning."), WORDS),
]


def test_every_service_of_a_provider_is_here() -> None:
    providers = (made for made in KNOWN_SERVICES.values() if made.variable is not None)
    assert {each.name for made in providers for each in made.services} == {
        trip[0] for trip in TRIPS
    }


@pytest.mark.parametrize(("name", "make", "stages"), TRIPS)
def test_each_stage_of_a_known_service_is_measured(name: str, make: Any, stages: list[str]) -> None:
    with asyncio.Runner(loop_factory=VirtualNetworkLoop) as runner:
        told = runner.run(against(name, make()))
    assert [each.name for each in told] == stages
    assert all(0 <= each.seconds < 30 for each in told)
    assert told[-1].detail not in ("", "no words")


@in_virtual_time
async def test_the_times_are_those_of_the_service() -> None:
    first, whole = await trip(TimedSpeech(timing=Timing(0.5, 0.0)))
    assert first.seconds == pytest.approx(0.5)
    assert whole.seconds >= first.seconds


@in_virtual_time
async def test_final_words_are_timed_from_the_end_of_the_audio() -> None:
    (final,) = await trip(TimedTranscription(["good morning"], timing=Timing(0.25, 0.0)))
    assert final.seconds == pytest.approx(0.25)
    assert final.detail == '"good morning"'


class Mute:
    async def speak(self, text: str, format: AudioFormat) -> AsyncIterator[Frame]:
        for _ in text[:0]:
            yield Frame(b"", format)


class Stuck(Mute):
    closed = False

    async def speak(self, text: str, format: AudioFormat) -> AsyncIterator[Frame]:
        await asyncio.sleep(1000)
        yield Frame(b"", format)

    async def close(self) -> None:
        self.closed = True


@in_virtual_time
async def test_a_voice_without_audio_has_failed() -> None:
    with pytest.raises(ServiceError, match="Mute: it made no audio of a sentence"):
        await trip(Mute())


@in_virtual_time
async def test_a_service_that_hangs_has_failed_after_30_seconds_and_is_closed() -> None:
    service = Stuck()
    with pytest.raises(ServiceError, match="it was not done in 30 seconds"):
        await trip(service)
    assert service.closed


@in_virtual_time
async def test_what_is_no_service_is_told() -> None:
    with pytest.raises(TypeError, match="object is no service: it has none of the methods"):
        await trip(object())


def test_the_recording_is_a_tone_without_espeak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mediaserver.espeak", None)
    frames, is_speech = short_recording()
    assert not is_speech
    assert sum(each.seconds for each in frames) == pytest.approx(2.0)
