"""Two lines joined: each person hears the other."""

from __future__ import annotations

from collections import deque
from typing import Final

from audiocodecs import Samples
from mediaserver.sandbox.audio.line import Line, Undo


_MOST_FRAMES: Final = 5


class _Ear:
    """Takes the voice of one line to the ear of the other."""

    def __init__(self, line: Line) -> None:
        self._silence = line.silence
        # Each line ticks on its own grid: more frames than jitter explains are late.
        self._frames: deque[Samples] = deque(maxlen=_MOST_FRAMES)

    def on_frame(self, _tick: int, inbound: Samples, _outbound: Samples) -> None:
        self._frames.append(inbound)

    def on_digit(self, digit: str) -> None:
        """Keys are not passed on."""

    def on_end(self, ended_by: str) -> None:
        """The lines are parted by `Bridge.part`."""

    def take(self, _tick: int) -> Samples | None:
        frame = self._frames.popleft() if self._frames else None
        return None if frame is self._silence else frame


class Bridge:
    """Joins two lines of the same rate from now on, until `part`."""

    def __init__(self, one: Line, other: Line) -> None:
        if one.rate != other.rate:
            raise ValueError(f"lines of {one.rate} and {other.rate} Hz cannot be joined")
        self._undo = [*_overhear(one, other), *_overhear(other, one)]

    def part(self) -> None:
        """Part the lines. Does nothing the second time."""
        while self._undo:
            self._undo.pop()()


def _overhear(speaker: Line, listener: Line) -> tuple[Undo, Undo]:
    ear = _Ear(speaker)
    return speaker.listen(ear), listener.attach(ear)
