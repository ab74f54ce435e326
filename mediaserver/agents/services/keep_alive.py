"""Messages that keep connections open on which nothing is sent."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol
from weakref import WeakKeyDictionary


_WITHIN: Final = 1.0


class KeptAlive(Protocol):
    """A connection that is kept open."""

    async def keep_alive(self) -> None:
        """Send something, if nothing was sent since this was called last."""


class KeepAlives:
    """Keeps connections open, with one task for all connections of an event loop.

    Args:
        every: seconds from one look at a connection to the next.

    """

    def __init__(self, every: float) -> None:
        self._every = every
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
            keeping = _keep(kept_open, self._every)
            self._tasks[loop] = loop.create_task(keeping, name="keeps connections open")

    def remove(self, kept: KeptAlive) -> None:
        """Leave a connection alone, which may have been removed before."""
        loop = asyncio.get_running_loop()
        kept_open = self._open.get(loop, set())
        kept_open.discard(kept)
        if not kept_open and (task := self._tasks.pop(loop, None)) is not None:
            task.cancel()


async def _keep(kept_open: set[KeptAlive], every: float) -> None:
    while True:
        await asyncio.sleep(every)
        for kept in tuple(kept_open):
            try:
                async with asyncio.timeout(_WITHIN):
                    await kept.keep_alive()
            except TimeoutError:
                continue  # nobody reads at the other end: others must not wait for that
