from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiocodecs import Samples, silence
from mediaserver.sandbox.audio.line import Line
from mediaserver.sandbox.errors import CallEnded
from mediaserver.testing import run_virtual, stall


def tone(seconds: float, rate: int = 16_000, level: int = 8_000) -> Samples:
    times = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * 440 * times)).astype(np.int16)


class Listener:
    def __init__(self, line: Line) -> None:
        self.line = line
        self.frames: list[Any] = []
        self.times: list[Any] = []
        self.digits: list[Any] = []
        self.ended_by: str | None = None

    def on_frame(self, tick: int, inbound: Samples, outbound: Samples) -> None:
        self.frames.append((tick, inbound, outbound))
        self.times.append(asyncio.get_running_loop().time())

    def on_digit(self, digit: str) -> None:
        self.digits.append((round(self.line.time, 3), digit))

    def on_end(self, ended_by: str) -> None:
        self.ended_by = ended_by

    @property
    def inbound(self) -> Samples:
        return np.concatenate([frame[1] for frame in self.frames])

    @property
    def outbound(self) -> Samples:
        return np.concatenate([frame[2] for frame in self.frames])


class Source:
    """Plays one number for ever."""

    def __init__(self, value: int, samples: int = 320) -> None:
        self.frame = np.full(samples, value, np.int16)
        self.ticks: list[Any] = []

    def take(self, tick: int) -> Samples:
        self.ticks.append(tick)
        return self.frame


def on_a_line(script: Callable[..., Any], **options: Any) -> Listener:
    async def scenario() -> Listener:
        await asyncio.sleep(0.0137)  # no line starts on a round number
        line = Line(epoch=1_700_000_000.0, **options)
        listener = Listener(line)
        line.listen(listener)
        line.start()
        await script(line)
        line.hang_up()
        return listener

    return run_virtual(scenario())


def test_a_second_has_fifty_ticks_of_twenty_milliseconds() -> None:
    async def script(line: Line) -> None:
        await asyncio.sleep(1.0)

    listener = on_a_line(script)
    assert [tick for tick, _, _ in listener.frames] == list(range(1, 51))
    assert {len(samples) for frame in listener.frames for samples in frame[1:]} == {320}
    assert np.allclose(np.diff(listener.times), 0.02)


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000])
def test_what_is_said_reaches_the_listeners_as_it_is(rate: int) -> None:
    speech = tone(0.5, rate)

    async def script(line: Line) -> None:
        line.handset.say(speech)
        await line.handset.wait_spoken()

    listener = on_a_line(script, rate=rate)
    assert np.array_equal(listener.inbound, speech)
    assert not listener.outbound.any()


def test_a_rate_no_line_has_is_refused() -> None:
    with pytest.raises(ValueError, match="44100 Hz; allowed: 8000, 16000, 24000"):
        Line(rate=44_100)


def test_ticks_missed_in_a_stall_are_made_up_for() -> None:
    async def script(line: Line) -> None:
        line.handset.say(tone(1.0))
        await asyncio.sleep(0.1)
        stall(0.7)
        await asyncio.sleep(0.2)

    listener = on_a_line(script)
    assert [tick for tick, _, _ in listener.frames] == list(range(1, 51))
    assert np.array_equal(listener.inbound, tone(1.0))


def test_clips_play_on_end_and_say_when_they_were_heard() -> None:
    async def script(line: Line) -> None:
        first, second = line.play(tone(0.11)), line.play(tone(0.05, level=4_000))
        assert await first.finished()
        assert line.time == pytest.approx(0.12)
        assert await second.finished()
        assert line.time == pytest.approx(0.16)

    listener = on_a_line(script)
    whole = np.concatenate([tone(0.11), tone(0.05, level=4_000)])
    assert np.array_equal(listener.outbound[: len(whole)], whole)
    assert not listener.outbound[len(whole) :].any()


def test_an_empty_clip_is_heard_at_once() -> None:
    async def script(line: Line) -> None:
        assert await line.play(silence(0, 16_000)).finished()
        assert line.time <= 0.02

    on_a_line(script)


