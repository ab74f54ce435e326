"""Whole conversations with nothing set: the default detector, and voices like those of people."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from audiocodecs import Samples, resample
from mediaserver import Stream, Turn
from mediaserver.agents import VoiceAgent
from mediaserver.agents.conversing.phrases import PHRASE_CACHE
from mediaserver.agents.services import Text
from mediaserver.agents.services.espeak import EspeakSpeech
from mediaserver.espeak import speak
from mediaserver.routes import Route, Routes
from mediaserver.sandbox import CallReport, Phone
from mediaserver.testing import joined, run_virtual
from mediaserver.testing.services import TimedModel, TimedTranscription


GREETING = "Hello, this is the bicycle shop. How can I help you today?"
STORY = (
    "We have three tandems, and all of them are free on Saturday. They cost forty dollars a day, "
    "and you can bring them back on Sunday morning, when we open at nine."
)


class Asked(VoiceAgent):
    """Keeps its turns."""

    greeting = GREETING

    async def __call__(self, stream: Stream) -> None:
        stream.shared.append(self)
        self.turns: list[Turn] = []
        self.barge_ins: list[bool] = []
        await super().__call__(stream)

    async def on_turn(self, turn: Turn) -> None:
        self.turns.append(turn)

    async def on_barge_in(self, confirmed: bool) -> None:
        self.barge_ins.append(confirmed)


def says(text: str) -> Samples:
    """Somebody else's voice, at the telephone's rate."""
    spoken = speak(text, "en-gb-x-rp", words_per_minute=150)
    return resample(spoken.samples, spoken.rate, 8000)


def cough() -> Samples:
    """A burst of noise that rises at once and falls within 0.3 s; synthetic."""
    noise = np.random.default_rng(1).normal(0, 1, 2400)
    envelope = np.exp(-np.arange(2400) / 500)
    return (12_000 * noise * envelope).clip(-32_768, 32_767).astype(np.int16)


def call(script: Callable[..., Any], *, hears: list[str], answers: list[str]) -> Any:
    agents: list[Any] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Any]:
        yield agents

    async def main() -> CallReport:
        settings = {
            "speech_to_text": TimedTranscription(hears),
            "language_model": TimedModel(answers),
            "text_to_speech": EspeakSpeech(),
        }
        routes = Routes(Route(Asked, settings=settings), lifespan=lifespan)
        async with joined(routes) as line:
            await script(line.phone)
            return line.phone.report()

    PHRASE_CACHE._kept.clear()
    report = run_virtual(main())
    (agent,) = agents
    said = [(m.role, m.text) for m in agent.conversation.messages if isinstance(m, Text)]
    return agent, said, report


def test_a_greeting_a_turn_and_a_barge_in() -> None:
    async def script(phone: Phone) -> None:
        await phone.wait_for_audio()
        await phone.wait_for_silence(1.5)
        asked = phone.time
        phone.say(says("Do you have a tandem for the weekend?"))
        began = await phone.wait_for_audio(after=asked)
        await phone.wait_until(began + 3.0)
        phone.say(says("Wait a moment, I only want to know the price."))
        await phone.wait_for_audio(after=began + 3.0)
        await phone.wait_for_silence(2.0)

    agent, said, report = call(
        script,
        hears=["Do you have a tandem?", "Wait, what is the price?"],
        answers=[STORY, "Forty dollars."],
    )
    assert [role for role, _ in said] == ["assistant", "user", "assistant", "user", "assistant"]
    assert said[0][1] == GREETING
    heard = said[2][1]
    assert STORY.startswith(heard)
    assert 20 < len(heard) < 80
    assert said[3:] == [("user", "Wait, what is the price?"), ("assistant", "Forty dollars.")]
    assert [turn.interrupted for turn in agent.turns] == [False, True, False]
    assert agent.barge_ins == [True]
    (silence,) = [each.seconds for each in report.interrupts]
    assert silence <= 0.3


def test_a_cough_makes_the_agent_pause_at_most() -> None:
    async def script(phone: Phone) -> None:
        began = await phone.wait_for_audio()
        await phone.wait_until(began + 1.5)
        phone.say(cough())
        await phone.wait_spoken()
        await phone.wait_for_silence(2.5)

    agent, said, report = call(script, hears=[""], answers=["Never said."])
    assert said == [("assistant", GREETING)]
    assert [turn.interrupted for turn in agent.turns] == [False]
    assert True not in agent.barge_ins
    whole = resample(*_whole(GREETING), 8000)
    assert report.audio_played >= len(whole) / 8000 - 0.1


def test_who_talks_over_the_greeting_is_answered() -> None:
    async def script(phone: Phone) -> None:
        began = await phone.wait_for_audio()
        await phone.wait_until(began + 0.8)
        phone.say(says("Good morning, do you have a tandem for the weekend?"))
        await phone.wait_for_audio(after=began + 0.8)
        await phone.wait_for_silence(2.0)

    agent, said, _ = call(script, hears=["A tandem, please."], answers=["We have three."])
    assert GREETING.startswith(said[0][1])
    assert len(said[0][1]) < len(GREETING) / 2
    assert said[1:] == [("user", "A tandem, please."), ("assistant", "We have three.")]
    assert agent.turns[0].interrupted


def _whole(text: str) -> tuple[Samples, int]:
    spoken = EspeakSpeech()._say(text).wav
    return spoken.samples, spoken.rate
