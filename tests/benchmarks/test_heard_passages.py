import numpy as np
import pytest

from audiocodecs import Samples
from benchmarks.heard_passages import (
    RATE,
    Clip,
    HeardClip,
    ShownReply,
    Stretch,
    compare,
    find_clips,
    shift,
)


def babble(seed: int, seconds: float) -> Samples:
    """Return noise whose bands come and go, as those of speech do."""
    rng = np.random.default_rng(seed)
    pieces = []
    for _ in range(round(seconds / 0.1)):
        times = np.arange(RATE // 10) / RATE
        tones = [np.sin(2 * np.pi * hertz * times) for hertz in rng.uniform(200, 3500, 3)]
        pieces.append(rng.uniform(1500, 6000) * np.sum(tones, axis=0))
    return np.concatenate(pieces).astype(np.int16)


def clip(seed: int, seconds: float) -> Clip:
    samples = babble(seed, seconds).astype(np.float64)
    return Clip("one two", samples, ((3, seconds / 2), (6, seconds)))


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE), np.int16)


def heard(*parts: Samples) -> Samples:
    """Return audio with a little noise, as a line has it."""
    noise = np.random.default_rng(9).normal(0, 2, sum(map(len, parts)))
    return (np.concatenate(parts) + noise).astype(np.int16)


def test_clips_are_found_where_they_are_heard() -> None:
    audio = heard(silence(0.5), babble(1, 1.0), silence(0.3), babble(2, 1.0), silence(0.5))
    found = find_clips([clip(1, 1.0), clip(2, 1.0)], audio, since=0, until=np.inf)
    assert [each.time_of(0.5) for each in found] == [
        pytest.approx(1.0, abs=0.01),
        pytest.approx(2.3, abs=0.01),
    ]
    assert [each.seconds for each in found] == [np.inf, np.inf]


def test_a_clip_that_was_cut_is_heard_up_to_there() -> None:
    audio = heard(silence(0.2), babble(1, 1.0)[: round(0.6 * RATE)], silence(3.0))
    (found,) = find_clips([clip(1, 1.0)], audio, since=0, until=np.inf)
    assert found.seconds == pytest.approx(0.6, abs=0.03)
    assert found.time_of(0.9) is None


def test_a_clip_goes_on_after_a_pause() -> None:
    whole = babble(1, 2.0)
    audio = heard(silence(0.2), whole[:RATE], silence(0.7), whole[RATE:], silence(1.0))
    (found,) = find_clips([clip(1, 2.0)], audio, since=0, until=np.inf)
    assert found.time_of(0.5) == pytest.approx(0.7, abs=0.01)
    assert found.time_of(1.5) == pytest.approx(2.4, abs=0.03)
    assert found.seconds == np.inf


def test_a_clip_that_was_never_heard_is_not_found() -> None:
    audio = heard(silence(0.2), babble(1, 1.0), silence(1.0))
    (found,) = find_clips([clip(3, 1.0)], audio, since=0, until=np.inf)
    assert found.stretches == ()
    assert found.seconds == 0


def test_a_word_of_which_more_than_half_was_heard_is_heard() -> None:
    assert [clip_heard(seconds).letters(seconds) for seconds in (0.1, 0.3, 0.7, 0.8, 1.0)] == [
        0, 3, 3, 6, 6
    ]  # fmt: skip


def clip_heard(seconds: float) -> HeardClip:
    return HeardClip(clip(1, 1.0), (Stretch(0.0, seconds, 5.0),))


@pytest.mark.parametrize(("shown", "same"), [("one", True), ("one two", False), ("", False)])
def test_what_a_page_shows_is_compared(shown: str, same: bool) -> None:
    reply = ShownReply(5.0, ("one two",), shown, ((3, 5.53), (6, 6.03)))
    found = compare(reply, [clip_heard(0.6)], within=0.02)
    assert found.same_words is same
    assert found.late == (pytest.approx(0.03),)


def test_two_clocks_are_compared_by_what_both_have_heard() -> None:
    assert shift([1.5, 3.5, 7.5], [1.0, 1.2, 3.0, 7.0]) == 0.5
    assert shift([1.5, 3.5, 7.5], [1.0]) is None
    assert shift([], []) is None
