from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from audiocodecs import Samples
from mediaserver.sandbox.audio.background_noise import BackgroundNoise
from mediaserver.sandbox.audio.line import Line
from mediaserver.sandbox.errors import CallEnded, NotInProgressError
from mediaserver.sandbox.people.live_person import LivePerson
from mediaserver.testing import run_virtual


FRAME = 320


def tone(seconds: float) -> Samples:
    times = np.arange(round(seconds * 16_000)) / 16_000
    return (8_000 * np.sin(2 * np.pi * 400 * times)).astype(np.int16)


async def say(live: LivePerson, samples: Samples) -> None:
    for start in range(0, len(samples), FRAME):
        live.speak(samples[start : start + FRAME])
        await asyncio.sleep(0.02)


def on_the_line(script: Callable[[LivePerson, Line], Awaitable[None]]) -> tuple[Samples, ...]:
    """Run a script with a person on a line; return what was said and what was heard."""

    async def scenario() -> tuple[Samples, ...]:
        live = LivePerson()
        heard: list[Samples] = []
        live.hear = heard.append
        line = Line()
        line.start()
        talking = asyncio.create_task(live.person().talk(line.handset))
        await asyncio.sleep(0)
        recording = line.record()
        await script(live, line)
        line.hang_up()
        await talking
        return recording.samples[:, 0], np.concatenate(heard)

    return run_virtual(scenario())


def audible(samples: Samples) -> float:
    """Return how many seconds of 20 ms are audible."""
    return float(np.sum(np.abs(samples.reshape(-1, FRAME)).max(axis=1) > 256) * 0.02)


def test_what_comes_from_outside_is_said() -> None:
    async def script(live: LivePerson, line: Line) -> None:
        await asyncio.sleep(0.51)
        await say(live, tone(1))
        await asyncio.sleep(0.5)
        assert line.handset.said == [pytest.approx((0.5, 1.5), abs=0.021)]

    said, _ = on_the_line(script)

    start = np.flatnonzero(said)[0] // FRAME * FRAME
    assert np.array_equal(said[start : start + 16_000], tone(1))


def test_what_the_person_hears_goes_outside_with_its_silence() -> None:
    async def script(_live: LivePerson, line: Line) -> None:
        await asyncio.sleep(0.51)
        await line.play(tone(1)).finished()
        await asyncio.sleep(0.5)

    _, heard = on_the_line(script)

    assert len(heard) == pytest.approx(2 * 16_000, abs=2 * FRAME)
    start = np.flatnonzero(heard)[0] // FRAME * FRAME
    assert np.array_equal(heard[start : start + 16_000], tone(1))


def test_what_is_said_before_the_call_is_answered_is_not_kept() -> None:
    async def scenario() -> list[tuple[float, float]]:
        live, line = LivePerson(), Line()
        await say(live, tone(0.1))
        line.start()
        talking = asyncio.create_task(live.person().talk(line.handset))
        await asyncio.sleep(1)
        line.hang_up()
        await talking
        return line.handset.said

    assert run_virtual(scenario()) == []


def test_on_hold_nothing_goes_either_way() -> None:
    async def script(live: LivePerson, line: Line) -> None:
        live.hold(True)
        assert live.on_hold
        line.play(tone(0.5))
        await say(live, tone(0.5))
        await asyncio.sleep(0.5)
        live.hold(False)
        line.play(tone(0.2))
        await say(live, tone(0.2))
        await asyncio.sleep(0.5)

    said, heard = on_the_line(script)

    assert audible(said) == pytest.approx(0.2, abs=0.021)
    assert audible(heard) == pytest.approx(0.2, abs=0.021)


def test_noise_goes_on_whether_the_person_speaks_or_not() -> None:
    async def script(live: LivePerson, _line: Line) -> None:
        live.noise = BackgroundNoise("hiss", -30)
        await say(live, tone(0.5))
        await asyncio.sleep(0.5)
        live.noise = None
        await asyncio.sleep(1)

    said, heard = on_the_line(script)

    assert audible(said) == pytest.approx(1, abs=0.041)
    assert audible(heard) == 0


def test_loud_noise_does_not_turn_into_its_opposite() -> None:
    async def script(live: LivePerson, _line: Line) -> None:
        live.noise = BackgroundNoise("hum", -6)
        await say(live, np.full(8_000, 30_000, np.int16))

    said, _ = on_the_line(script)

    assert said.max() == 32_767
    assert said[:7_000].min() > -3_000


def test_of_a_silent_person_only_the_noise_is_heard() -> None:
    async def script(live: LivePerson, _line: Line) -> None:
        live.silent = True
        await say(live, tone(0.5))
        await asyncio.sleep(0.5)

    said, _ = on_the_line(script)

    assert audible(said) == 0


def test_keys_are_pressed() -> None:
    async def script(live: LivePerson, line: Line) -> None:
        live.press("12#")
        await asyncio.sleep(1)
        assert [key.digit for key in line.handset.keys] == ["1", "2", "#"]
        with pytest.raises(ValueError, match="0-9"):
            live.press("x")

    on_the_line(script)


def test_without_a_call_there_is_nothing_to_hold_or_press() -> None:
    live = LivePerson()
    with pytest.raises(NotInProgressError, match="not been answered"):
        live.hold(True)
    with pytest.raises(NotInProgressError, match="not been answered"):
        live.press("1")


def test_after_the_call_no_key_can_be_pressed() -> None:
    kept: list[LivePerson] = []

    async def script(live: LivePerson, _line: Line) -> None:
        kept.append(live)
        await asyncio.sleep(0.1)

    on_the_line(script)
    with pytest.raises(CallEnded):
        kept[0].press("1")


def test_a_line_of_another_rate_is_refused() -> None:
    async def scenario() -> None:
        line = Line(rate=8_000)
        line.start()
        await LivePerson().person().talk(line.handset)

    with pytest.raises(ValueError, match="needs a line of 16000 Hz, not 8000 Hz"):
        run_virtual(scenario())
