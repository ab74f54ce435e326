import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from audiocodecs import Samples
from mediaserver import Handler
from mediaserver.agents import TurnSettings, Utterance
from mediaserver.agents.conversing.reply import Reply
from mediaserver.agents.services import ServiceError, SpeechToText, Text, ToolSpec, Transcript
from mediaserver.agents.services.scripted import ScriptedModel
from mediaserver.demo.agent import RULES, Receptionist
from mediaserver.demo.moment import Moment
from mediaserver.demo.scene import CHANGE, OFFER, REQUEST, Scene
from mediaserver.demo.verdict import CallFigures, find, judge, words
from mediaserver.espeak import speak
from mediaserver.sandbox import CallReport


@pytest.fixture
def failures(perform: Callable[..., Any]) -> Callable[..., Any]:
    """Play the scene with an agent, and return what went wrong by what should have happened."""

    def failures(
        handler: type[Any] | type[Handler] | None = None, **settings: Any
    ) -> dict[str, str]:
        scene, _, report = perform(handler, **settings)
        return wrong(report, scene)

    return failures


def wrong(report: CallReport, scene: Scene) -> dict[str, str]:
    return {check.name: check.found for check in judge(report, scene) if not check.passed}


@pytest.fixture
def changed(performed: tuple[Scene, list[Moment], CallReport]) -> Callable[..., Any]:
    """Change the report of the scene as it should be, and return what is wrong now."""
    scene, _, report = performed
    return lambda **changes: wrong(replace(report, **changes), scene)


def test_the_scene_as_it_should_be_passes(changed: Callable[..., Any]) -> None:
    assert changed() == {}


def test_figures_of_a_good_call(performed: tuple[Scene, list[Moment], CallReport]) -> None:
    _, _, report = performed
    figures = CallFigures.of(report)
    assert 0 < (figures.first_audio or 0) < 0.2
    assert 1.4 < (figures.reply or 0) < 1.6
    assert 0 < (figures.silence or 0) <= 0.2
    assert 0 < (figures.nod_silence or 0) <= 0.2
    assert figures.gaps == 0.0
    assert figures.call == report.duration


def test_an_agent_that_says_nothing(failures: Callable[..., Any]) -> None:
    found = failures(Handler)
    assert found["the greeting is heard whole"].endswith(" 0 % alike")
    assert found["the request is understood"] == "as \u201c\u201d"
    assert found["a tool is used"] == "nothing was"
    assert found["replies come soon"] == "it did not happen"
    assert found["the interruption silences it"] == "it did not happen"
    assert found["it remembers what was heard"] == "it was not interrupted in its answer"
    assert found["\u201cOkay.\u201d only pauses it"] == "it did not pause"
    assert found["the agent hangs up within 60 s"] == "60.0 s, ended by the caller"


def test_half_a_greeting(failures: Callable[..., Any]) -> None:
    class Short(Receptionist):
        async def utter(self, reply: Reply, text: str) -> None:
            await super().utter(reply, text.split(",")[0] if text == self.greeting else text)

    assert set(failures(Short)) == {"the greeting is heard whole"}


class Misheard:
    """Hears what it should, but for one sentence."""

    def __init__(self, speech_to_text: SpeechToText, sentence: str, heard: str) -> None:
        self.inner = speech_to_text
        self.sentence = sentence
        self.heard = heard

    async def transcribe(self, speech: Utterance) -> AsyncIterator[Any]:
        async for transcript in self.inner.transcribe(speech):
            text = self.heard if transcript.text == self.sentence else transcript.text
            yield Transcript(text, final=transcript.final)


def test_an_agent_that_hears_badly(failures: Callable[..., Any], scene: Any) -> None:
    wrongly = REQUEST.replace("eight", "nine")
    found = failures(speech_to_text=Misheard(scene.speech_to_text, REQUEST, wrongly))
    assert found["the request is understood"] == f"as \u201c{wrongly}\u201d"
    assert found["a tool is used"] == "find_table(two, nine)"


def test_an_agent_that_uses_no_tool(failures: Callable[..., Any]) -> None:
    model = ScriptedModel([("table for", OFFER), *RULES[1:]])
    found = failures(language_model=model)
    assert found["a tool is used"] == "nothing was"


def test_an_agent_that_takes_its_time(failures: Callable[..., Any]) -> None:
    found = failures(turn_taking=TurnSettings(end_of_turn=3.0))
    assert "more than 3000" in found["replies come soon"]


