"""Whole calls to a `VoiceAgent` of OpenAI's services, over their protocols, while these fail."""

import asyncio
import math
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest

from audiocodecs import L16_24K, MULAW_8K
from mediaserver import Stream, Turn
from mediaserver.agents import TurnSettings, VoiceAgent
from mediaserver.agents.services.openai.chat import OpenAIChat
from mediaserver.agents.services.openai.speech import OpenAISpeech
from mediaserver.agents.services.openai.transcription import OpenAITranscription
from mediaserver.agents.turns import LevelDetector
from mediaserver.routes import Route, Routes
from mediaserver.sandbox import CallReport, Phone
from mediaserver.testing import joined
from mediaserver.testing.openai import (
    Disconnect,
    Hold,
    HttpReply,
    OpenAIServer,
    fails,
    hears,
    says,
    speaks,
    streams,
)
from mediaserver.testing.replies import Received


QUICK: dict[str, Any] = {"first_timeout": 0.2, "stall_timeout": 0.2}
SOUND = b"\x90"
APOLOGY = "So sorry."


class Talking(VoiceAgent):
    """Puts its turns where the test waits for them."""

    voice_detector = LevelDetector
    turn_taking = TurnSettings(end_of_turn=0.1, silence=None)
    silence_prompt = None
    goodbye = "Bye."
    apology = APOLOGY

    async def __call__(self, stream: Stream) -> None:
        stream.shared.put_nowait(self)
        self.turns: asyncio.Queue[Any] = asyncio.Queue()
        await super().__call__(stream)

    async def on_turn(self, turn: Turn) -> None:
        self.turns.put_nowait(turn)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)


@asynccontextmanager
async def calling(
    server: OpenAIServer, *, response_format: Any = "mulaw", **settings: Any
) -> AsyncIterator[Any]:
    """Call an agent whose services are on `server`."""
    quick = {"base_url": server.base_url, "max_retries": 0, **QUICK}
    services: dict[str, Any] = {
        "speech_to_text": OpenAITranscription(stream=True, **quick),
        "language_model": OpenAIChat("any", **quick),
        "text_to_speech": OpenAISpeech("ann", response_format=response_format, **quick),
    }

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Any]:
        yield agents

    agents: asyncio.Queue[Any] = asyncio.Queue()
    routes = Routes(Route(Talking, settings={**services, **settings}), lifespan=lifespan)
    async with AsyncExitStack() as stack:
        for service in services.values():
            stack.push_async_callback(service.close)
        line = await stack.enter_async_context(joined(routes))
        yield line.phone, await agents.get()


def asked(phone: Phone) -> None:
    """Have the caller say something."""
    times = np.arange(1600) / 8000
    phone.say((8000 * np.sin(2 * np.pi * 220 * times)).astype(np.int16))


async def two_turns(server: OpenAIServer) -> tuple[Turn, Turn, CallReport]:
    async with calling(server) as (phone, agent):
        asked(phone)
        first = await agent.turns.get()
        asked(phone)
        return first, await agent.turns.get(), phone.report()


def spoken(
    fault: Callable[..., Any] | HttpReply | None = None,
    pieces: list[bytes] | tuple[bytes, bytes] = (SOUND * 400, SOUND * 400),
) -> Callable[..., Any]:
    """Speak everything, but fail at what begins with "Words"."""

    def answer(request: Received) -> HttpReply:
        if fault is not None and request.params["input"].startswith("Words"):
            return fault if isinstance(fault, HttpReply) else fault(request)
        speaking: Any = speaks(*pieces)
        return cast(HttpReply, speaking(request))

    return answer


def levels(report: CallReport) -> set[int]:
    """Return which samples the caller heard."""
    assert report.recording is not None
    return set(np.unique(report.recording[:, 1]).tolist())


def pure() -> set[int]:
    return {0, *MULAW_8K.decode(SOUND).tolist()}


CHAT_FAULTS: dict[str, tuple[Callable[[], Any], str]] = {
    "slow first byte": (lambda: HttpReply([Hold()], "text/event-stream"), "no answer within 0.2 s"),
    "stall": (lambda: says("Words to", Hold()), "stopped, and did not go on within 0.2 s"),
    "disconnect": (lambda: says("Words to", Disconnect()), "openai_chat"),
    "401": (lambda: fails(401), "401"),
    "429": (lambda: fails(429, retry_after=60), "429"),
    "malformed event": (lambda: streams("{no json"), "openai_chat"),
    "no answer at all": (lambda: HttpReply([b"<html>"], "text/html"), "openai_chat"),
}


