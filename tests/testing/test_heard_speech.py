from collections import deque

import pytest

from audiocodecs import MULAW_8K
from mediaserver.testing.heard_speech import HeardSpeech
from mediaserver.testing.services import tones


def words(count: int) -> bytes:
    return MULAW_8K.encode(tones(count, 8000))


def silence(seconds: float) -> bytes:
    return MULAW_8K.silence * round(seconds * 8000)


def test_words_are_said_one_after_another_and_all_of_them_by_the_end() -> None:
    heard = HeardSpeech(MULAW_8K, deque(["one two three four"]))
    heard.add(silence(1.0))
    assert not heard.speaking
    heard.add(words(2))
    assert [word.text for word in heard.words()] == ["one"]
    heard.add(silence(0.3))
    said = heard.take()
    assert [word.text for word in said] == ["one", "two", "three", "four"]
    assert (said[0].start, said[-1].end) == (pytest.approx(1.0), pytest.approx(1.54))
    assert not heard.speaking


def test_words_that_were_taken_do_not_come_again() -> None:
    heard = HeardSpeech(MULAW_8K, deque(["one two three"]))
    heard.add(words(2))
    assert [word.text for word in heard.take()] == ["one"]
    heard.add(words(1) + silence(0.3))
    assert [word.text for word in heard.take()] == ["two", "three"]


def test_a_text_that_was_not_told_is_said_again_elsewhere() -> None:
    texts = deque(["one two", "three"])
    heard = HeardSpeech(MULAW_8K, texts)
    heard.add(words(1))
    heard.give_back()
    assert list(texts) == ["one two", "three"]


def test_half_a_sample_waits_for_its_other_half() -> None:
    heard = HeardSpeech(MULAW_8K, deque())
    heard.add(b"\xff" * 7)
    assert heard.seconds == pytest.approx(7 / 8000)
