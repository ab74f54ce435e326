"""Greets, then repeats what the caller says."""

from __future__ import annotations

import os

import numpy as np

from audiocodecs import Wav, read_wav
from mediaserver.call import Frame, check_audio
from mediaserver.handler import Handler


_MARGIN = 2
"""Number of frames kept before and after the loud ones, since words begin and end softly."""


class Parrot(Handler):
    """Plays a greeting, then repeats whatever the caller says once they have finished.

    A key stops it mid-sentence.

    Args:
        greeting: a clip, or the path of a WAV or FLAC file; None for no greeting.
        level: the root mean square of a frame, 0 to 32767, above which the caller is speaking.
        pause: the seconds of quiet after which the caller has finished.

    Raises:
        AudioError: the greeting cannot be played.
        OSError: its file cannot be opened.

    """

    def __init__(
        self,
        greeting: Wav | str | os.PathLike[str] | None = None,
        *,
        level: float = 300.0,
        pause: float = 0.6,
    ) -> None:
        self.greeting: Wav | None = None
        if greeting is not None:
            self.greeting = greeting if isinstance(greeting, Wav) else read_wav(greeting)
            check_audio(self.greeting)
        self.level = level
        self.pause = pause
        self.forget()

    def forget(self) -> None:
        """Wait for the caller to say something new."""
        self.said: list[Frame] = []
        self.loud = 0  # the number of them up to the last loud one
        self.quiet = 0.0

    async def on_start(self) -> None:
        """Greet."""
        if self.greeting is not None:
            await self.stream.play(self.greeting)

    async def on_audio(self, frame: Frame) -> None:
        """Keep what the caller says, and repeat it when they have finished."""
        if frame.track != "inbound":
            return
        self.said.append(frame)
        if frame_rms(frame) > self.level:
            self.loud, self.quiet = len(self.said), 0.0
        elif not self.loud:
            del self.said[:-_MARGIN]
        else:
            self.quiet += frame.seconds
            if self.quiet >= self.pause:
                # The bytes as they came: they need not be decoded and encoded.
                said = self.said[: self.loud + _MARGIN]
                self.forget()
                await self.stream.play(b"".join(frame.payload for frame in said))

    async def on_dtmf(self, digit: str) -> None:
        """Fall silent."""
        self.stream.interrupt()
        self.forget()


def frame_rms(frame: Frame) -> float:
    """Return the root mean square of a frame's samples: 0 to 32767."""
    samples = frame.samples.astype(np.float32)
    return float(np.sqrt(np.mean(samples * samples))) if len(samples) else 0.0
