from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiocodecs import MULAW_8K, resample
from mediaserver.agents.conversing.heard_words import Spoken
from mediaserver.agents.services import WordMark
from mediaserver.call import Frame
from mediaserver.espeak import speak_marked


TEXT = "Well, one two three. Four five!"


def speech(seconds: float) -> Frame:
    samples = 3000 * np.random.default_rng(1).normal(0, 1, round(seconds * 8000))
    return Frame(MULAW_8K.encode(samples.astype(np.int16)), MULAW_8K)


def spoken(text: str, *items: Any, complete: bool = True, **options: Any) -> Spoken:
    made = Spoken(text, **options)
    for item in items:
        made.take(item)
    if complete:
        made.finish()
    return made


def marked(text: str, *times: Any) -> Spoken:
    """Return the text with a mark at the end of every word."""
    ends = [end for end in range(1, len(text) + 1) if (text + " ")[end] == " " != text[end - 1]]
    marks = [WordMark(end, seconds) for end, seconds in zip(ends, times, strict=True)]
    return spoken(text, speech(times[-1] + 0.1), *marks)


@pytest.mark.parametrize(
    ("seconds", "heard"),
    [
        (-1, ""),
        (0, ""),
        (0.45, ""),
        (0.55, "one"),
        (1.2, "one"),
        (1.6, "one two,"),
        (2.9, "one two, three."),
        (9, "one two, three."),
    ],
)
def test_a_word_counts_when_more_than_half_of_it_was_heard(seconds: float, heard: str) -> None:
    assert marked("one two, three.", 1.0, 2.0, 3.0).heard(seconds) == heard


def test_a_pause_between_marks_belongs_to_no_word() -> None:
    text = "one two"
    made = spoken(text, speech(3.0), WordMark(3, 1.0), WordMark(4, 2.0), WordMark(7, 3.0))
    assert [made.heard(seconds) for seconds in (1.9, 2.4, 2.6)] == ["one", "one", "one two"]


def test_marks_of_several_words_at_once_are_divided() -> None:
    made = spoken("aaaa bbbb cccc dddd", speech(4.0), WordMark(9, 2.0), WordMark(19, 4.0))
    assert [made.heard(seconds) for seconds in (0.9, 1.9, 2.9)] == [
        "aaaa",
        "aaaa bbbb",
        "aaaa bbbb cccc",
    ]


def test_marks_that_go_back_are_borne() -> None:
    made = spoken("one two", speech(2.0), WordMark(7, 1.0), WordMark(3, 0.5))
    assert made.heard(0.9) == "one two"


def test_after_the_last_mark_the_rest_is_estimated() -> None:
    made = spoken("aaaa bbbb cccc", speech(3.0), WordMark(4, 1.0))
    assert [made.heard(seconds) for seconds in (0.9, 1.8, 2.9)] == [
        "aaaa",
        "aaaa bbbb",
        "aaaa bbbb cccc",
    ]


def test_after_the_last_mark_of_audio_to_come_the_speed_is_given() -> None:
    made = spoken(
        "aaaa bbbb cccc", speech(3.0), WordMark(4, 1.0), complete=False, seconds_per_letter=0.25
    )
    assert made.heard(1.9) == "aaaa bbbb"


def test_without_marks_it_is_estimated() -> None:
    made = spoken("aaaa bbbb cccc dddd", speech(4.0))
    assert [made.heard(seconds) for seconds in (0.9, 1.9, 3.9)] == [
        "aaaa",
        "aaaa bbbb",
        "aaaa bbbb cccc dddd",
    ]


def test_an_interruption_of_thai_keeps_half_of_it() -> None:
    text = "ขอบคุณที่โทรมาวันนี้เราเปิดเก้าโมงถึงหกโมงเย็นค่ะ"
    heard = spoken(text, speech(4.0)).heard(2.0)
    assert len(text) * 0.4 < len(heard) < len(text) * 0.6
    assert text.startswith(heard)


def test_all_was_heard_at_the_end_even_of_silence() -> None:
    silence = Frame(MULAW_8K.silence * 8000, MULAW_8K)
    assert spoken("one two", silence).heard(1.0) == "one two"
    assert spoken("one two", silence).heard(0.5) == ""