def test_a_stopped_clip_gives_way_to_the_next() -> None:
    async def script(line: Line) -> None:
        long, short = line.play(tone(60.0)), line.play(tone(0.04, level=4_000))
        await asyncio.sleep(0.1)
        long.stop()
        long.stop()
        assert not await long.finished()
        assert await short.finished()
        assert line.time == pytest.approx(0.14)

    on_a_line(script)


def test_a_clip_stopped_before_it_began_is_not_heard() -> None:
    async def script(line: Line) -> None:
        line.play(tone(1.0)).stop()
        await asyncio.sleep(0.1)

    assert not on_a_line(script).outbound.any()


def test_clips_of_another_rate_keep_their_length() -> None:
    async def script(line: Line) -> None:
        assert await line.play(tone(1.0, 22_050), 22_050).finished()
        assert line.time == pytest.approx(1.0)

    on_a_line(script)


def test_stop_playing_stops_what_was_to_come_too() -> None:
    async def script(line: Line) -> None:
        clips = [line.play(tone(1.0)) for _ in range(3)]
        await asyncio.sleep(0.1)
        line.stop_playing()
        assert [await clip.finished() for clip in clips] == [False] * 3

    listener = on_a_line(script)
    assert len(np.flatnonzero(listener.outbound)) < 0.13 * 16_000


@given(values=st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=4))
def test_everything_is_mixed_without_overflow(values: list[int]) -> None:
    async def script(line: Line) -> None:
        for value in values:
            line.attach(Source(value))
        await asyncio.sleep(0.04)

    listener = on_a_line(script)
    # The mix is clipped each time a source is added.
    total = 0
    for value in values:
        total = max(-32_768, min(32_767, total + value))
    assert set(listener.outbound[320:]) == {total}


def test_the_earpiece_has_a_frame_when_it_begins_and_the_listeners_when_it_is_over() -> None:
    sounds: list[tuple[float, int]] = []

    async def script(line: Line) -> None:
        line.handset.earpiece = lambda frame: sounds.append(
            (line.time, 0 if frame is None else int(frame[0]))
        )
        await asyncio.sleep(0.05)
        detach = line.attach(Source(7))
        await asyncio.sleep(0.02)
        detach()
        await asyncio.sleep(0.04)

    listener = on_a_line(script)
    assert [pytest.approx(time) for time, sound in sounds if sound] == [0.06]
    assert [tick for tick, _, outbound in listener.frames if outbound.any()] == [4]


def test_a_detached_source_is_heard_no_more() -> None:
    source = Source(7)

    async def script(line: Line) -> None:
        detach = line.attach(source)
        await asyncio.sleep(0.04)
        detach()
        detach()
        await asyncio.sleep(0.04)

    listener = on_a_line(script)
    assert source.ticks == [1, 2]
    assert np.count_nonzero(listener.outbound) == 640


def test_after_a_stall_what_came_meanwhile_is_taken_first() -> None:
    said: list[Samples] = []

    async def script(line: Line) -> None:
        peer, own = socket.socketpair()
        arrived = asyncio.Event()

        async def take() -> None:
            await arrived.wait()
            said.extend([tone(0.02)] * 2)

        line.handset.microphone = lambda: said.pop(0) if said else None
        taking = asyncio.create_task(take())
        asyncio.get_running_loop().add_reader(own, arrived.set)
        await asyncio.sleep(0.03)
        peer.send(b"audio")
        stall(0.045)
        await taking
        asyncio.get_running_loop().remove_reader(own)
        peer.close()
        own.close()
        await asyncio.sleep(0.04)

    listener = on_a_line(script)
    assert [tick for tick, inbound, _ in listener.frames if inbound.any()] == [2, 3]


def test_silence_is_always_the_same_frame() -> None:
    async def script(line: Line) -> None:
        silences.append(line.silence)
        await asyncio.sleep(0.1)

    silences: list[Samples] = []
    listener = on_a_line(script)
    assert listener.frames
    assert all(frame is silences[0] for entry in listener.frames for frame in entry[1:])


