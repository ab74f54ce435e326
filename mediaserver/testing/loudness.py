"""Turn-taking by loudness, on the clock of the audio."""

from __future__ import annotations

from typing import Literal

import numpy as np

from audiocodecs import AudioFormat


LOUD = 500
"""Root mean square of int16 samples above which audio is speech."""


class LoudnessTurns:
    """Tells when the caller begins and stops speaking.

    Attributes:
        heard: seconds of audio so far.

    """

    def __init__(self) -> None:
        self.heard = 0.0
        self._speaking = False
        self._quiet = 0.0

    def hear(
        self, audio: bytes, wire: AudioFormat, silence: float
    ) -> Literal["started", "stopped"] | None:
        """Listen to a piece of audio, and return what changed with it.

        Args:
            audio: bytes in the format `wire`.
            wire: the format.
            silence: seconds of quiet that end a turn.

        """
        seconds = wire.seconds(audio)
        self.heard += seconds
        samples = wire.decode(audio).astype(np.float64)
        if samples.size and float(np.sqrt(np.mean(samples**2))) > LOUD:
            self._quiet = 0.0
            begins, self._speaking = not self._speaking, True
            return "started" if begins else None
        self._quiet += seconds
        if not self._speaking or self._quiet < silence:
            return None
        self._speaking = False
        return "stopped"