def test_an_agent_that_does_not_let_itself_be_interrupted(failures: Callable[..., Any]) -> None:
    found = failures(barge_in="notify")
    assert "the interruption silences it" in found
    assert "\u201cOkay.\u201d only pauses it" in found


def test_an_agent_that_takes_a_nod_for_an_interruption(failures: Callable[..., Any]) -> None:
    found = failures(barge_in="at_once")
    assert set(found) >= {"\u201cOkay.\u201d only pauses it"}


def test_an_agent_that_remembers_more_than_was_heard(failures: Callable[..., Any]) -> None:
    class Boaster(Receptionist):
        def settle(self, reply: Reply) -> None:
            super().settle(reply)
            if reply.interrupted and reply.heard:
                self.conversation.say().text = OFFER

    assert "it remembers what was heard" in failures(Boaster)


def test_an_agent_that_goes_back_to_the_beginning_after_a_nod(failures: Callable[..., Any]) -> None:
    class Stammerer(Receptionist):
        async def on_barge_in(self, confirmed: bool) -> None:
            await super().on_barge_in(confirmed)
            if not confirmed:
                self.interrupt()

    assert "\u201cOkay.\u201d only pauses it" in failures(Stammerer)


def test_a_service_that_fails(failures: Callable[..., Any]) -> None:
    class Broken:
        async def respond(
            self, conversation: list[Text], tools: tuple[ToolSpec, ToolSpec]
        ) -> AsyncIterator[Any]:
            if conversation:
                raise ServiceError("language_model", "it has gone home")
            yield

    found = failures(language_model=Broken())
    assert "it has gone home" in found["no service fails"]


def test_an_agent_that_does_not_hang_up(failures: Callable[..., Any]) -> None:
    found = failures(can_hang_up=False, silence_prompt=None)
    assert found["the agent hangs up within 60 s"] == "60.0 s, ended by the caller"


def test_an_agent_that_stutters(failures: Callable[..., Any]) -> None:
    class Stutterer(Receptionist):
        async def on_start(self) -> None:
            clip = speak("Good evening.")
            for piece in np.array_split(clip.samples, 4):
                await self.stream.play(piece, rate=clip.rate)
                await asyncio.sleep(len(piece) / clip.rate + 0.1)

    assert "the agent's audio has no gaps" in failures(Stutterer)


def test_the_phones_own_lateness_is_allowed_for_and_told(changed: Callable[..., Any]) -> None:
    assert changed(sender_lateness=0.3, gap_seconds=0.1) == {
        "the agent's audio has no gaps": "100 ms; the phone was up to 300 ms late itself"
    }


def test_what_the_phone_objects_to_is_told(changed: Callable[..., Any]) -> None:
    found = changed(errors={"unknown command 'sing'": 2}, warnings={"no stream id": 1})
    assert found == {"the phone has no objections": "unknown command 'sing' (2); no stream id (1)"}


def test_who_ended_the_call_and_why_is_told(changed: Callable[..., Any]) -> None:
    found = changed(ended_by="server", close_code=1011, close_reason="the handler failed")
    assert list(found) == ["the agent hangs up within 60 s"]
    assert "code 1011: the handler failed" in found["the agent hangs up within 60 s"]


def test_without_a_recording_nothing_was_heard(changed: Callable[..., Any]) -> None:
    assert "the greeting is heard whole" in changed(recording=None)


def test_words_are_compared_without_case_and_punctuation() -> None:
    assert words(CHANGE) == words("no wait make that four")
    assert words(CHANGE) != words("no wait make that five")


@pytest.fixture(scope="module")
def clip() -> Samples:
    return speak("Fox.").samples


@given(gain=st.floats(0.1, 1.0), before=st.integers(0, 5000), after=st.integers(0, 5000))
def test_a_clip_is_found_however_loud_and_late(
    clip: Samples, gain: float, before: int, after: int
) -> None:
    heard = np.pad((clip * gain).astype(np.int16), (before, after))
    start, alike = find(heard, clip)
    assert start == before
    assert alike > 0.99


def test_other_words_are_unlike() -> None:
    first, second = (speak(text).samples for text in ("Good evening, everybody.", "Thank you."))
    assert find(first, second)[1] < 0.5


def test_silence_is_like_nothing(clip: Samples) -> None:
    assert find(np.zeros(len(clip), np.int16), clip) == (0, 0.0)
    assert find(clip, clip[:0]) == (0, 0.0)
    assert find(clip[:100], clip) == (0, 0.0)
