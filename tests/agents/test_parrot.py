from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiocodecs import AudioError, Samples, Wav, write_wav
from mediaserver.agents import Parrot
from mediaserver.call import Frame
from mediaserver.routes import Route, Routes
from mediaserver.sandbox import CallReport, Phone
from mediaserver.testing import joined, run_virtual
from tests.agents.both_tracks import call_with_both_tracks


def tone(seconds: float, rate: int = 8000) -> Samples:
    times = np.arange(round(seconds * rate)) / rate
    return (8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)


def called(test: Callable[..., Any], said: Samples | None = None, **settings: Any) -> CallReport:
    async def main() -> CallReport:
        routes = Routes(Route(Parrot, settings=settings))
        async with joined(routes, audio=said) as line:
            await test(line.phone)
            return line.phone.report()

    return run_virtual(main())


def until(seconds: float) -> Callable[..., Any]:
    async def wait(phone: Phone) -> None:
        await phone.wait_until(seconds)

    return wait


def test_it_repeats_what_the_caller_said_once_they_have_finished() -> None:
    report = called(until(4.0), tone(1.0))
    ((start, end),) = report.agent_speech
    assert start == pytest.approx(1.6, abs=0.1)
    assert end - start == pytest.approx(1.0, abs=0.05)


def test_what_it_repeats_is_what_was_said() -> None:
    report = called(until(4.0), tone(1.0))
    assert report.recording is not None
    caller, agent = report.recording.T
    late = int(np.flatnonzero(agent)[0] - np.flatnonzero(caller)[0])
    assert np.array_equal(agent[late : late + 8000], caller[:8000])


def test_a_short_pause_is_part_of_what_was_said() -> None:
    said = np.concatenate([tone(0.5), np.zeros(3200, np.int16), tone(0.5)])
    report = called(until(5.0), said)
    assert len(report.replies) == 1
    assert report.agent_speech[-1][1] - report.agent_speech[0][0] == pytest.approx(1.4, abs=0.05)


def test_the_pause_after_which_the_caller_has_finished_can_be_set() -> None:
    report = called(until(4.0), tone(1.0), pause=0.2)
    assert report.replies[0].seconds == pytest.approx(0.2, abs=0.1)


def test_it_says_nothing_to_a_silent_caller() -> None:
    assert called(until(5.0)).audio_received == 0


def test_what_is_quieter_than_its_level_is_silence() -> None:
    assert called(until(5.0), tone(1.0), level=20_000).audio_received == 0


def test_it_repeats_every_utterance() -> None:
    pause = np.zeros(24_000, np.int16)
    report = called(until(8.0), np.concatenate([tone(0.5), pause, tone(0.5)]))
    assert len(report.agent_speech) == 2


def test_it_greets(tmp_path: Path) -> None:
    write_wav(tmp_path / "hello.wav", tone(1.0, 24000), 24000)
    report = called(until(2.0), greeting=str(tmp_path / "hello.wav"))
    ((start, end),) = report.agent_speech
    assert start == pytest.approx(0.0, abs=0.05)
    assert end - start == pytest.approx(1.0, abs=0.05)


def test_a_key_stops_it_in_the_middle(tmp_path: Path) -> None:
    async def test(phone: Phone) -> None:
        await phone.wait_until(1.0)
        phone.press("1")
        await phone.wait_until(3.0)

    write_wav(tmp_path / "hello.wav", tone(10.0), 8000)
    report = called(test, greeting=str(tmp_path / "hello.wav"))
    (interrupt,) = report.interrupts
    assert interrupt.seconds is not None
    assert interrupt.seconds <= 0.025
    assert report.audio_cleared > 0


@pytest.mark.parametrize(
    ("greeting", "said"),
    [
        (Wav(tone(0.1), 7999), "cannot resample at 7999 Hz"),
        (Wav(tone(0.1), 8000.0), "cannot resample at 8000.0 Hz"),  # type: ignore[arg-type]
        (3, "audio is read from a path or an open file, not 3"),
    ],
)
def test_a_greeting_that_cannot_be_played_is_refused_before_a_call(
    greeting: Any, said: str
) -> None:
    with pytest.raises(AudioError, match=said):
        Parrot(greeting)


def test_a_greeting_may_be_a_path_and_stereo(tmp_path: Path) -> None:
    write_wav(tmp_path / "hello.wav", np.stack([tone(1.0, 11025)] * 2, axis=1), 11025)
    report = called(until(1.5), greeting=tmp_path / "hello.wav")
    assert report.audio_played == pytest.approx(1.0, abs=0.03)


def test_a_key_makes_it_forget_what_was_said_so_far() -> None:
    async def test(phone: Phone) -> None:
        await phone.wait_until(0.8)
        phone.press("1")
        await phone.wait_until(4.0)

    report = called(test, tone(0.75))
    assert report.audio_received == 0


def test_the_other_party_is_not_repeated() -> None:
    said: list[int] = []

    class Listening(Parrot):
        async def on_audio(self, frame: Frame) -> None:
            await super().on_audio(frame)
            said.append(len(self.said))

    call_with_both_tracks(Listening, caller=(9.0, 9.0), other=(0.5, 1.5), until=3.0)
    assert max(said) <= 3  # the last frames of silence
