from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from audiocodecs import Samples, silence
from mediaserver.sandbox.audio.handset import Handset
from mediaserver.sandbox.audio.line import Line
from mediaserver.sandbox.errors import CallEnded, WaitTimeoutError
from mediaserver.testing import run_virtual


RATE = 16_000


def voice(seconds: float) -> Samples:
    return np.random.default_rng(1).normal(0, 4_000, round(seconds * RATE)).astype(np.int16)


def on_the_phone(script: Callable[..., Any]) -> None:
    async def scenario() -> None:
        line = Line()
        line.start()
        await script(line, line.handset)
        line.hang_up()

    run_virtual(scenario())


def test_the_other_side_is_heard_by_its_sound_not_by_its_audio() -> None:
    async def script(line: Line, handset: Handset) -> None:
        line.play(silence(2.0, RATE))
        line.play(voice(0.5))
        await handset.wait_for_speech()
        assert handset.time == pytest.approx(2.02)

    on_the_phone(script)


def test_short_pauses_do_not_end_a_turn() -> None:
    async def script(line: Line, handset: Handset) -> None:
        for pause in (0.3, 0.5, 0.7):
            line.play(voice(0.4))
            line.play(silence(pause, RATE))
        await line.play(voice(0.4)).finished()
        await handset.wait(0.02)
        turns = [(round(start, 2), round(end, 2)) for start, end in handset.heard]
        assert turns == [(0.0, 2.0), (2.7, 3.1)]

    on_the_phone(script)


def test_speech_of_a_given_length_is_waited_for() -> None:
    async def script(line: Line, handset: Handset) -> None:
        line.play(voice(1.0))
        line.play(silence(1.0, RATE))
        line.play(voice(2.0))
        await handset.wait_for_speech(1.5)
        assert handset.time == pytest.approx(3.5)

    on_the_phone(script)


def test_what_was_over_before_is_not_waited_for() -> None:
    async def script(line: Line, handset: Handset) -> None:
        line.play(voice(0.5))
        await handset.wait(1.0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await handset.wait_for_speech()
        await handset.wait_for_speech(since=0.1)

    on_the_phone(script)


def test_silence_counts_from_the_last_sound() -> None:
    async def script(line: Line, handset: Handset) -> None:
        line.play(voice(1.0))
        await handset.wait(0.5)
        await handset.wait_for_silence(0.8)
        assert handset.time == pytest.approx(1.8)

    on_the_phone(script)


def test_silence_that_has_lasted_counts_from_now() -> None:
    async def script(line: Line, handset: Handset) -> None:
        await handset.wait(3.0)
        await handset.wait_for_silence(0.8)
        assert handset.time == pytest.approx(3.8)

    on_the_phone(script)


def test_what_is_said_one_after_the_other_does_not_overlap() -> None:
    async def script(line: Line, handset: Handset) -> None:
        handset.say(voice(0.5))
        handset.say(silence(0.6, RATE))
        handset.say(voice(0.5))
        assert handset.speaking
        await handset.wait_spoken()
        assert handset.time == pytest.approx(1.6)
        assert handset.said == [(0.0, 0.5), (1.1, 1.6)]

    on_the_phone(script)


def test_a_wait_has_a_limit_and_says_what_was_heard() -> None:
    async def script(line: Line, handset: Handset) -> None:
        line.play(voice(0.5))
        await handset.wait(1.0)
        with pytest.raises(WaitTimeoutError, match=r"waited 3\.00 s for 0 s of speech") as late:
            await handset.wait_for_speech(within=3.0)
        assert "the other side was last heard from 0.00 s to 0.50 s" in str(late.value)
        assert handset.time == pytest.approx(4.0)

    on_the_phone(script)


def test_a_silence_that_is_over_can_be_waited_for() -> None:
    async def script(line: Line, handset: Handset) -> None:
        line.play(voice(0.5))
        line.play(silence(1.0, RATE))
        line.play(voice(2.0))
        await handset.wait(2.5)
        await handset.wait_for_silence(0.8, after=0.2)
        assert handset.time == pytest.approx(2.52)

    on_the_phone(script)


def test_a_wait_that_the_end_of_the_call_ends_says_who_ended_it() -> None:
    async def script(line: Line, handset: Handset) -> None:
        asyncio.get_running_loop().call_later(1.0, line.hang_up, "agent")
        with pytest.raises(CallEnded, match=r"speech; the call ended at 1\.00 s, by the agent"):
            await handset.wait_for_speech()

    on_the_phone(script)


def test_waiters_that_gave_up_are_forgotten() -> None:
    async def script(line: Line, handset: Handset) -> None:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await handset.wait_for_speech()
        await handset.wait(0.1)
        assert not handset.waiting

    on_the_phone(script)


def test_what_comes_from_a_microphone_is_said_but_not_over_a_clip() -> None:
    async def script(line: Line, handset: Handset) -> None:
        live = voice(0.02)
        handset.microphone = lambda: live if handset.time > 1.19 else None
        recording = line.record()
        handset.say(voice(0.5))
        await handset.wait(1.5)
        handset.microphone = lambda: None
        handset.say(voice(0.1))
        await handset.wait(0.5)
        said = [(round(start, 2), round(end, 2)) for start, end in handset.said]
        assert said == [(0.0, 0.5), (1.18, 1.6)]
        assert np.array_equal(recording.samples[18_880:19_200, 0], live)

    on_the_phone(script)


def test_an_earpiece_gets_all_that_is_heard() -> None:
    async def script(line: Line, handset: Handset) -> None:
        heard: list[Samples | None] = []
        handset.earpiece = heard.append
        await handset.wait(0.1)
        await line.play(voice(0.04)).finished()
        await handset.wait(0.1)
        sound = [frame for frame in heard if frame is not None]
        assert len(heard) == pytest.approx(12, abs=1)
        assert np.array_equal(np.concatenate(sound), voice(0.04))

    on_the_phone(script)
