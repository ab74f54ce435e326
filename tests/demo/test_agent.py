import asyncio
from typing import Any

import numpy as np
import pytest

from audiocodecs import MULAW_8K, Samples
from mediaserver.agents import Conversation
from mediaserver.agents.services import WordMark
from mediaserver.call import Frame, Turn
from mediaserver.demo.agent import AgentNotes, ClippedVoice, SpokenClip
from mediaserver.demo.moment import Moment
from mediaserver.demo.scene import AGENT_VOICE


def tone(seconds: float) -> Any:
    return (8000 * np.sin(np.arange(round(8000 * seconds)) * 0.4)).astype(np.int16)


def frame(samples: Samples) -> Frame:
    return Frame(MULAW_8K.encode(samples), MULAW_8K, "outbound")


def speak(voice: ClippedVoice, text: str, pieces: int | None = None) -> list[Frame | WordMark]:
    async def collect() -> list[Frame | WordMark]:
        spoken = voice.speak(text, MULAW_8K)
        heard = []
        async for piece in spoken:
            heard.append(piece)
            if len(heard) == pieces:
                await spoken.aclose()
                break
        return heard

    return asyncio.run(collect())


def test_a_voice_keeps_what_it_has_spoken() -> None:
    voice = ClippedVoice(AGENT_VOICE)
    pieces = speak(voice, " Good evening.")
    payload = b"".join(each.payload for each in pieces if isinstance(each, Frame))
    clip = voice.clips["Good evening."]
    assert (clip.samples == MULAW_8K.decode(payload)).all()
    assert clip.seconds == len(payload) / 8000
    assert clip.spoken(clip.seconds) == len("Good evening.")


def test_a_voice_keeps_of_what_was_cut_short_no_more_than_was_asked_for() -> None:
    voice = ClippedVoice(AGENT_VOICE)
    speak(voice, "Good evening, how can I help you?", pieces=4)
    assert 0 < voice.clips["Good evening, how can I help you?"].seconds < 1


def test_the_words_of_a_clip_are_counted_by_their_marks() -> None:
    marks = [WordMark(6, 0.2), WordMark(11, 0.5)]
    clip = SpokenClip.of(" Hello there", MULAW_8K, [frame(tone(0.6)), *marks])
    assert [clip.spoken(seconds) for seconds in (0.1, 0.2, 0.4, 0.5)] == [0, 5, 5, 10]


def test_the_silence_around_a_clip_is_left_out() -> None:
    samples = np.pad(tone(0.5), (800, 1600))
    clip = SpokenClip.of("Hello", MULAW_8K, [frame(samples)])
    assert clip.seconds == pytest.approx(0.8)
    assert len(clip.sound) == pytest.approx(4000, abs=10)
    assert not len(SpokenClip.of("", MULAW_8K, []).sound)


def test_an_account_counts_from_its_beginning() -> None:
    now = iter([100.0, 101.5, 103.0])
    notes = AgentNotes()
    notes.begin(lambda: next(now), Conversation())
    notes.note("uses a tool", "uses a tool")
    notes.note("", "understands", "Hello")
    assert [each.text for each in notes.take(2.0)] == ["uses a tool"]
    assert notes.take(2.0) == []
    assert notes.take(3.0) == [Moment(3.0, "agent", "", "understands", "Hello", aloud=False)]


@pytest.fixture
def interrupted() -> AgentNotes:
    return AgentNotes(turns=[Turn(number=1, agent="One moment. I have a table", interrupted=True)])


@pytest.mark.parametrize(
    ("words", "heard"),
    [
        ("I have a table by the window.", "I have a table …"),
        ("One moment.", "One moment."),
        ("Goodbye.", "Goodbye."),
    ],
)
def test_of_interrupted_words_those_count_that_were_heard(
    interrupted: AgentNotes, words: str, heard: str
) -> None:
    moment = Moment(1.0, "agent", "answers", "answers", words)
    assert interrupted.as_heard(moment).words == heard


def test_what_the_caller_says_or_nobody_hears_is_left_as_it_is(interrupted: AgentNotes) -> None:
    for moment in (
        Moment(1.0, "caller", "asks", "asks", "I have a table by the window."),
        Moment(1.0, "agent", "", "understands", "I have a table by the window.", aloud=False),
    ):
        assert interrupted.as_heard(moment) == moment
