from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiocodecs import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioError, AudioFormat
from mediaserver.sandbox.audio.playback import (
    Cleared,
    Happening,
    Overflowed,
    PlaybackBuffer,
    Played,
)


FRAME = 160
LOUD = b"\x00"


def played(happenings: list[Happening]) -> list[tuple[str, float]]:
    return [(one.name, round(one.time, 6)) for one in happenings if isinstance(one, Played)]


@pytest.fixture
def buffer() -> PlaybackBuffer:
    return PlaybackBuffer(MULAW_8K)


def test_a_checkpoint_is_acknowledged_at_the_end_of_the_tick_that_played_its_last_byte(
    buffer: PlaybackBuffer,
) -> None:
    buffer.play(LOUD * FRAME * 3, 0.005)
    buffer.checkpoint("end", 0.006)
    assert played(buffer.advance(0.0799)) == []
    assert played(buffer.advance(0.08)) == [("end", 0.08)]


def test_a_checkpoint_with_nothing_before_it_is_acknowledged_at_the_next_tick(
    buffer: PlaybackBuffer,
) -> None:
    buffer.checkpoint("now", 0.005)
    assert played(buffer.advance(1.0)) == [("now", 0.02)]


def test_a_checkpoint_waits_for_the_tick_in_play(buffer: PlaybackBuffer) -> None:
    buffer.play(LOUD * FRAME, 0.005)
    buffer.advance(0.03)
    buffer.checkpoint("end", 0.03)
    assert played(buffer.advance(1.0)) == [("end", 0.04)]


def test_checkpoints_of_one_name_are_acknowledged_one_by_one(buffer: PlaybackBuffer) -> None:
    for _ in range(2):
        buffer.play(LOUD * FRAME, 0.0)
        buffer.checkpoint("same", 0.0)
    assert played(buffer.advance(1.0)) == [("same", 0.04), ("same", 0.06)]


def test_audio_behind_a_checkpoint_does_not_delay_it(buffer: PlaybackBuffer) -> None:
    buffer.play(LOUD * FRAME, 0.005)
    buffer.checkpoint("first", 0.005)
    buffer.play(LOUD * FRAME * 100, 0.005)
    assert played(buffer.advance(0.5)) == [("first", 0.04)]


def test_a_part_of_a_frame_is_played_and_the_rest_of_its_tick_is_silence(
    buffer: PlaybackBuffer,
) -> None:
    buffer.play(LOUD * 40, 0.005)
    buffer.advance(0.03)
    buffer.play(LOUD * FRAME, 0.03)
    buffer.advance(1.0)
    assert [(start, len(samples)) for start, samples in buffer.heard] == [(160, 40), (320, 160)]
    assert buffer.gaps == [(pytest.approx(200 / 8000), pytest.approx(120 / 8000))]


def test_audio_queued_ahead_joins_up_across_messages_of_any_size(buffer: PlaybackBuffer) -> None:
    for _ in range(10):
        buffer.play(LOUD * 37, 0.005)
    buffer.advance(1.0)
    assert [(start, len(samples)) for start, samples in buffer.heard] == [(160, 370)]
    assert buffer.gaps == []


def test_a_short_dry_spell_between_audio_is_a_gap(buffer: PlaybackBuffer) -> None:
    buffer.play(LOUD * FRAME, 0.0)
    buffer.play(LOUD * FRAME, 0.105)
    buffer.advance(1.0)
    assert buffer.gaps == [(pytest.approx(0.04), pytest.approx(0.08))]


def test_a_long_dry_spell_is_a_pause(buffer: PlaybackBuffer) -> None:
    buffer.play(LOUD * FRAME, 0.0)
    buffer.play(LOUD * FRAME, 0.6)
    buffer.advance(1.0)
    assert buffer.gaps == []
    assert buffer.pauses == [(pytest.approx(0.04), pytest.approx(0.58))]


def test_the_gap_threshold_can_be_set() -> None:
    buffer = PlaybackBuffer(MULAW_8K, gap_threshold=1.0)
    buffer.play(LOUD * FRAME, 0.0)
    buffer.play(LOUD * FRAME, 0.6)
    buffer.advance(1.0)
    assert len(buffer.gaps) == 1


