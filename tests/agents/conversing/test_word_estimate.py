from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiocodecs import L16_8K, L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.conversing.word_estimate import (
    Voiced,
    letters_in,
    letters_spoken,
    spoken_words,
)
from mediaserver.call import Frame


def audio(*stretches: Any, format: AudioFormat = MULAW_8K) -> Frame:
    """Return one frame of noise and silence by turns, in seconds, beginning with noise."""
    rng = np.random.default_rng(1)
    pieces = [
        (0 if index % 2 else 3000) * rng.normal(0, 1, round(seconds * format.rate))
        for index, seconds in enumerate(stretches)
    ]
    return Frame(format.encode(np.concatenate(pieces).astype(np.int16)), format)


def test_punctuation_belongs_to_the_word_before_it() -> None:
    text = 'So — "yes", I said ... then.'
    ends = [word.end for word in spoken_words(text)]
    assert [text[:end] for end in ends] == [
        "So —", 'So — "yes",', 'So — "yes", I', 'So — "yes", I said ...', text
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ขอบคุณค่ะ รอ", ["ข", "อ", "บ", "คุ", "ณ", "ค่ะ", "ร", "อ"]),
        ("ကျေးဇူးတင်ပါ။ OK", ["ကျေး", "ဇူး", "တင်", "ပါ။", "OK"]),
        ("ខ្ញុំ (១២)", ["ខ្ញុំ", "(១២)"]),
        ("ดีabc12", ["ดี", "abc12"]),
        ("नमस्ते। जी", ["नमस्ते।", "जी"]),
    ],
)
def test_without_spaces_a_letter_with_its_vowels_is_a_word(text: str, words: list[str]) -> None:
    found = spoken_words(text)
    begins = [0, *(word.end for word in found[:-1])]
    ends = [word.end for word in found]
    assert [text[i:j].strip() for i, j in zip(begins, ends, strict=True)] == words


def test_each_full_stop_is_a_pause() -> None:
    for text in ("ရပါပြီ။ ပါ", "ነው። ደህና", "է։ Լավ", "है। जी", "يا؟ نعم"):
        assert max(word.pause for word in spoken_words(text)) == 0.4


def test_an_ideograph_is_a_word() -> None:
    assert [word.end for word in spoken_words("你好。abc 我")] == [1, 3, 6, 8]


@given(st.text(max_size=60))
def test_words_follow_each_other(text: str) -> None:
    place, begins = 0, 0.0
    for word in spoken_words(text):
        assert place <= word.start < word.spoken_end <= word.end <= len(text)
        assert word.begins == pytest.approx(begins)
        assert word.letters > 0
        place, begins = word.end, word.begins + word.letters


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("a", "strength"),
        ("word", "4711"),
        ("usa", "USA"),
        ("5", "$5"),
        ("-", "a"),
        ("ก", "กี่"),
        ("ab", "سل"),
    ],
)
def test_some_words_take_longer_than_others(short: str, long: str) -> None:
    assert letters_in(short) < letters_in(long)


def test_silence_and_pauses_are_found() -> None:
    frames = [audio(0, 0.3, 1.0, 0.4, 0.5, 0.2)]
    stretches = Voiced.of(frames).stretches
    assert np.allclose(stretches, [(0.3, 1.3), (1.7, 2.2)], atol=0.011)


def test_a_stop_consonant_is_no_pause() -> None:
    assert len(Voiced.of([audio(0.5, 0.08, 0.5)]).stretches) == 1


def test_frames_of_several_formats_are_one_piece_of_audio() -> None:
    frames = [audio(0.5, 0.3), audio(0.5, format=L16_16K), audio(0.2, format=L16_8K)]
    assert np.allclose(Voiced.of(frames).stretches, [(0, 0.5), (0.8, 1.5)], atol=0.011)


@pytest.mark.parametrize("frames", [[], [audio(0, 0.5)], [Frame(b"", MULAW_8K)]])
def test_in_silence_nobody_speaks(frames: list[Frame]) -> None:
    assert Voiced.of(frames).stretches == ()


def test_time_is_divided_by_letters() -> None:
    words = spoken_words("one two")
    voiced = Voiced(((0.2, 1.2),))
    half = letters_spoken(words, voiced, 0.7, None)
    assert half == pytest.approx((words[-1].begins + words[-1].letters) / 2)
    assert letters_spoken(words, voiced, 0.2, None) == 0


def test_a_pause_is_taken_for_punctuation() -> None:
    words = spoken_words("a long beginning, and the end")
    voiced = Voiced(((0.0, 1.0), (1.3, 2.0)))
    assert letters_spoken(words, voiced, 1.15, None) == pytest.approx(words[3].begins)


def test_a_long_pause_is_a_full_stop_rather_than_a_comma() -> None:
    words = spoken_words("one two, three four. five six")
    voiced = Voiced(((0.0, 1.0), (1.6, 1.9)))
    assert letters_spoken(words, voiced, 1.3, None) == pytest.approx(words[4].begins)


def test_while_audio_is_to_come_the_speed_is_given() -> None:
    words = spoken_words("abcdefgh abcdefgh")
    voiced = Voiced(((0.0, 0.4),))
    assert letters_spoken(words, voiced, 0.4, 0.1) == pytest.approx(4, rel=0.2)


STRETCHES = st.lists(st.floats(0.05, 2), max_size=12).map(
    lambda gaps: tuple(
        zip(np.cumsum(gaps)[::2].tolist(), np.cumsum(gaps)[1::2].tolist(), strict=False)
    )
)


@given(
    st.text("ab ,.?5é你\n", min_size=1, max_size=60).filter(spoken_words),
    STRETCHES,
    st.none() | st.floats(0.02, 0.2),
    st.lists(st.floats(0, 12), min_size=2, max_size=6).map(sorted),
)
def test_later_is_never_less(
    text: str, stretches: Any, pace: float | None, times: list[float]
) -> None:
    words, voiced = spoken_words(text), Voiced(stretches)
    spoken = [letters_spoken(words, voiced, seconds, pace) for seconds in times]
    assert spoken == sorted(spoken)
    assert all(each >= 0 for each in spoken)
