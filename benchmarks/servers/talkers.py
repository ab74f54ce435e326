"""Agents that talk, for the playback benchmark: handlers for `mediaserver serve`.

The query of the stream URL gives the seconds of speech: `?seconds=60`.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import numpy as np
from numpy.typing import NDArray

from benchmarks.servers.speech import RATE, speech
from mediaserver.handler import Handler
from mediaserver.stream import Stream


CHUNK_SECONDS = 0.2
"""A speech service streams its audio in pieces of about this length…"""

CHUNK_INTERVAL = 0.04
"""…five times as fast as it is spoken."""

STALL_SECONDS = 0.15
STALL_INTERVAL = (0.9, 1.1)
"""About once a second, but not in step with the server's own periodic work."""

QUIET_SECONDS = 1.0
"""Seconds that an agent is silent after it was interrupted."""


async def streamed(samples: NDArray[np.int16]) -> AsyncIterator[NDArray[np.int16]]:
    """Yield speech as a speech service does."""
    size = round(CHUNK_SECONDS * RATE)
    for start in range(0, len(samples), size):
        yield samples[start : start + size]
        await asyncio.sleep(CHUNK_INTERVAL)


async def endless() -> AsyncIterator[NDArray[np.int16]]:
    """Yield speech for ever."""
    while True:
        async for chunk in streamed(speech(10.0)):
            yield chunk


def asked_seconds(stream: Stream) -> float:
    return float(stream.query.get("seconds", "60"))


class Monologue(Handler):
    """Speaks what a speech service streams."""

    async def on_start(self) -> None:
        """Speak."""
        await self.stream.say(streamed(speech(asked_seconds(self.stream))))


class Recital(Handler):
    """Plays all its speech in one piece."""

    async def on_start(self) -> None:
        """Speak."""
        await self.stream.play(speech(asked_seconds(self.stream)))


@asynccontextmanager
async def stalling() -> AsyncIterator[None]:
    """Block the event loop again and again, as a careless handler would."""
    random = Random(0)

    async def stall() -> None:
        while True:
            await asyncio.sleep(random.uniform(*STALL_INTERVAL) - STALL_SECONDS)
            time.sleep(STALL_SECONDS)  # noqa: ASYNC251 - on purpose: nothing else runs meanwhile

    task = asyncio.create_task(stall())
    try:
        yield
    finally:
        task.cancel()


class StalledMonologue(Monologue):
    """The same agent on an event loop that is blocked once a second."""

    lifespan = stalling


class Interruptible(Handler):
    """Talks without end; a key interrupts it, and a second later it continues."""

    async def on_start(self) -> None:
        """Talk."""
        while True:
            await self.stream.say(endless())
            await asyncio.sleep(QUIET_SECONDS)

    async def on_dtmf(self, digit: str) -> None:
        """Fall silent."""
        self.stream.interrupt()


class Accountant(Handler):
    """Says something, then reports what the caller heard of it in the name of a checkpoint.

    The name is `heard:SECONDS:OUTCOME`, the outcome one of interrupted, confirmed and estimated.
    A key interrupts it. Half a second of silence separates the utterances.
    """

    SILENCE_SECONDS = 0.5

    async def on_start(self) -> None:
        """Speak, and report what was heard."""
        random = Random(self.stream.stream_id)
        while True:
            # Whole frames; some are queued at once, and some are still being made when
            # they are cut off; longer than the interval at which checkpoints may be sent.
            frames = random.randint(60, 200)
            playback = await self.stream.say(streamed(speech(4.0)[: frames * RATE // 50]))
            heard = await playback.heard()
            outcome = "confirmed" if heard.confirmed else "estimated"
            if heard.interrupted:
                outcome = "interrupted"
            self.stream.checkpoint(f"heard:{heard.seconds:.4f}:{outcome}")
            await asyncio.sleep(self.SILENCE_SECONDS)

    async def on_dtmf(self, digit: str) -> None:
        """Fall silent."""
        self.stream.interrupt()
