"""Calls to agents of any services: a greeting, two turns, a tool, and an answer that is cut."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mediaserver import Stream, Turn
from mediaserver.agents import RealtimeAgent, TurnSettings, VoiceAgent, tool
from mediaserver.agents.conversing.agent import Agent
from mediaserver.agents.turns import LevelDetector
from mediaserver.routes import Route, Routes
from mediaserver.testing import joined
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
    """Hears and speaks by a realtime model."""


class WritingClerk(Clerk, VoiceAgent):
    """Thinks by a language model."""


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


def check_turns(turns: list[Turn]) -> None:
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
SPOKEN = [
    RealtimeAnswer(text="Hello there."),
    RealtimeAnswer(text="What can I do for you?"),
    RealtimeAnswer(calls=[CallTool("weather", {"town": "Rome"})]),
    RealtimeAnswer(text="It rains in Rome."),
    RealtimeAnswer(text=LONG),
    RealtimeAnswer(text="Sorry."),
]
"""What a realtime model answers in `converse`."""


async def check_writing(model: Any) -> None:
    """Have a language model, which answers in the same words, lead a call, and close it."""
    async with calling(
        WritingClerk,
        language_model=model,
        speech_to_text=TimedTranscription(HEARD),
        text_to_speech=TimedSpeech(),
    ) as (phone, agent):
        turns = await converse(phone, agent)
    await model.close()
    check_turns(turns)
