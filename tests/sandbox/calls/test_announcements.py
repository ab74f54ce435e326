from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from audiocodecs import Samples, Wav, encode_wav
from mediaserver.sandbox.audio.line import Line
from mediaserver.sandbox.calls.announcements import BEEP, fetch_clip, play_clip, play_urls
from mediaserver.sandbox.people.person import HangUp, Person, Wait
from mediaserver.testing import run_virtual
from tests.sandbox.conftest import OnPlatform


def tone(seconds: float) -> Samples:
    time = np.arange(round(8_000 * seconds)) / 8_000
    return (9_000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)


@pytest.mark.parametrize(("times", "seconds"), [(None, 0.5), (1, 0.5), (3, 1.5)])
def test_a_clip_is_played_as_often_as_asked(times: int | None, seconds: float) -> None:
    async def scenario() -> tuple[bool, float]:
        line = Line()
        line.start()
        heard = await play_clip(line, Wav(tone(0.5), 8_000), times)
        return heard, line.time

    assert run_virtual(scenario()) == (True, pytest.approx(seconds, abs=0.05))


@pytest.mark.parametrize("times", [1, 0])
def test_a_clip_ends_with_the_call(times: int) -> None:
    async def scenario() -> tuple[bool, float]:
        line = Line()
        line.start()
        asyncio.get_running_loop().call_later(4, line.hang_up)
        heard = await play_clip(line, Wav(tone(5), 8_000), times)
        return heard, line.time

    assert run_virtual(scenario()) == (False, pytest.approx(4, abs=0.05))


def test_the_beep_is_half_a_second_of_1_khz() -> None:
    spectrum = np.abs(np.fft.rfft(BEEP.samples))

    assert BEEP.seconds == 0.5
    assert np.argmax(spectrum) / BEEP.seconds == 1_000


def test_a_file_that_cannot_be_had_is_no_clip(on_platform: OnPlatform) -> None:
    async def scenario(platform: Any) -> list[Wav | None]:
        platform.customer.replies |= {
            "/none.wav": 404,
            "/no.wav": "no WAV",
            "/tone.wav": encode_wav(tone(1), 8_000),
        }
        return [
            await fetch_clip(
                platform.exchange.services, platform.customer.target(path), call_uuid="c1"
            )
            for path in ("/none.wav", "/no.wav", "/tone.wav")
        ]

    missing, broken, clip = on_platform(scenario)

    assert (missing, broken) == (None, None)
    assert clip.seconds == 1


@pytest.mark.parametrize(("loop", "seconds"), [(False, 3), (True, 10)])
def test_files_are_played_one_after_the_other(
    on_platform: OnPlatform, loop: bool, seconds: float
) -> None:
    async def scenario(platform: Any) -> float:
        paths = ("/one.wav", "/none.wav", "/two.wav")
        platform.customer.replies |= {
            "/one.wav": encode_wav(tone(1), 8_000),
            "/none.wav": 404,
            "/two.wav": encode_wav(tone(2), 8_000),
        }
        line = Line()
        line.start()
        asyncio.get_running_loop().call_later(10, line.hang_up)
        urls = [platform.customer.target(path) for path in paths]
        await play_urls(platform.exchange.services, line, urls, loop=loop, call_uuid="c1")
        return line.time

    assert on_platform(scenario) == pytest.approx(seconds, abs=0.05)


def test_files_that_are_played_over_and_over_end_when_the_person_hangs_up(
    on_platform: OnPlatform,
) -> None:
    async def scenario(platform: Any) -> Any:
        platform.customer.replies["/tone.wav"] = encode_wav(tone(1), 8_000)
        call = await platform.call('<Wait length="60"/>')
        await call.answered.wait()
        call.play_urls([platform.customer.target("/tone.wav")], loop=True)
        await call.wait_ended()
        return call.record

    record = on_platform(scenario, person=Person([Wait(5.5), HangUp()]))

    assert (record.bill_duration, record.hangup_source) == (6, "Callee")
