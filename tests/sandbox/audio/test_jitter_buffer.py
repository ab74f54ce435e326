from __future__ import annotations

import heapq
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiocodecs import Samples
from mediaserver.sandbox.audio.jitter_buffer import JITTER_LIMIT, JitterBuffer


RATE = 16_000
FRAME = 320


def tone(seconds: float, frequency: float = 200) -> Samples:
    times = np.arange(round(seconds * RATE)) / RATE
    return (8_000 * np.sin(2 * np.pi * frequency * times)).astype(np.int16)


def given_out(
    buffer: JitterBuffer, pieces: Iterable[tuple[float, Samples]], seconds: float
) -> list[Samples | None]:
    """Put pieces at their times, take a frame every 20 ms, and return what was taken."""
    coming = [(time, number, piece) for number, (time, piece) in enumerate(pieces)]
    heapq.heapify(coming)
    frames = []
    for tick in range(1, round(seconds * 50) + 1):
        while coming and coming[0][0] <= tick * 0.02:
            buffer.put(heapq.heappop(coming)[2])
        frames.append(buffer.take())
    return frames


def as_it_comes(
    audio: Samples, *, phase: float = 0.01, period: float = 0.02
) -> list[tuple[float, Samples]]:
    """Cut audio into pieces of 20 ms that come one after the other."""
    starts = range(0, len(audio), FRAME)
    return [
        (number * period + phase, audio[start : start + FRAME])
        for number, start in enumerate(starts)
    ]


def joined(frames: Iterable[Samples | None]) -> Samples:
    return np.concatenate([np.zeros(FRAME, np.int16) if each is None else each for each in frames])


def test_audio_that_comes_in_time_is_given_out_with_the_next_frame() -> None:
    audio = tone(3)
    frames = given_out(JitterBuffer(RATE), as_it_comes(audio), 3)

    assert np.array_equal(joined(frames), audio)


def test_a_late_piece_delays_what_follows_and_loses_nothing() -> None:
    buffer = JitterBuffer(RATE)
    audio = tone(0.6)
    pieces = as_it_comes(audio)
    late = [
        (max(time, 0.245) if number >= 10 else time, each)
        for number, (time, each) in enumerate(pieces)
    ]
    frames = given_out(buffer, late, 0.62)

    # One frame is made of the last period, of which there are four in a frame.
    assert (buffer.lengthened, buffer.late) == (1, 1)
    assert [number for number, each in enumerate(frames) if each is None] == [11]
    sound = np.concatenate([each for each in frames if each is not None])
    assert np.abs(sound - np.concatenate([audio[:FRAME], audio])[: len(sound)]).max() <= 1


def test_delay_that_is_no_longer_needed_is_cut_out() -> None:
    buffer = JitterBuffer(RATE)
    pieces = as_it_comes(tone(20))
    delayed = [(max(time, 0.25) if time > 0.15 else time, each) for time, each in pieces]
    frames = given_out(buffer, delayed, 0.5)
    assert frames[-1] is not None
    assert buffer.held >= 3 * FRAME

    later = [(time - 0.5, each) for time, each in delayed if time > 0.5]
    given_out(buffer, later, 19)
    assert buffer.held < FRAME // 4


def test_a_cut_leaves_no_click() -> None:
    buffer = JitterBuffer(RATE)
    audio = tone(4)
    buffer.put(audio[:FRAME])
    sound = joined(given_out(buffer, as_it_comes(audio[FRAME:]), 3.9))

    assert len(sound) // FRAME == 195
    steepest = np.abs(np.diff(audio.astype(int))).max()
    assert np.abs(np.diff(sound.astype(int))).max() <= 1.2 * steepest


