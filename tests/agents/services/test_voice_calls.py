"""Whole calls of a voice agent whose voice has the times of words, in virtual time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mediaserver.agents.services import Text
from mediaserver.agents.services.elevenlabs.voice import ElevenLabsVoice
from mediaserver.agents.services.xai.voice import XAIVoice
from mediaserver.routes import Route, Routes
from mediaserver.testing import joined, run_virtual
from mediaserver.testing.elevenlabs import ElevenLabsServer
from mediaserver.testing.services import WORD_SECONDS, TimedModel, TimedTranscription, Timing
from mediaserver.testing.xai import XAIVoiceServer
from tests.agents.scripted_call import Scripted
from tests.agents.scripted_call import voice as caller_voice


UNEVEN = "Extraordinarily, I do go to it as we see."
"""By their letters, the first word would be heard for a third of the time; it is a ninth."""


async def called(
    served: Any, voice: Any, barge_in: float, **more: Any
) -> tuple[list[tuple[str, str]], float]:
    """Return what was said, and the seconds of the first answer until the caller interrupted it."""
    agents: list[Any] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Any]:
        yield agents

    async with served(timing=Timing(0.15, 0.05)) as server:
        settings = {
            "speech_to_text": TimedTranscription(["Go on.", "Stop it."]),
            "language_model": TimedModel([UNEVEN, "All right then."]),
            "text_to_speech": voice("anna", api_key="key", base_url=server.base_url),
            "greeting": "Hello there, caller.",
            **more,
        }
        async with joined(Routes(Route(Scripted, settings=settings), lifespan=lifespan)) as line:
            await line.phone.wait_until(2.5)
            line.phone.say(caller_voice(1.0))
            began = await line.phone.wait_for_audio(after=3.6)
            await line.phone.wait_until(began + barge_in)
            line.phone.say(caller_voice(1.0))
            await line.phone.wait_until(began + 7.0)
            report = line.phone.report()
        assert not server.refused
    messages = agents[0].conversation.messages
    said = [(str(each.role), each.text) for each in messages if isinstance(each, Text)]
    _, (start, end), _ = report.agent_speech
    return said, end - start


both = pytest.mark.parametrize(
    ("served", "voice"),
    [(ElevenLabsServer, ElevenLabsVoice), (XAIVoiceServer, XAIVoice)],
    ids=["elevenlabs", "xai"],
)


@both
@pytest.mark.parametrize("barge_in", [0.5, 1.1, 1.75])
def test_an_interrupted_answer_has_exactly_the_words_whose_times_were_reached(
    served: Any, voice: Any, barge_in: float
) -> None:
    said, seconds = run_virtual(called(served, voice, barge_in))
    count = int(seconds / WORD_SECONDS) + 1
    assert said == [
        ("assistant", "Hello there, caller."),
        ("user", "Go on."),
        ("assistant", " ".join(UNEVEN.split()[:count])),
        ("user", "Stop it."),
        ("assistant", "All right then."),
    ]


@both
def test_words_that_are_said_before_their_sentence_is_complete_are_known_as_well(
    served: Any, voice: Any
) -> None:
    slow = TimedModel([UNEVEN, "All right then."], timing=Timing(0.1, 0.05))
    more = {"language_model": slow, "speak_after": 0.15}
    said, seconds = run_virtual(called(served, voice, 1.1, **more))
    words = UNEVEN.split()[: int(seconds / WORD_SECONDS) + 1]
    assert 2 < len(words) < 9
    assert said[2] == ("assistant", " ".join(words))
