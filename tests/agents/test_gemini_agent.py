"""Whole calls to agents of Gemini's services, over their protocols, in virtual time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mediaserver import Stream, Turn
from mediaserver.agents import RealtimeAgent, TurnSettings, VoiceAgent, tool
from mediaserver.agents.conversing.agent import Agent
from mediaserver.agents.services.gemini.live import GeminiLive
from mediaserver.agents.services.gemini.model import GeminiModel
from mediaserver.agents.turns import LevelDetector
from mediaserver.routes import Route, Routes
from mediaserver.testing import joined
from mediaserver.testing.gemini import (
    GeminiLiveServer,
    GeminiServer,
    GeminiToolCall,
    answers,
)
from mediaserver.testing.realtime_answers import CallTool, RealtimeAnswer
from mediaserver.testing.services import TimedSpeech, TimedTranscription
from tests.agents.scripted_call import voice


class Clerk(Agent):
    """Greets, looks at the weather, and puts its turns where the test waits for them."""

    voice_detector = LevelDetector
    turn_taking = TurnSettings(end_of_turn=0.3, silence=None)
    silence_prompt = None
    greeting = "Hello there."

    async def __call__(self, stream: Stream) -> None:
        self.turns: asyncio.Queue[Turn] = asyncio.Queue()
        stream.shared.put_nowait(self)
        await super().__call__(stream)

    async def on_turn(self, turn: Turn) -> None:
        self.turns.put_nowait(turn)

    @tool
    async def weather(self, town: str) -> str:
        """Look at the weather in a town."""
        return f"rain in {town}"


class LiveClerk(Clerk, RealtimeAgent):
    """Hears and speaks by Gemini Live."""


class WritingClerk(Clerk, VoiceAgent):
    """Thinks by a model of Gemini's."""


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)


@asynccontextmanager
async def calling(kind: type[Clerk], **services: Any) -> AsyncIterator[Any]:
    agents: asyncio.Queue[Clerk] = asyncio.Queue()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Any]:
        yield agents

    routes = Routes(Route(kind, settings=services), lifespan=lifespan)
    async with asyncio.timeout(300), joined(routes) as line:
        yield line.phone, await agents.get()


LONG = "This is a very long story about a town in the north where it rains on every single day."


async def converse(phone: Any, agent: Clerk) -> list[Turn]:
    """Hear the greeting, ask twice, and interrupt the third answer."""
    turns = [await agent.turns.get()]
    for _ in range(2):
        phone.say(voice(0.6))
        turns.append(await agent.turns.get())
    phone.say(voice(0.6))
    begun = await phone.wait_for_audio(after=phone.time + 0.5)
    await phone.wait_until(begun + 1.0)
    phone.say(voice(0.6))
    turns.extend([await agent.turns.get(), await agent.turns.get()])
    return turns


def check(turns: list[Turn]) -> None:
    greeting, first, second, cut, last = turns
    assert (greeting.number, greeting.agent) == (0, "Hello there.")
    assert (first.caller, first.agent) == ("Hello?", "What can I do for you?")
    assert (second.caller, second.agent) == ("The weather in Rome?", "It rains in Rome.")
    assert [step.result for step in second.steps if step.kind == "tool"] == ["rain in Rome"]
    assert cut.interrupted
    assert 0 < len(cut.agent) < len(LONG)
    assert (last.caller, last.agent) == ("Stop.", "Sorry.")
    assert not any(turn.error for turn in turns)


HEARD = ["Hello?", "The weather in Rome?", "And in Oslo?", "Stop."]


@pytest.mark.parametrize("playback", [False, True])
async def test_a_call_with_gemini_live(playback: bool) -> None:
    server = GeminiLiveServer(
        RealtimeAnswer(text="Hello there."),
        RealtimeAnswer(text="What can I do for you?"),
        RealtimeAnswer(calls=[CallTool("weather", {"town": "Rome"})]),
        RealtimeAnswer(text="It rains in Rome."),
        RealtimeAnswer(text=LONG),
        RealtimeAnswer(text="Sorry."),
        transcripts=HEARD,
        playback=playback,
    )
    async with server.running():
        model = GeminiLive(base_url=server.base_url, api_key=server.api_key)
        async with calling(LiveClerk, model=model) as (phone, agent):
            turns = await converse(phone, agent)
        await model.close()
    check(turns)
    (note,) = server.of_type("text")
    assert "heard only the first" in note
    assert server.refusals == []


async def test_a_call_goes_on_over_another_connection() -> None:
    server = GeminiLiveServer(
        RealtimeAnswer(text="Hello there."),
        RealtimeAnswer(text="What can I do for you?"),
        RealtimeAnswer(text="It rains in Rome."),
        RealtimeAnswer(text="Bye."),
        transcripts=["Hello?", "The weather in Rome?", "Thanks."],
    )
    async with server.running():
        model = GeminiLive(base_url=server.base_url, api_key=server.api_key)
        async with calling(LiveClerk, model=model) as (phone, agent):
            await agent.turns.get()
            phone.say(voice(0.6))
            await agent.turns.get()
            await server.sessions[0].go_away(10)
            await server.wait_for("setup", 2)
            phone.say(voice(0.6))
            await phone.wait_until(phone.time + 0.4)
            await server.sessions[1].drop()
            second = await agent.turns.get()
            phone.say(voice(0.6))
            third = await agent.turns.get()
        await model.close()
    assert (second.caller, second.agent) == ("The weather in Rome?", "It rains in Rome.")
    assert (third.caller, third.agent) == ("Thanks.", "Bye.")
    assert second.error is third.error is None
    assert len(server.sessions) == 3
    assert server.sessions[-1].turns[-6:-2] == [
        ("user", "Hello?"),
        ("model", "What can I do for you?"),
        ("user", "The weather in Rome?"),
        ("model", "It rains in Rome."),
    ]
    assert server.refusals == []


async def test_a_call_with_a_language_model_of_geminis() -> None:
    async with GeminiServer(signed=True) as server:
        server.generate.will(
            answers("What can I ", "do for you?"),
            answers(calls=[GeminiToolCall("weather", {"town": "Rome"}, signature="c2ln")]),
            answers("It rains in Rome."),
            answers(LONG),
            answers("Sorry."),
        )
        model = GeminiModel(base_url=server.base_url, api_key=server.api_key)
        async with calling(
            WritingClerk,
            language_model=model,
            speech_to_text=TimedTranscription(HEARD),
            text_to_speech=TimedSpeech(),
        ) as (phone, agent):
            turns = await converse(phone, agent)
        await model.close()
        check(turns)
        assert server.refused == []
        first, *_, last = (each.params["contents"] for each in server.generate.received)
    assert [part["text"] for content in first for part in content["parts"]] == [
        "Hello there.",
        "Hello?",
    ]
    signed = [part for content in last for part in content["parts"] if "functionCall" in part]
    assert [part["thoughtSignature"] for part in signed] == ["c2ln"]
