from typing import Any

import numpy as np
import pytest

from audiocodecs import MULAW_8K
from mediaserver.agents.conversing.heard_words import Spoken
from mediaserver.agents.conversing.told_words import ToldWords
from mediaserver.agents.services import WordMark
from mediaserver.call import Frame


class FollowedStream:
    """A stream whose followers are told, with this much audio that was not heard yet."""

    def __init__(self) -> None:
        self.followed = True
        self.generation = 1
        self.unheard = 0.0
        self.told: list[tuple[str, float]] = []

    def heard_in(self, before_end: float) -> float:
        return self.unheard - before_end

    def decided(self, what: str, /, **details: Any) -> None:
        assert what == "spoken"
        self.told.append((details["words"], details["heard_in"]))


def speech(seconds: float) -> Frame:
    samples = 3000 * np.random.default_rng(1).normal(0, 1, round(seconds * 8000))
    return Frame(MULAW_8K.encode(samples.astype(np.int16)), MULAW_8K)


def test_marked_words_are_told_with_when_they_end() -> None:
    stream: Any = FollowedStream()
    spoken = Spoken("One two three.")
    told = ToldWords(stream, spoken, 1)
    for item in (speech(1.0), WordMark(3, 0.4), WordMark(7, 0.9), WordMark(14, 1.5)):
        spoken.take(item)
    stream.unheard = 1.2
    told.played(1.0)
    assert stream.told == [("One", 0.6), (" two", 1.1)]
    spoken.take(speech(0.6))
    stream.unheard = 0.7
    told.played(1.6)
    assert stream.told[2:] == [(" three.", 0.6)]


def test_words_without_marks_are_told_as_they_are_estimated() -> None:
    stream: Any = FollowedStream()
    spoken = Spoken("One two three four five six seven eight nine ten.")
    told = ToldWords(stream, spoken, 1)
    for _ in range(10):
        spoken.take(speech(0.3))
        told.played(spoken.seconds)
    spoken.finish()
    told.played(spoken.seconds)
    assert len(stream.told) > 4
    assert "".join(words for words, _ in stream.told) == spoken.text
    assert stream.told[-1][1] == pytest.approx(0, abs=0.3)


def test_the_rest_of_a_text_is_told_when_all_audio_was_given_to_the_stream() -> None:
    stream: Any = FollowedStream()
    spoken = Spoken("One two.")
    spoken.take(speech(1.0))
    spoken.finish()
    told = ToldWords(stream, spoken, 1)
    told.played(0.1)
    assert stream.told == []
    told.played(1.0)
    assert "".join(words for words, _ in stream.told) == "One two."


@pytest.mark.parametrize(("followed", "generation"), [(False, 1), (True, 2)])
def test_nothing_is_told_to_nobody_or_after_an_interruption(
    followed: bool, generation: int
) -> None:
    stream: Any = FollowedStream()
    stream.followed, stream.generation = followed, generation
    spoken = Spoken("One")
    spoken.take(speech(1.0))
    spoken.finish()
    ToldWords(stream, spoken, 1).played(1.0)
    assert stream.told == []
