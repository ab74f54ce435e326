from pathlib import Path

import numpy as np
import pytest

from mediaserver.agents import Echo
from mediaserver.replay import replayed
from mediaserver.testing import JoinedCall
from tests.agents.scripted_call import voice
from tests.replay.captured import captured, captured_call


pytest.importorskip("matplotlib")


async def talks(line: JoinedCall) -> None:
    line.phone.say(voice(1.0))
    await line.phone.wait_until(2.0)


def test_a_picture_of_both_runs_is_a_png(tmp_path: Path) -> None:
    from mediaserver.replay.picture import draw_comparison

    comparison = replayed(captured(tmp_path, Echo, talks), Echo)
    draw_comparison(tmp_path / "call.png", comparison, title="a call")
    assert (tmp_path / "call.png").read_bytes().startswith(b"\x89PNG")


def test_the_callers_voice_is_where_it_was_said(tmp_path: Path) -> None:
    from mediaserver.replay.picture import caller_audio

    audio = caller_audio(captured_call(tmp_path, Echo, talks))
    loud = np.flatnonzero(np.abs(audio) > 1_000) / 8_000
    assert loud[0] == pytest.approx(0.0, abs=0.03)
    assert loud[-1] == pytest.approx(1.0, abs=0.03)
