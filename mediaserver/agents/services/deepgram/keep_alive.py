"""Messages that keep connections open on which nothing is sent."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol
from weakref import WeakKeyDictionary


_EVERY: Final = 3.0
"""Seconds. Deepgram closes a connection after 10 s without a message, and asks for one every 3 to
5 s: https://developers.deepgram.com/docs/audio-keep-alive."""

_WITHIN: Final = 1.0


class KeptAlive(Protocol):
    """A connection that is kept open."""

    async def keep_alive(self) -> None:
        """Send something, if nothing was sent since this was called last."""


class KeepAlives:
    """Keeps connections open: with one task for all of an event loop's, none for each call."""

    def __init__(self) -> None:
        self._open: WeakKeyDictionary[asyncio.AbstractEventLoop, set[KeptAlive]] = (
            WeakKeyDictionary()
        )
        self._tasks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = (
            WeakKeyDictionary()
        )

    def add(self, kept: KeptAlive) -> None:
        """Keep a connection open from now on."""
        loop = asyncio.get_running_loop()
        kept_open = self._open.setdefault(loop, set())
        kept_open.add(kept)
        if loop not in self._tasks:
            self._tasks[loop] = loop.create_task(_keep(kept_open), name="deepgram-keep-alive")

    def remove(self, kept: KeptAlive) -> None:
        """Leave a connection alone, which may have been removed before."""
        loop = asyncio.get_running_loop()
        kept_open = self._open.get(loop, set())
        kept_open.discard(kept)
        if not kept_open and (task := self._tasks.pop(loop, None)) is not None:
            task.cancel()


async def _keep(kept_open: set[KeptAlive]) -> None:
    while True:
        await asyncio.sleep(_EVERY)
        for kept in tuple(kept_open):
            try:
                async with asyncio.timeout(_WITHIN):
                    await kept.keep_alive()
            except TimeoutError:
                continue  # nobody reads at the other end: others must not wait for that