def test_text_that_comes_with_the_audio_is_added() -> None:
    made = spoken("", speech(0.5), complete=False)
    for piece in ("aaaa", " bb", "bb cccc"):
        made.add(piece)
    made.take(speech(0.5))
    assert made.text == "aaaa bbbb cccc"
    assert made.heard(0.6) in ("aaaa", "aaaa bbbb")
    made.finish()
    assert made.heard(1.0) == "aaaa bbbb cccc"


def test_a_faster_voice_has_said_more() -> None:
    frame = speech(0.5)
    slow, fast = (
        spoken("aa bb cc dd ee ff gg hh", frame, complete=False, seconds_per_letter=pace)
        for pace in (0.1, 0.05)
    )
    assert len(slow.heard(0.5)) < len(fast.heard(0.5))


def test_speed_is_known_once_all_is_there() -> None:
    made = spoken("aaaa bbbb", speech(2.0), complete=False, seconds_per_letter=0.123)
    assert made.seconds_per_letter == 0.123
    made.finish()
    assert made.seconds_per_letter == pytest.approx(2.0 / 8.25)
    assert spoken("").seconds_per_letter == Spoken().seconds_per_letter


def test_text_without_words_is_heard_at_once() -> None:
    assert spoken("...", speech(1.0)).heard(0.1) == "..."


@given(
    st.text("ab ,.5你", max_size=40),
    st.lists(st.floats(0, 3), max_size=5),
    st.lists(st.tuples(st.integers(0, 50), st.floats(0, 10)), max_size=5),
    st.booleans(),
    st.lists(st.floats(-1, 20), min_size=2, max_size=5).map(sorted),
)
def test_later_more_was_heard(
    text: str,
    lengths: list[float],
    marks: list[tuple[int, float]],
    complete: bool,
    times: list[float],
) -> None:
    made = spoken(text, *map(speech, lengths), *(WordMark(*mark) for mark in marks))
    made.complete = complete
    heard = [made.heard(seconds) for seconds in times]
    assert [len(each) for each in heard] == sorted(len(each) for each in heard)
    assert all(text.startswith(each) for each in heard)


SAID = (
    "I have a table for two at seven, or one by the window at half past eight.",
    "Your order 4711 was sent yesterday. It should be with you on Thursday before noon.",
)


@pytest.mark.parametrize("text", SAID)
def test_an_estimate_is_within_a_word_of_what_was_said(text: str) -> None:
    speech = speak_marked(text)
    samples = resample(speech.wav.samples, speech.wav.rate, 8000)
    made = spoken(text, Frame(MULAW_8K.encode(samples), MULAW_8K))
    for word, following in zip(speech.words[:-1], speech.words[1:], strict=True):
        heard = made.heard((word.seconds + following.seconds) / 2)
        near = len(text[: word.start].split()), len(text[: word.end].split())
        assert near[0] - 1 <= len(heard.split()) <= near[1] + 1


def test_the_ends_of_marked_words_are_told_once_as_their_audio_is_given() -> None:
    made = marked("one two three", 1.0, 2.0, 3.0)
    assert list(made.word_ends(0, 2.5)) == [(3, 1.0), (7, 2.0)]
    assert list(made.word_ends(2.0, 2.9)) == []
    # All of its audio has come, so all of the text is over with it.
    assert list(made.word_ends(2.0, 9)) == [(13, 3.0), (13, made.seconds)]


def test_the_ends_of_words_without_marks_are_estimated_in_steps() -> None:
    wav = speak_marked(TEXT).wav
    samples = resample(wav.samples, wav.rate, 8000)
    made = spoken(TEXT, Frame(MULAW_8K.encode(samples), MULAW_8K), complete=False)
    ends = list(made.word_ends(0, made.seconds))
    assert [at for _, at in ends] == [0.25 * step for step in range(1, len(ends) + 1)]
    places = [place for place, _ in ends]
    assert places == sorted(places)
    assert set(places) <= {0, len(TEXT), *(end for end in range(len(TEXT)) if TEXT[end] == " ")}
    assert places[0] < places[-1] <= made.complete_until
    made.finish()
    assert list(made.word_ends(made.seconds - 0.01, made.seconds)) == [(len(TEXT), made.seconds)]


def test_a_text_without_audio_has_no_word_that_is_over() -> None:
    made = spoken(TEXT, complete=False)
    assert made.complete_until == 0
    assert list(made.word_ends(0, 5)) == []
