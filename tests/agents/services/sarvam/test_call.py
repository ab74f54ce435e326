"""A whole call of a voice agent that hears and speaks with Sarvam, in virtual time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mediaserver.agents.services import Text
from mediaserver.agents.services.sarvam.recognizer import SarvamRecognizer
from mediaserver.agents.services.sarvam.voice import SarvamVoice
from mediaserver.routes import Route, Routes
from mediaserver.testing import joined, run_virtual
from mediaserver.testing.sarvam import BulbulServer, SaarasServer
from mediaserver.testing.services import TimedModel, Timing
from tests.agents.scripted_call import Scripted, voice


LONG = "One two three four five six seven eight nine ten eleven twelve."


async def called() -> tuple[Any, list[tuple[str, str]], BulbulServer, SaarasServer]:
    agents: list[Any] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Any]:
        yield agents

    async with (
        BulbulServer(timing=Timing(0.15, 0.2)) as mouth,
        SaarasServer("What is up?", "Wait a moment, please.").running() as ears,
    ):
        settings = {
            "speech_to_text": SarvamRecognizer(
                "en-IN", base_url=ears.base_url, api_key=ears.api_key
            ),
            "language_model": TimedModel([LONG, "Of course."]),
            "text_to_speech": SarvamVoice("en-IN", base_url=mouth.base_url, api_key="key"),
            "greeting": "Hello there.",
        }
        async with joined(Routes(Route(Scripted, settings=settings), lifespan=lifespan)) as line:
            await line.phone.wait_until(2.0)
            line.phone.say(voice(1.0))
            began = await line.phone.wait_for_audio(after=3.2)
            await line.phone.wait_until(began + 1.0)
            line.phone.say(voice(1.2))
            await line.phone.wait_until(began + 6.0)
        assert mouth.refused == ears.refusals == []
    messages = agents[0].conversation.messages
    said = [(str(each.role), each.text) for each in messages if isinstance(each, Text)]
    return agents[0], said, mouth, ears


def test_two_turns_are_heard_and_answered_and_the_agent_is_interrupted() -> None:
    agent, said, mouth, ears = run_virtual(called())
    assert [text for role, text in said if role == "user"] == [
        "What is up?",
        "Wait a moment, please.",
    ]
    assert agent.barge_ins
    (_, greeting), _, (_, cut), _, (_, last) = said
    assert (greeting, last) == ("Hello there.", "Of course.")
    assert LONG.startswith(cut.rstrip("….") or "?")
    assert len(cut) < len(LONG)
    # Only what the caller said was heard, on one connection; the voice's was replaced.
    assert len(ears.sessions) == 1
    assert 2.0 < ears.sessions[0].seconds < 5.0
    interrupted = [each for each in mouth.sessions if each.received[-1]["type"] == "flush"]
    assert len(interrupted) >= 2
