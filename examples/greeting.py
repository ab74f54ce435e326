"""Plays a greeting; a key cuts it short, and the log says how much the caller heard.

    mediaserver serve examples.greeting:Greeting
    mediaserver call ws://127.0.0.1:8000/stream --press 1@1.5

Leave out the key to hear all of it.
"""

import logging

import numpy as np

from audiocodecs import Samples, Wav
from mediaserver import Handler, Interrupt


log = logging.getLogger(__name__)


def tone(hertz: float, seconds: float, rate: int) -> Samples:
    """Return a tone that fades, so that it ends without a click."""
    time = np.arange(round(seconds * rate)) / rate
    wave = 8000 * np.sin(2 * np.pi * hertz * time) * np.exp(-2 * time / seconds)
    return wave.astype(np.int16)


# For your own greeting: GREETING = read_wav("greeting.wav"), from audiocodecs, at any rate.
MELODY = [tone(hertz, 0.75, 24_000) for hertz in (523, 659, 784, 1047)]
GREETING = Wav(np.concatenate(MELODY), 24_000)


class Greeting(Handler):
    """Greets, waits until the caller has heard it, and hangs up."""

    async def on_start(self) -> None:
        """Play the greeting and wait until it has been heard, or cut short."""
        playback = await self.stream.play(GREETING.mono(), rate=GREETING.rate)
        self.heard = await playback.heard()
        log.info("heard %.2f of %.2f s", self.heard.seconds, GREETING.seconds)
        await self.stream.hang_up()

    async def on_dtmf(self, digit: str) -> None:
        """Stop at once; audio that Plivo already holds is cleared too."""
        self.stream.interrupt()

    async def on_interrupt(self, interrupt: Interrupt) -> None:
        """Log how much the caller missed."""
        log.info("%.2f s were not heard", interrupt.unheard)