@pytest.mark.parametrize("later", [0.105, 3.0])
def test_a_dry_spell_with_a_clear_in_it_is_neither_gap_nor_pause(
    buffer: PlaybackBuffer, later: float
) -> None:
    buffer.play(LOUD * FRAME, 0.0)
    buffer.clear(0.1)
    buffer.play(LOUD * FRAME, later)
    buffer.advance(5.0)
    assert (buffer.gaps, buffer.pauses) == ([], [])


def test_silence_after_the_last_audio_is_neither_gap_nor_pause(buffer: PlaybackBuffer) -> None:
    buffer.play(LOUD * FRAME, 0.0)
    buffer.advance(60.0)
    assert (buffer.gaps, buffer.pauses) == ([], [])


@given(
    lengths=st.lists(st.integers(1, 100), min_size=1, max_size=8),
    silences=st.lists(st.integers(0, 100), min_size=8, max_size=8),
    threshold=st.integers(1, 60),
)
def test_dry_spells_are_told_apart_by_their_length_alone(
    lengths: list[int], silences: list[int], threshold: int
) -> None:
    buffer = PlaybackBuffer(MULAW_8K, gap_threshold=threshold * 0.02)
    tick = 0
    for frames, silence in zip(lengths, silences, strict=False):
        buffer.play(LOUD * FRAME * frames, tick * 0.02 + 0.01)
        tick += frames + silence
    buffer.advance(tick * 0.02 + 60.0)
    between = [silence for silence in silences[: len(lengths) - 1] if silence]
    gaps = [round(seconds * 50) for _, seconds in buffer.gaps]
    pauses = [round(seconds * 50) for _, seconds in buffer.pauses]
    assert gaps == [silence for silence in between if silence < threshold]
    assert pauses == [silence for silence in between if silence >= threshold]


def test_a_clear_drops_audio_and_pending_checkpoints(buffer: PlaybackBuffer) -> None:
    buffer.play(LOUD * FRAME * 10, 0.005)
    buffer.checkpoint("never", 0.005)
    (cleared,) = buffer.clear(0.05)
    assert isinstance(cleared, Cleared)
    assert (cleared.time, cleared.checkpoints) == (0.05, ("never",))
    assert cleared.seconds == pytest.approx(0.16)
    assert buffer.advance(10.0) == []
    assert buffer.played == pytest.approx(0.04)
    assert buffer.cleared == pytest.approx(0.16)


def test_a_clear_tells_first_what_was_played_before_it(buffer: PlaybackBuffer) -> None:
    buffer.play(LOUD * FRAME, 0.005)
    buffer.checkpoint("heard", 0.005)
    happenings = buffer.clear(1.0)
    assert [type(happening) for happening in happenings] == [Played, Cleared]


def test_the_tick_in_play_is_heard_to_its_end_after_a_clear(buffer: PlaybackBuffer) -> None:
    buffer.play(LOUD * FRAME * 10, 0.005)
    buffer.clear(0.021)
    assert [(start, len(samples)) for start, samples in buffer.heard] == [(160, 160)]
    assert buffer.spells == [(0.02, 0.04)]


def test_a_checkpoint_with_nothing_queued_is_acknowledged_before_a_clear(
    buffer: PlaybackBuffer,
) -> None:
    assert buffer.checkpoint("now", 0.005) == []
    assert buffer.clear(0.005) == [Played("now", 0.005), Cleared(0.005, 0.0, ())]
    assert buffer.advance(1.0) == []


def test_a_clear_of_nothing_is_answered_too(buffer: PlaybackBuffer) -> None:
    assert buffer.clear(1.0) == [Cleared(1.0, 0.0, ())]


def test_audio_beyond_the_limit_is_dropped_newest_first() -> None:
    buffer = PlaybackBuffer(MULAW_8K, limit=1.0)
    assert buffer.play(b"\x00" * 6000 + b"\x01" * 3000, 0.0) == [Overflowed(0.0, 0.125)]
    assert buffer.queued == 1.0
    assert buffer.overflowed == 0.125
    buffer.advance(5.0)
    assert len(buffer.heard[0][1]) == 8000