@pytest.mark.parametrize("fault", CHAT_FAULTS)
async def test_a_model_that_fails_is_apologised_for_and_the_call_recovers(fault: str) -> None:
    answer, reason = CHAT_FAULTS[fault]
    async with OpenAIServer(dialect="groq") as server:
        server.chat.will(answer(), says("Here I am."))
        server.speech.answer = spoken()
        first, second, report = await two_turns(server)
    assert first.error is not None
    assert first.agent.endswith(APOLOGY)
    assert (second.error, second.agent) == (None, "Here I am.")
    assert levels(report) == pure()
    assert server.refused == []
    assert re.search(reason, first.error)


TRANSCRIPTION_FAULTS: dict[str, Callable[[], Any]] = {
    "slow first byte": lambda: hears("Hello.", pieces=[Hold()]),
    "stall": lambda: hears("Hello.", pieces=["Hel", Hold()]),
    "disconnect": lambda: hears("Hello.", pieces=["Hel", Disconnect()]),
    "401": lambda: fails(401),
    "429": lambda: fails(429),
    "malformed event": lambda: streams("{no json"),
}


@pytest.mark.parametrize("fault", TRANSCRIPTION_FAULTS)
async def test_a_recogniser_that_fails_is_apologised_for_and_the_call_recovers(fault: str) -> None:
    async with OpenAIServer(dialect="groq") as server:
        server.transcription.will(TRANSCRIPTION_FAULTS[fault](), hears("Hello again."))
        server.chat.will(says("Here I am."))
        server.speech.answer = spoken()
        first, second, report = await two_turns(server)
    assert first.error is not None
    assert (first.caller, first.agent) == ("", APOLOGY)
    assert (second.caller, second.agent) == ("Hello again.", "Here I am.")
    assert levels(report) == pure()


SPEECH_FAULTS: dict[str, Callable[[], Any]] = {
    "slow first byte": lambda: speaks(Hold()),
    "stall": lambda: speaks(SOUND * 400, Hold()),
    "disconnect": lambda: speaks(SOUND * 400, Disconnect()),
    "401": lambda: fails(401),
    "429": lambda: fails(429),
    "no audio": lambda: HttpReply([b"<html>"], "text/html"),
    "nothing": lambda: speaks(b""),
}


@pytest.mark.parametrize("fault", SPEECH_FAULTS)
async def test_a_voice_that_fails_is_apologised_for_and_never_heard_as_noise(fault: str) -> None:
    async with OpenAIServer(dialect="groq") as server:
        server.chat.will(says("Words to say now."), says("Here I am."))
        server.speech.answer = spoken(SPEECH_FAULTS[fault]())
        first, second, report = await two_turns(server)
    assert first.error is not None
    assert first.agent.endswith(APOLOGY)
    assert "now" not in first.agent
    assert (second.error, second.agent) == (None, "Here I am.")
    assert levels(report) == pure()


async def test_without_an_apology_the_caller_hears_silence() -> None:
    async with OpenAIServer(dialect="groq") as server:
        server.chat.will(fails(429))
        async with calling(server, apology=None) as (phone, agent):
            asked(phone)
            turn = await agent.turns.get()
            report = phone.report()
    assert "429" in turn.error
    assert report.audio_played == 0


async def test_the_call_ends_when_too_many_turns_have_failed() -> None:
    async with OpenAIServer(dialect="groq") as server:
        server.chat.answer = fails(401)
        server.speech.answer = spoken()
        async with calling(server, failures_allowed=1) as (phone, agent):
            asked(phone)
            await agent.turns.get()
            asked(phone)
            await phone.wait_closed()
            report = phone.report()
    assert report.ended_by == "server"
    assert agent.conversation.messages[-1].text.endswith("Bye.")
    assert levels(report) == pure()


async def test_audio_in_odd_pieces_is_heard_as_it_was_meant() -> None:
    times = np.arange(24_000) / 24_000
    tone = L16_24K.encode((8000 * np.sin(2 * np.pi * 300 * times)).astype(np.int16))
    sizes = [1, 3, 2, 7, 1001, 4999, 5, 17]
    cuts = [0, *np.cumsum(sizes).tolist(), len(tone)]
    pieces = [tone[a:b] for a, b in pairwise(cuts)]
    async with OpenAIServer() as server:
        server.chat.will(says("Words to say."))
        server.speech.answer = spoken(pieces=pieces)
        async with calling(server, response_format="pcm", apology=None) as (
            phone,
            agent,
        ):
            asked(phone)
            turn = await agent.turns.get()
            heard = phone.report().recording[:, 1].astype(float)
    assert (turn.error, turn.agent) == (None, "Words to say.")
    # What is cut in the middle of a sample jumps all over the range.
    steepest = 8000 * 2 * math.pi * 300 / 8000
    assert np.abs(np.diff(heard)).max() < 1.5 * steepest
    assert np.abs(heard).max() == pytest.approx(8000, rel=0.1)
