"""Waiting until the person on a line is silent."""

from __future__ import annotations

import asyncio
import math

import numpy as np

from audiocodecs import Samples
from mediaserver.sandbox.audio.line import Line
from mediaserver.sandbox.audio.playback import TICKS_PER_SECOND
from mediaserver.sandbox.audio.speech import AUDIBLE_PEAK


class _Quiet:
    def __init__(self, line: Line, seconds: float) -> None:
        self.reached = asyncio.Event()
        self._silence = line.silence
        self._wanted = max(1, round(seconds * TICKS_PER_SECOND))
        self._frames = 0

    def on_frame(self, _tick: int, inbound: Samples, _outbound: Samples) -> None:
        silent = (
            inbound is self._silence or int(np.abs(inbound.astype(np.int32)).max()) < AUDIBLE_PEAK
        )
        self._frames = self._frames + 1 if silent else 0
        if self._frames >= self._wanted:
            self.reached.set()

    def on_digit(self, digit: str) -> None:
        """Keys are no sound."""

    def on_end(self, ended_by: str) -> None:
        self.reached.set()


async def wait_silent(line: Line, seconds: float, *, within: float) -> bool:
    """Wait until the person has said nothing for `seconds`, or the line has ended.

    Args:
        line: The line that the person is on.
        seconds: How long the silence must last.
        within: Seconds that this may take; `math.inf` waits as long as the call lasts.

    Returns:
        True if the person was silent that long or the line ended, False if `within` passed first.

    """
    quiet = _Quiet(line, seconds)
    unlisten = line.listen(quiet)
    try:
        if line.ended_by is None:
            async with asyncio.timeout(None if within == math.inf else within):
                await quiet.reached.wait()
    except TimeoutError:
        return False
    finally:
        unlisten()
    return True