def test_an_overflow_keeps_whole_samples() -> None:
    buffer = PlaybackBuffer(L16_8K, limit=0.00013)
    buffer.play(b"\x00\x40" * 10, 0.0)
    assert buffer.queued * 8000 == 1


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(AudioError):
        PlaybackBuffer(L16_16K).play(b"\x00\x00\x00", 0.0)


def test_a_timer_a_few_nanoseconds_early_has_reached_its_tick() -> None:
    origin = 123_456.789
    buffer = PlaybackBuffer(MULAW_8K, origin=origin)
    buffer.checkpoint("end", origin + 0.001)
    assert played(buffer.advance(origin + 0.02 - 1e-9)) != []


def test_nothing_happens_before_the_origin() -> None:
    buffer = PlaybackBuffer(MULAW_8K, origin=10.0)
    buffer.play(LOUD * FRAME, 9.0)
    assert buffer.queued == 0.02
    assert buffer.first_audio is None
    buffer.advance(10.0)
    assert buffer.first_audio == 0.0


def test_silence_sent_as_audio_is_played_but_is_no_speech(buffer: PlaybackBuffer) -> None:
    buffer.play(MULAW_8K.silence * FRAME * 5, 0.0)
    buffer.advance(1.0)
    assert buffer.played == pytest.approx(0.1)
    assert buffer.spells == []
    assert buffer.last_audible is None


def test_a_pause_between_words_does_not_end_a_spell_and_a_longer_one_does(
    buffer: PlaybackBuffer,
) -> None:
    quiet = MULAW_8K.silence * FRAME
    buffer.play(LOUD * FRAME + quiet * 5 + LOUD * FRAME + quiet * 15 + LOUD * FRAME, 0.0)
    buffer.advance(0.0)
    buffer.advance(2.0)
    assert buffer.spells == [
        (pytest.approx(0.02), pytest.approx(0.16)),
        (pytest.approx(0.46), pytest.approx(0.48)),
    ]
    assert buffer.spell_count == 2


def test_a_clear_ends_a_spell_however_soon_the_next_begins(buffer: PlaybackBuffer) -> None:
    buffer.play(LOUD * FRAME * 5, 0.0)
    buffer.clear(0.045)
    buffer.play(LOUD * FRAME, 0.045)
    buffer.advance(1.0)
    assert [(round(a, 6), round(b, 6)) for a, b in buffer.spells] == [(0.02, 0.06), (0.06, 0.08)]


@pytest.mark.parametrize("format", [MULAW_8K, L16_8K, L16_16K, L16_24K])
def test_what_is_heard_is_what_was_sent(format: AudioFormat) -> None:
    samples = (10_000 * np.sin(np.arange(format.rate) * 0.1)).astype(np.int16)
    payload = format.encode(samples)
    buffer = PlaybackBuffer(format)
    buffer.play(payload, 0.001)
    buffer.advance(2.0)
    ((start, heard),) = buffer.heard
    assert start == format.rate // 50
    np.testing.assert_array_equal(heard, format.decode(payload))


@dataclass
class TickByTick:
    """What the buffer should do, in the plainest way: a list of bytes and one tick at a time."""

    format: AudioFormat
    limit: int
    queue: list[int] = field(default_factory=list)
    in_play: int = 0
    taken: int = 0
    played: int = 0
    checkpoints: list[tuple[int, str]] = field(default_factory=list)
    heard: dict[int, int] = field(default_factory=dict)
    tick: int = 0
    happenings: list[tuple[Any, ...]] = field(default_factory=list)

    def run_to(self, now_ms: int) -> None:
        while self.tick * 20 <= now_ms:
            self.played += self.in_play
            while self.checkpoints and self.checkpoints[0][0] <= self.played:
                self.happenings.append(("played", self.checkpoints.pop(0)[1], self.tick * 20))
            frame = self.format.bytes_per_second // 50
            part, self.queue = self.queue[:frame], self.queue[frame:]
            self.in_play = len(part)
            self.taken += len(part)
            for index, byte in enumerate(part):
                self.heard[self.tick * frame + index] = byte
            self.tick += 1

    def play(self, payload: bytes) -> None:
        self.queue += payload[: self.limit - len(self.queue)]

    def checkpoint(self, name: str) -> None:
        self.checkpoints.append((self.taken + len(self.queue), name))

    def clear(self, now_ms: int) -> None:
        for position, name in self.checkpoints:
            if position <= self.taken:
                self.happenings.append(("played", name, now_ms))
        self.happenings.append(("cleared", len(self.queue), now_ms))
        self.queue.clear()
        self.checkpoints.clear()


