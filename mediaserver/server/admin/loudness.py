"""How loud one side of a call is: what a picture of it needs, where nobody may hear it."""

from __future__ import annotations

from typing import Final

import numpy as np

from audiocodecs import AudioFormat


PEAKS: Final = 100
"""Peaks in a second."""

_LOUDEST: Final = 32_768


class Loudness:
    """The peaks of audio that comes piece by piece, until they are taken.

    Args:
        format: of the audio.
        slack: seconds by which a piece may be apart from the one before, and still follows it.

    """

    def __init__(self, format: AudioFormat, slack: float) -> None:
        self._format = format
        self._slack = slack
        self._runs: list[tuple[float, bytearray]] = []
        self._end = 0.0

    def add(self, payload: bytes, at: float) -> None:
        """Take audio that is heard from a time on, in seconds."""
        follows = abs(at - self._end) <= self._slack
        if not follows:
            self._end = at
        if not self._runs or not follows:
            self._runs.append((self._end, bytearray()))
        self._runs[-1][1].extend(payload)
        self._end += self._format.seconds(payload)

    def seconds(self, payload: bytes) -> float:
        """Return how long a piece is."""
        return self._format.seconds(payload)

    def take(self) -> list[list[float]]:
        """Return runs of audio: when one begins, and its peaks from 0 to 1, in their order."""
        runs, self._runs = self._runs, []
        return [[round(at, 4), *self._peaks(audio)] for at, audio in runs]

    def _peaks(self, audio: bytearray) -> list[float]:
        # Whoever sends half a sample must harm no call.
        size = self._format.sample_bytes
        samples = self._format.decode(bytes(audio[: len(audio) // size * size]))
        step = self._format.rate // PEAKS
        rest = np.zeros(-samples.size % step, np.int16)
        steps = np.append(samples, rest).reshape(-1, step).astype(np.int32)
        peaks: list[float] = (np.abs(steps).max(axis=1) / _LOUDEST).round(2).tolist()
        return peaks
