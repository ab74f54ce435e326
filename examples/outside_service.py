"""Speech in chunks, as a service sends it, and a lookup that blocks.

    mediaserver serve examples.outside_service:Agent
    mediaserver call ws://127.0.0.1:8000/stream --press 1@1 --record out.wav

`speak` stands for a text-to-speech service, `look_up` for a database driver without async.
"""

import asyncio
import time
from collections.abc import AsyncIterator

import numpy as np

from audiocodecs import Samples
from mediaserver import Handler


RATE = 24_000


async def speak(text: str) -> AsyncIterator[Samples]:
    """Yield a tone for each word as it becomes ready, faster than it is heard."""
    for word in text.split():
        await asyncio.sleep(0.05)
        time_ = np.arange(round(0.06 * RATE * len(word))) / RATE
        wave = np.sin(2 * np.pi * (200 + 20 * len(word)) * time_) * np.hanning(len(time_))
        yield (9000 * wave).astype(np.int16)


def look_up(caller: str | None) -> str:
    """Block for a while, as drivers without async do."""
    time.sleep(0.1)
    return "friend" if caller is None else caller


class Agent(Handler):
    """Greets the caller by name; a key interrupts."""

    async def on_start(self) -> None:
        """Look up the caller without blocking other calls, and speak."""
        name = await self.stream.run_blocking(look_up, self.stream.caller)
        self.greeting = await self.stream.say(
            speak(f"Hello {name} what can I do for you on this fine day"), rate=RATE
        )
        self.heard = await self.greeting.heard()

    async def on_dtmf(self, digit: str) -> None:
        """Stop speaking, which closes the service's stream too, and answer."""
        self.stream.interrupt()
        await self.stream.say(speak("You pressed a key"), rate=RATE)