STEPS = st.lists(
    st.tuples(
        st.integers(0, 130),
        st.one_of(
            st.tuples(st.just("play"), st.integers(0, 500)),
            st.tuples(st.just("checkpoint"), st.just(0)),
            st.tuples(st.just("clear"), st.just(0)),
            st.tuples(st.just("advance"), st.just(0)),
        ),
    ),
    max_size=40,
)


@given(steps=STEPS, format=st.sampled_from([MULAW_8K, L16_8K]), data=st.data())
def test_it_does_what_playing_tick_by_tick_would_do(
    steps: list[tuple[int, tuple[str, int]]], format: AudioFormat, data: st.DataObject
) -> None:
    limit = 2000
    model = TickByTick(format, limit)
    lazy = PlaybackBuffer(format, limit=limit / format.bytes_per_second)
    eager = PlaybackBuffer(format, limit=limit / format.bytes_per_second)
    seen: dict[int, list[tuple[Any, ...]]] = {id(lazy): [], id(eager): []}
    now_ms = 0

    def note(buffer: PlaybackBuffer, happenings: list[Happening]) -> None:
        for one in happenings:
            if isinstance(one, Played):
                seen[id(buffer)].append(("played", one.name, round(one.time * 1000)))
            elif isinstance(one, Cleared):
                size = round(one.seconds * format.bytes_per_second)
                seen[id(buffer)].append(("cleared", size, round(one.time * 1000)))

    for number, (wait, (kind, size)) in enumerate([*steps, (5000, ("advance", 0))]):
        for part in sorted(data.draw(st.lists(st.integers(0, wait), max_size=3))):
            note(eager, eager.advance((now_ms + part) / 1000))
        now_ms += wait
        model.run_to(now_ms)
        payload = bytes([number % 256, 0x40]) * size
        now = now_ms / 1000
        if kind == "play":
            model.play(payload)
        elif kind == "checkpoint":
            model.checkpoint(str(number))
        elif kind == "clear":
            model.clear(now_ms)
        for buffer in (lazy, eager):
            if kind == "play":
                note(buffer, buffer.play(payload, now))
            elif kind == "checkpoint":
                note(buffer, buffer.checkpoint(str(number), now))
            elif kind == "clear":
                note(buffer, buffer.clear(now))
            elif buffer is eager or number == len(steps):
                note(buffer, buffer.advance(now))

    expected = bytes(model.heard[position] for position in sorted(model.heard))
    for buffer in (lazy, eager):
        assert seen[id(buffer)] == model.happenings
        assert round(buffer.played * format.bytes_per_second) == model.taken
        heard = b"".join(format.encode(samples) for _, samples in buffer.heard)
        assert heard == b"".join(
            format.encode(format.decode(expected[i : i + 2])) for i in range(0, len(expected), 2)
        )
        positions = {
            start + offset for start, samples in buffer.heard for offset in range(len(samples))
        }
        assert positions == {position // format.sample_bytes for position in model.heard}
    assert lazy.gaps == eager.gaps
    assert lazy.pauses == eager.pauses
    assert lazy.spells == eager.spells
    assert [start for start, _ in lazy.heard] == [start for start, _ in eager.heard]


@given(steps=STEPS)
def test_counters_are_the_same_without_keeping_the_audio(
    steps: list[tuple[int, tuple[str, int]]],
) -> None:
    keeping, counting = PlaybackBuffer(MULAW_8K), PlaybackBuffer(MULAW_8K, keep_audio=False)
    now = 0.0
    for wait, (kind, size) in steps:
        now += wait / 1000
        for buffer in (keeping, counting):
            if kind == "play":
                buffer.play(LOUD * size, now)
            elif kind == "clear":
                buffer.clear(now)
            else:
                buffer.checkpoint("c", now)
    assert counting.heard == []
    names = ("played", "received", "cleared", "queued", "gaps", "pauses", "spells", "first_audio")
    for name in names:
        assert getattr(counting, name) == getattr(keeping, name)
