from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from audiocodecs import AudioError, Samples, Wav, encode_wav
from mediaserver.sandbox.audio.line import Line
from mediaserver.sandbox.calls import announcements
from mediaserver.sandbox.calls.announcements import (
    BEEP,
    fetch_clip,
    play_clip,
    play_urls,
    playable,
)
from mediaserver.sandbox.calls.diary import CallDiary
from mediaserver.sandbox.people.person import HangUp, Person, Wait
from mediaserver.testing import run_virtual
from tests.sandbox.conftest import OnPlatform


def tone(seconds: float) -> Samples:
    time = np.arange(round(8_000 * seconds)) / 8_000
    return (9_000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)


def diary(platform: Any) -> CallDiary:
    return CallDiary("c1", platform.exchange.services.now)


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
        platform.customer.replies |= {"/none.wav": 404, "/tone.wav": encode_wav(tone(1), 8_000)}
        return [
            await fetch_clip(
                platform.exchange.services, platform.customer.target(path), 16_000, diary(platform)
            )
            for path in ("/none.wav", "/tone.wav")
        ]

    missing, clip = on_platform(scenario)

    assert missing is None
    assert (clip.rate, clip.seconds) == (16_000, pytest.approx(1, abs=0.01))


UNPLAYABLE = {
    "HTML": b"<html><body>404 Not Found</body></html>",
    "empty": b"",
    "header only": encode_wav(tone(0), 8_000),
    "half a header": encode_wav(tone(1), 8_000)[:20],
    "1 Hz": encode_wav(tone(1), 1),
    "1 MHz": encode_wav(tone(1), 1_000_000),
}


@pytest.mark.parametrize("name", UNPLAYABLE)
def test_what_cannot_be_played_is_refused_with_a_reason(name: str) -> None:
    with pytest.raises(AudioError):
        playable(UNPLAYABLE[name], 16_000)


def test_a_file_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcements, "_LONGEST", 2)
    with pytest.raises(AudioError, match="longer than 2 s"):
        playable(encode_wav(tone(3), 8_000), 16_000)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 32_000, 44_100, 12_345, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_rate_and_any_channels_are_played(rate: int, channels: int) -> None:
    one = np.full(rate, 5_000, np.int16)
    file = encode_wav(one if channels == 1 else np.stack([one] * channels, axis=1), rate)
    clip = playable(file, 16_000)
    assert (clip.rate, clip.samples.ndim) == (16_000, 1)
    assert clip.seconds == pytest.approx(1, abs=0.01)
    assert np.abs(clip.samples[2_000:14_000] - 5_000).max() < 300


def test_a_file_that_is_cut_off_is_played_as_far_as_it_goes() -> None:
    file = encode_wav(tone(1), 8_000)
    assert playable(file[: len(file) // 2], 8_000).seconds == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("name", ["HTML", "1 Hz", "header only"])
def test_an_element_that_cannot_play_its_file_is_skipped(
    on_platform: OnPlatform, name: str
) -> None:
    async def scenario(platform: Any) -> Any:
        platform.customer.replies["/odd.wav"] = UNPLAYABLE[name]
        url = platform.customer.target("/odd.wav")
        call = await platform.call(f'<Play loop="0">{url}</Play><Wait length="2"/><Hangup/>')
        await call.wait_ended()
        return call.record

    record = on_platform(scenario)

    assert (record.hangup_source, record.bill_duration) == ("Answer XML", 2)


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
        await play_urls(platform.exchange.services, line, urls, diary(platform), loop=loop)
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
