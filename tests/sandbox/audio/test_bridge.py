from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from mediaserver.sandbox.audio.bridge import Bridge
from mediaserver.sandbox.audio.line import Line
from mediaserver.testing import run_virtual


TONE = (9_000 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)).astype(np.int16)


def heard_by(offset: float, part_after: float = 9.0) -> tuple[list[tuple[float, float]], ...]:
    """Let one of two joined persons speak for a second; return what each of them heard."""

    async def scenario() -> tuple[list[Any], list[tuple[float, float]]]:
        one, other = Line(), Line()
        one.start()
        await asyncio.sleep(offset)
        other.start()
        bridge = Bridge(one, other)
        one.handset.say(TONE)
        await asyncio.sleep(part_after)
        bridge.part()
        bridge.part()
        await asyncio.sleep(3)
        heard = one.handset.heard, other.handset.heard
        one.hang_up()
        other.hang_up()
        return heard

    return run_virtual(scenario())


@pytest.mark.parametrize("offset", [0.0, 0.007, 0.02])
def test_one_hears_the_other_and_not_itself(offset: float) -> None:
    own, others = heard_by(offset)

    assert own == []
    assert others == [pytest.approx((0, 1), abs=0.05)]


def test_nothing_is_heard_after_they_part() -> None:
    _, others = heard_by(0.0, part_after=0.5)

    assert others == [pytest.approx((0, 0.5), abs=0.05)]


def test_lines_of_different_rates_cannot_be_joined() -> None:
    with pytest.raises(ValueError, match="16000 and 8000 Hz"):
        Bridge(Line(), Line(rate=8_000))
