import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiocodecs import Samples
from mediaserver.replay.alignment import AudioAlignment, aligned


RATE = 8_000
FRAME = 160
SPEECH = np.random.default_rng(7).integers(1, 20_000, RATE).astype(np.int16)


def silence(samples: int) -> Samples:
    return np.zeros(samples, np.int16)


def align(one: Samples, other: Samples, tolerance: float = 0.02) -> AudioAlignment:
    return aligned(one, other, rate=RATE, tolerance=tolerance)


def differing(one: Samples, other: Samples, tolerance: float = 0.02) -> list[int]:
    """The first and last sample that differ, if any does."""
    found = np.flatnonzero(align(one, other, tolerance).differing)
    return [int(found[0]), int(found[-1])] if len(found) else []


def shifts(one: Samples, other: Samples, tolerance: float = 0.02) -> list[int]:
    return [piece.shift for piece in align(one, other, tolerance).pieces]


def test_equal_audio_is_one_piece() -> None:
    (piece,) = align(SPEECH, SPEECH).pieces
    assert (piece.start, piece.samples, piece.shift) == (0, RATE, 0)
    assert not differing(SPEECH, SPEECH)


@pytest.mark.parametrize("shift", [1, 40, FRAME])
def test_audio_that_is_heard_later_or_earlier_is_the_same(shift: int) -> None:
    then = np.concatenate([silence(1_000), SPEECH, silence(FRAME)])
    now = np.concatenate([silence(1_000 + shift), SPEECH, silence(FRAME - shift)])
    assert (shifts(then, now), shifts(now, then)) == ([shift], [-shift])
    assert not differing(then, now)
    assert not differing(now, then)


def test_audio_that_is_further_apart_than_the_tolerance_differs() -> None:
    then = np.concatenate([silence(1_000), SPEECH, silence(FRAME + 1)])
    now = np.concatenate([silence(1_000 + FRAME + 1), SPEECH])
    assert differing(then, now) == [1_000, len(now) - 1]
    assert not differing(then, now, tolerance=0.021)


@pytest.mark.parametrize("samples", [40, FRAME])
def test_a_break_shifts_what_follows(samples: int) -> None:
    now = np.concatenate([SPEECH[:3_210], silence(samples), SPEECH[3_210:]])
    assert (shifts(SPEECH, now), shifts(now, SPEECH)) == ([0, samples], [0, -samples])
    assert not differing(SPEECH, now)
    assert not differing(now, SPEECH)


def test_breaks_that_add_up_to_more_than_the_tolerance_differ() -> None:
    now = np.concatenate(
        [SPEECH[:2_000], silence(100), SPEECH[2_000:4_000], silence(100), SPEECH[4_000:]]
    )
    assert differing(SPEECH, now)[0] >= 4_000
    assert not differing(SPEECH, now, tolerance=0.05)


def test_words_that_are_others_differ_alone() -> None:
    now = SPEECH.copy()
    now[3_200:3_360] += 1
    assert differing(SPEECH, now) == [3_200, 3_359]


def test_a_frame_that_is_missing_within_speech_differs() -> None:
    now = SPEECH.copy()
    now[3_200:3_360] = 0
    assert differing(SPEECH, now) == [3_200, 3_359]
    assert differing(now, SPEECH) == [3_200, 3_359]


def test_the_end_of_a_spell_may_be_cut_by_as_much_as_it_is_late() -> None:
    then = np.concatenate([SPEECH[:4_000], silence(4_000), SPEECH])
    now = np.concatenate([SPEECH[: 4_000 - FRAME], silence(4_000 + FRAME), SPEECH])
    assert not differing(then, now)
    assert not differing(now, then)
    shorter = np.concatenate([SPEECH[: 4_000 - 2 * FRAME], silence(4_000 + 2 * FRAME), SPEECH])
    assert differing(then, shorter) == [4_000 - 2 * FRAME, 3_999]


def test_audio_that_one_run_has_alone_differs() -> None:
    then = np.concatenate([SPEECH, silence(RATE)])
    now = np.concatenate([SPEECH, silence(3_000), SPEECH[:1_000]])
    assert differing(then, now) == differing(now, then) == [11_000, 11_999]
    assert differing(silence(0), SPEECH) == [0, RATE - 1]
    assert not differing(silence(0), silence(100))


def test_a_tone_is_not_mistaken_for_itself_a_period_later() -> None:
    tone = np.tile(np.array([100, 200, 100, -100, -200, -100], np.int16), 500)
    now = np.concatenate([tone[:1_500], silence(FRAME), tone[1_500:]])
    assert shifts(tone, now) == [0, FRAME]
    assert not differing(now, tone)


@given(st.lists(st.tuples(st.integers(200, 1_500), st.integers(0, 80)), min_size=1, max_size=6))
@settings(max_examples=20)
def test_whatever_breaks_there_are_the_audio_is_the_same(parts: list[tuple[int, int]]) -> None:
    now, at = [], 0
    for samples, pause in parts:
        now += [SPEECH[at : at + samples], silence(pause)]
        at += samples
    then = SPEECH[:at]
    most = sum(pause for _, pause in parts) / RATE
    alignment = align(then, np.concatenate(now), tolerance=most)
    assert not alignment.differing.any()
    assert sum(piece.samples for piece in alignment.pieces) >= len(then)
