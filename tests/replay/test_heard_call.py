from pathlib import Path

import numpy as np
import pytest

from mediaserver import Stream
from mediaserver.replay.heard_call import HeardCall, captured_hearing
from mediaserver.sandbox.wire.misbehaviour import Misbehaviour
from mediaserver.testing import JoinedCall, joined, run_virtual
from tests.agents.scripted_call import voice
from tests.replay.captured import captured_call, two_seconds


async def speaks(stream: Stream) -> None:
    await stream.play(stream.format.encode(voice(3.0)))
    async for _ in stream.audio():
        pass


def heard(folder: Path, **options: object) -> HeardCall:
    return captured_hearing(captured_call(folder, speaks, two_seconds, **options))


def test_what_was_heard_then_is_what_the_phone_played_then(tmp_path: Path) -> None:
    async def measure() -> tuple[np.ndarray, float | None]:
        async with joined(speaks) as line:
            await two_seconds(line)
        report = line.phone.report()
        assert report.recording is not None
        return report.recording[:, 1], report.first_audio

    played, first = run_virtual(measure())
    call = heard(tmp_path)
    assert call.first_audio == first
    assert np.array_equal(call.audio, played[: len(call.audio)])
    assert len(played) - len(call.audio) <= 160


def test_a_call_ends_in_the_middle_of_what_is_said(tmp_path: Path) -> None:
    call = heard(tmp_path)
    assert call.seconds == pytest.approx(2.0, abs=0.01)
    assert call.heard == pytest.approx(2.0, abs=0.05)
    assert call.spells[-1][1] <= call.seconds
    assert call.gaps == []


def test_audio_that_was_taken_back_is_not_heard(tmp_path: Path) -> None:
    async def breaks_off(stream: Stream) -> None:
        await stream.play(stream.format.encode(voice(3.0)))
        async for frame in stream.audio():
            if frame.chunk == 50:
                stream.interrupt()

    call = captured_hearing(captured_call(tmp_path, breaks_off, two_seconds))
    assert call.heard == pytest.approx(1.0, abs=0.05)
    assert [at for at, _ in call.clears] == [pytest.approx(1.0, abs=0.03)]


def test_what_was_lost_with_the_connection_is_not_heard(tmp_path: Path) -> None:
    async def lasts(line: JoinedCall) -> None:
        await line.phone.wait_until(2.0)

    misbehaviour = Misbehaviour(drop=1.0, reopen=0.4)
    call = captured_hearing(captured_call(tmp_path, speaks, lasts, misbehaviour=misbehaviour))
    quiet = call.audio[round(1.1 * 8_000) : round(1.3 * 8_000)]
    assert not quiet.any()
