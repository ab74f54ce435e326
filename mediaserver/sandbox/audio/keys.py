"""Keys pressed on a phone, one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from mediaserver.protocol import DIGITS
from mediaserver.sandbox.audio.playback import TOLERANCE


KEY_INTERVAL = 0.1
"""Seconds between keys pressed in a row."""

Stretch: TypeAlias = tuple[float, float]
"""`(start, end)` in seconds after the start of the stream, or after the call was answered."""


@dataclass(frozen=True, slots=True)
class Key:
    """One DTMF digit, at `time` seconds after the start of the stream or of the call."""

    time: float
    digit: str


class Keypad:
    """Keys still to be pressed: the first at once, each following one 0.1 s later.

    It is false when none waits.
    """

    def __init__(self) -> None:
        self._waiting: deque[Key] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def press(self, digits: str, now: float) -> None:
        """Press `digits` from `now` on, after the keys that wait already."""
        if self._waiting:
            now = max(now, self._waiting[-1].time + KEY_INTERVAL)
        for index, digit in enumerate(digits):
            self._waiting.append(Key(now + index * KEY_INTERVAL, digit))

    def due(self, now: float) -> Iterator[str]:
        """Yield the keys whose time has come, each once."""
        while self._waiting and self._waiting[0].time <= now + TOLERANCE:
            yield self._waiting.popleft().digit

    def clear(self) -> None:
        """Forget the keys that wait."""
        self._waiting.clear()


def check_digits(digits: str, what: str = "keys") -> None:
    """Check that `digits` are one or more keys of a phone.

    Raises:
        ValueError: A digit is not one of `0`-`9`, `*`, `#`, `A`-`D`, or `digits` is empty.

    """
    if not digits or not DIGITS.issuperset(digits):
        raise ValueError(f"{what} must be of 0-9, *, # and A-D, got {digits!r}")