def test_keys_come_a_tenth_of_a_second_apart() -> None:
    async def script(line: Line) -> None:
        await asyncio.sleep(0.2)
        line.handset.press("1#")
        line.handset.press("D")
        await line.handset.wait_spoken()

    assert on_a_line(script).digits == [(0.2, "1"), (0.3, "#"), (0.4, "D")]


def test_keys_reach_whoever_asked_until_they_have_had_enough() -> None:
    async def script(line: Line) -> None:
        digits: list[Any] = []
        enough = line.on_digit(digits.append)
        line.handset.press("12")
        await line.handset.wait_spoken()
        enough()
        line.handset.press("3")
        assert digits == ["1", "2"]

    on_a_line(script)


@pytest.mark.parametrize("digits", ["", "12x", "w"])
def test_keys_that_no_phone_has_are_refused(digits: str) -> None:
    async def script(line: Line) -> None:
        with pytest.raises(ValueError, match=r"0-9, \*, # and A-D"):
            line.handset.press(digits)
        with pytest.raises(ValueError, match=r"0-9, \*, # and A-D"):
            line.send_digits(digits)

    on_a_line(script)


def test_digits_sent_to_the_person_are_noticed() -> None:
    async def script(line: Line) -> None:
        await asyncio.sleep(0.5)
        line.send_digits("42")
        assert [(key.time, key.digit) for key in line.handset.digits_heard] == [
            (pytest.approx(0.5), "4"),
            (pytest.approx(0.5), "2"),
        ]

    on_a_line(script)


def test_a_recording_has_both_sides_from_when_it_was_begun_to_when_it_was_stopped() -> None:
    async def script(line: Line) -> None:
        await asyncio.sleep(0.1)
        recording = line.record()
        line.handset.say(tone(0.1))
        line.play(tone(0.06, level=3_000))
        await asyncio.sleep(0.2)
        recording.stop()
        recording.stop()
        await asyncio.sleep(0.2)
        assert recording.seconds == pytest.approx(0.2)
        assert recording.samples.shape == (3_200, 2)
        assert np.array_equal(recording.samples[:1_600, 0], tone(0.1))
        assert np.array_equal(recording.samples[:960, 1], tone(0.06, level=3_000))
        assert not recording.samples[1_600:].any()

    on_a_line(script)


def test_a_recording_of_nothing_is_empty() -> None:
    async def script(line: Line) -> None:
        assert line.record().samples.shape == (0, 2)

    on_a_line(script)


def test_hanging_up_ends_everything_once() -> None:
    async def script(line: Line) -> None:
        clip = line.play(tone(9.0))
        waiting = [
            asyncio.create_task(wait)
            for wait in (
                line.handset.wait(5.0),
                line.handset.wait_for_speech(60.0),
                line.handset.wait_for_silence(60.0),
            )
        ]
        await asyncio.sleep(0.5)
        line.handset.hang_up()
        line.hang_up("somebody else")
        assert await line.wait_ended() == "person"
        assert not await clip.finished()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(error, CallEnded) for error in ended)
        await asyncio.sleep(1.0)
        assert line.time == pytest.approx(0.5)
        assert not await line.play(tone(1.0)).finished()
        with pytest.raises(CallEnded):
            line.handset.say(tone(1.0))
        with pytest.raises(CallEnded):
            await line.handset.wait(1.0)
        line.send_digits("1")
        assert line.handset.digits_heard == []

    listener = on_a_line(script)
    assert listener.ended_by == "person"
    assert len(listener.frames) == 25


def test_a_line_starts_once() -> None:
    async def script(line: Line) -> None:
        with pytest.raises(RuntimeError, match="carries one call"):
            line.start()

    on_a_line(script)


def test_a_call_that_was_never_answered_can_be_hung_up() -> None:
    async def scenario() -> None:
        line = Line()
        assert not line.up
        line.hang_up("caller")
        assert await line.wait_ended() == "caller"
        assert line.time == 0.0
        with pytest.raises(RuntimeError):
            line.start()

    run_virtual(scenario())
