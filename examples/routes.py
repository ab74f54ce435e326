"""Several handlers in one server, by path and by dialled number, with something shared.

    mediaserver serve examples.routes:ROUTES
    mediaserver call ws://127.0.0.1:8000/high --audio in.wav --record out.wav

A call from /answer finds its handler by the dialled number; from /answer?path=/high, by the path.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np

from mediaserver import Handler, Route, Routes, Stream


log = logging.getLogger(__name__)


@dataclass
class Shared:
    """What every call of a worker can reach: a database pool, a model, a client."""

    callers: list[str] = field(default_factory=list)


@asynccontextmanager
async def lifespan() -> AsyncIterator[Shared]:
    """Open what calls share before the first call, and close it after the last."""
    shared = Shared()
    yield shared
    log.info("%d calls", len(shared.callers))


class Beep(Handler):
    """Answers with a tone; its arguments come from the route's settings."""

    def __init__(self, hertz: float = 440) -> None:
        wave = np.sin(2 * np.pi * hertz * np.arange(8000) / 8000)
        self.tone = (8000 * wave).astype(np.int16)

    async def on_start(self) -> None:
        """Note who calls, and beep."""
        self.stream.shared.callers.append(self.stream.caller or "someone")
        await self.stream.play(self.tone, rate=8000)


async def echo(stream: Stream, volume: float = 1.0) -> None:
    async for frame in stream.audio():
        await stream.play((frame.samples * volume).astype(np.int16))


ROUTES = Routes(
    Route(Beep, "/high", settings={"hertz": 880}),
    Route(Beep, number="+1 415 555 0100", settings={"hertz": 220}),
    Route(echo, settings={"volume": 0.5}),  # /stream, for any other number
    lifespan=lifespan,
)