def test_where_a_little_is_missing_the_voice_goes_on() -> None:
    buffer = JitterBuffer(RATE)
    audio = tone(1)
    pieces = [
        (max(number * 0.008 + 0.01, 0.505 if number >= 59 else 0), audio[start : start + 128])
        for number, start in enumerate(range(0, len(audio), 128))
    ]
    sound = joined(given_out(buffer, pieces, 0.9)[1:])

    assert (buffer.lengthened, buffer.late) == (1, 0)
    steepest = np.abs(np.diff(audio.astype(int))).max()
    assert np.abs(np.diff(sound.astype(int))).max() <= 1.2 * steepest
    # The tone has a period of 5 ms, so that of it nothing is lost or misplaced.
    assert np.abs(sound.astype(int) - audio[: len(sound)]).max() < 100


@pytest.mark.parametrize("speed", [0.99, 1.01])
def test_a_clock_that_is_one_percent_off_for_ten_minutes_leaves_no_silence(speed: float) -> None:
    buffer = JitterBuffer(RATE)
    pieces = [tone(0.04)[start : start + 128] for start in range(0, 5 * 128, 128)]
    came, most = 0, 0
    for tick in range(1, 30_000):
        while (came + 128) / RATE / speed <= 0.02 * tick:
            buffer.put(pieces[came // 128 % 5])
            came += 128
        frame = buffer.take()
        assert frame is not None or tick < 3
        most = max(most, buffer.held)

    assert (buffer.late, buffer.dropped) == (0, 0)
    assert most < 2 * FRAME


@pytest.mark.parametrize("period", [0.0199, 0.0201])
def test_a_clock_that_runs_at_another_speed_changes_neither_delay_nor_sound_for_long(
    period: float,
) -> None:
    buffer = JitterBuffer(RATE)
    frames = given_out(buffer, as_it_comes(tone(60), period=period), 58)

    assert buffer.held <= 2 * FRAME
    assert buffer.dropped == 0
    # 0.5 % of a minute are 15 frames.
    assert sum(each is None for each in frames) <= 17


def test_of_more_than_the_limit_the_newest_is_kept() -> None:
    buffer = JitterBuffer(RATE)
    audio = tone(0.5)
    for _, piece in as_it_comes(audio):
        buffer.put(piece)

    assert buffer.held <= JITTER_LIMIT * RATE
    assert buffer.dropped + buffer.held == len(audio)
    oldest = audio[len(audio) - buffer.held :][:FRAME]
    assert np.array_equal(joined([buffer.take()]), oldest)


def test_the_end_of_the_audio_is_given_out_although_it_fills_no_frame() -> None:
    buffer = JitterBuffer(RATE)
    buffer.put(tone(0.03))
    frames = given_out(buffer, [], 0.2)

    sound = np.concatenate([each for each in frames if each is not None])
    assert np.array_equal(sound[: len(tone(0.03))], tone(0.03))
    assert len(sound) <= 2 * FRAME


def test_silence_of_the_source_is_not_lateness() -> None:
    buffer = JitterBuffer(RATE)
    given_out(buffer, as_it_comes(tone(0.2)), 2)
    given_out(buffer, as_it_comes(tone(0.2)), 2)

    assert buffer.late == 0


def test_what_was_forgotten_is_not_given_out() -> None:
    buffer = JitterBuffer(RATE)
    buffer.put(tone(0.1))
    buffer.clear()

    assert buffer.held == 0
    assert buffer.take() is None


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 2_000)), max_size=60))
def test_whatever_comes_frames_are_whole_and_little_is_held(
    pieces: list[tuple[float, int]],
) -> None:
    buffer = JitterBuffer(RATE)
    audio = [(time, np.full(length, 7, np.int16)) for time, length in pieces]
    frames = given_out(buffer, audio, 4)

    assert all(each is None or len(each) == FRAME for each in frames)
    assert buffer.held < FRAME
    given = sum(np.count_nonzero(each) for each in frames if each is not None)
    there = sum(length for _, length in pieces) + buffer.lengthened * 2 * FRAME
    assert given + buffer.dropped + buffer.held <= there
