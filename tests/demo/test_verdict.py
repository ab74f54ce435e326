import asyncio
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from mediaserver import Frame, Handler
from mediaserver.agents import Parrot
from mediaserver.demo.scene import PAUSE
from mediaserver.demo.verdict import Figures, judge, likeness
from mediaserver.sandbox.espeak import speak


@pytest.fixture
def parrot(scene):
    """The right agent, to do something wrong in a subclass."""

    class ScenesParrot(Parrot):
        def __init__(self):
            super().__init__(scene.greeting, pause=PAUSE)

    return ScenesParrot


@pytest.fixture
def failures(perform, scene):
    """Play the scene with an agent, and return what went wrong by what should have happened."""

    def failures(handler=None, **changes):
        _, report = perform(handler)
        checks = judge(replace(report, **changes), scene)
        return {check.name: check.found for check in checks if not check.passed}

    return failures


def test_the_scene_as_it_should_be_passes(failures):
    assert failures() == {}


def test_the_right_agent_passes_on_its_own(failures, parrot):
    assert failures(parrot) == {}


def test_figures_of_a_good_call(perform):
    _, report = perform()
    figures = Figures.of(report)
    assert figures.first_audio == pytest.approx(0.02)
    assert figures.reply == pytest.approx(PAUSE + 0.05, abs=0.02)
    assert figures.silence == pytest.approx(0.02)
    assert figures.gaps == 0.0
    assert figures.call == report.duration


def test_an_agent_that_says_nothing(failures):
    found = failures(Handler)
    assert found["the greeting is heard to its end"] == "nothing was heard"
    assert found["a reply comes when the caller pauses"] == "it did not happen"
    assert found["it is what the caller said"] == "nothing was heard"
    assert found["the key silences it"] == "it did not happen"
    assert found["the rest of it is not heard"] == "there was no reply"
    assert found["the caller hangs up within 20 s"] == "20.0 s, ended by the caller"


def test_half_a_greeting(failures, parrot):
    class Short(parrot):
        async def on_start(self):
            greeting = self.greeting
            half = greeting.samples[: len(greeting.samples) // 2]
            await self.stream.play(half, rate=greeting.rate)

    assert set(failures(Short)) == {"the greeting is heard to its end"}


def test_another_greeting(failures, parrot):
    class Stranger(parrot):
        def __init__(self):
            super().__init__()
            self.greeting = speak("You must have dialled the wrong number, I am afraid.")

    assert set(failures(Stranger)) == {"the greeting is heard to its end"}


def test_an_agent_that_takes_its_time(failures, parrot):
    class Slow(parrot):
        def __init__(self):
            super().__init__()
            self.pause = PAUSE + 0.2

    found = failures(Slow)
    assert set(found) == {"a reply comes when the caller pauses"}
    assert "more than 650" in found["a reply comes when the caller pauses"]


def test_an_agent_that_garbles_what_the_caller_said(failures, parrot):
    class Garbler(parrot):
        async def on_audio(self, frame):
            await super().on_audio(Frame(frame.payload[::-1], frame.format))

    assert set(failures(Garbler)) == {
        "it is what the caller said",
        "the next reply is heard to its end",
    }


def test_an_agent_that_ignores_keys(failures, parrot):
    class Stubborn(parrot):
        async def on_dtmf(self, digit):
            pass

    found = failures(Stubborn)
    assert set(found) == {"the key silences it", "the rest of it is not heard"}
    assert "more than 40" in found["the key silences it"]
    assert found["the rest of it is not heard"] == "0.0 s unsaid"


def test_an_agent_that_stutters(failures, parrot):
    class Stutterer(parrot):
        async def on_start(self):
            for piece in np.array_split(self.greeting.samples, 10):
                await self.stream.play(piece, rate=self.greeting.rate)
                await asyncio.sleep(len(piece) / self.greeting.rate + 0.1)

    assert "the agent's audio has no gaps" in failures(Stutterer)


def test_the_phones_own_lateness_is_allowed_for_and_told(failures):
    assert failures(sender_lateness=0.3, gap_seconds=0.1) == {
        "the agent's audio has no gaps": "100 ms; the phone was up to 300 ms late itself"
    }


def test_what_the_phone_objects_to_is_told(failures):
    found = failures(errors={"unknown command 'sing'": 2}, warnings={"no stream id": 1})
    assert found == {"the phone has no objections": "unknown command 'sing' (2); no stream id (1)"}


def test_who_ended_the_call_and_why_is_told(failures):
    found = failures(ended_by="server", close_code=1011, close_reason="the handler failed")
    assert found == {
        "the caller hangs up within 20 s": (
            "14.7 s, ended by server, code 1011: the handler failed"
        )
    }


def test_without_a_recording_nothing_was_heard(failures):
    assert "the greeting is heard to its end" in failures(recording=None)


@pytest.fixture(scope="module")
def clip():
    return speak("The quick brown fox.").samples


@given(gain=st.floats(0.1, 1.0), before=st.integers(0, 5000), after=st.integers(0, 5000))
def test_a_clip_is_like_itself_however_loud_and_late(clip, gain, before, after):
    heard = np.pad((clip * gain).astype(np.int16), (before, after))
    assert likeness(heard, clip) > 0.99


def test_other_words_are_unlike():
    first, second = (speak(text).samples for text in ("Thank you.", "Good evening, everybody."))
    assert likeness(first, second) < 0.3


def test_silence_is_like_nothing(clip):
    assert likeness(np.zeros(100, np.int16), clip) == 0.0
    assert likeness(clip, clip[:0]) == 0.0
