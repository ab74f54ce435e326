from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest

from mediaserver.sandbox.audio.line import Line
from mediaserver.sandbox.audio.silence import wait_silent
from mediaserver.testing import run_virtual


def waited(
    amplitude: int,
    seconds: float = 2.0,
    hang_up_after: float | None = None,
    within: float = math.inf,
) -> tuple[bool, float]:
    """Wait for silence while somebody makes a sound for 3 s; return its result and duration."""

    async def scenario() -> tuple[bool, float]:
        line = Line()
        line.start()
        line.handset.say(np.full(48_000, amplitude, np.int16))
        if hang_up_after is not None:
            asyncio.get_running_loop().call_later(hang_up_after, line.hang_up)
        silent = await wait_silent(line, seconds, within=within)
        took = asyncio.get_running_loop().time()
        line.hang_up()
        return silent, took

    return run_virtual(scenario())


def test_silence_counts_from_the_last_sound() -> None:
    assert waited(5_000) == (True, pytest.approx(5, abs=0.05))


def test_a_hiss_is_silence() -> None:
    assert waited(50) == (True, pytest.approx(2, abs=0.05))


def test_the_end_of_the_line_ends_the_wait() -> None:
    assert waited(5_000, hang_up_after=1.0) == (True, pytest.approx(1))


def test_silence_that_does_not_come_in_time_is_not_waited_for() -> None:
    assert waited(5_000, within=4.0) == (False, pytest.approx(4))
