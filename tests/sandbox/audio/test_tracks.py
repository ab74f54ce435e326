from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiocodecs import L16_8K, L16_16K, MULAW_8K, Samples
from mediaserver.sandbox.audio.tracks import IncomingTrack, OutgoingTrack


ORIGIN = 3.7


def a_line(ticks: int = 0) -> Any:
    return SimpleNamespace(
        rate=16_000,
        ticks=ticks,
        silence=np.zeros(320, np.int16),
        tick_time=lambda tick: ORIGIN + (tick - ticks) / 50,
    )


def incoming(line: Any) -> IncomingTrack:
    return IncomingTrack(line, L16_16K, origin=ORIGIN, limit=60, answer=lambda _: None)


def heard(track: IncomingTrack, line: Any, ticks: int) -> Samples:
    frames = [track.take(line.ticks + 1 + tick) for tick in range(ticks)]
    return np.concatenate([line.silence if frame is None else frame for frame in frames])


@given(
    pieces=st.lists(st.tuples(st.floats(0, 0.3), st.integers(1, 3_000)), max_size=12),
    ahead=st.floats(0, 1),
)
def test_what_was_played_is_heard_at_its_time_however_far_ahead_the_buffer_is(
    pieces: list[tuple[float, int]], ahead: float
) -> None:
    """The buffer may be told the time before the line has done the ticks that lie in between."""
    line = a_line(ticks=17)
    track = incoming(line)
    ramp = np.arange(1, 40_000, dtype=np.int32).astype(np.int16)
    now, first = ORIGIN, 0
    for wait, size in pieces:
        now += wait
        track.buffer.play(L16_16K.encode(ramp[first : first + size]), now)
        first += size
    expected = ramp[:first]
    track.buffer.advance(now + ahead)
    sound = heard(track, line, 50 * 12)
    assert np.array_equal(sound[sound != 0], expected[expected != 0])


def test_a_server_that_plays_nothing_is_no_source() -> None:
    line = a_line()
    track = incoming(line)
    assert [track.take(tick) for tick in range(1, 50)] == [None] * 49


def test_after_the_last_audio_its_end_is_let_out() -> None:
    line = a_line()
    track = IncomingTrack(line, L16_8K, origin=ORIGIN, limit=60, answer=lambda _: None)
    track.buffer.play(L16_8K.encode(np.full(160, 5_000, np.int16)), ORIGIN)
    frames = [track.take(tick) for tick in range(1, 10)]
    played = [frame for frame in frames if frame is not None]
    assert len(played) == 3
    assert played[1].any()
    assert not played[2].any()


def test_settled_silence_is_the_same_object_each_time() -> None:
    line = a_line()
    track = OutgoingTrack(line, MULAW_8K)
    payloads = {id(track.payload(line.silence)) for _ in range(9)}
    assert len(payloads) == 1
    assert track.payload(line.silence) == b"\xff" * 160


@pytest.mark.parametrize("format", [MULAW_8K, L16_8K, L16_16K])
def test_a_frame_is_twenty_milliseconds_of_the_format(format: Any) -> None:
    line = a_line()
    track = OutgoingTrack(line, format)
    rng = np.random.default_rng(2)
    for _ in range(7):
        frame = rng.integers(-9_000, 9_000, 320).astype(np.int16)
        assert len(track.payload(frame)) == format.bytes_per_second // 50
