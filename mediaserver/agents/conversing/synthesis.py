"""The speech of a text while it is synthesised."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from mediaserver.agents.services import ServiceError, WordMark
from mediaserver.call import Frame


class Synthesis:
    """The speech of a text while it is synthesised, for all that listen to it.

    It is synthesised as fast as the service can, however slowly a call plays it, and cancelled when
    the last listener has stopped.

    Args:
        pieces: the speech, as a service yields it.

    Attributes:
        speech: the pieces so far.
        done: whether no more will come.

    """

    def __init__(self, pieces: AsyncGenerator[Frame | WordMark, None]) -> None:
        self.speech: list[Frame | WordMark] = []
        self.done = False
        self._error: ServiceError | None = None
        self._listeners = 0
        self._more = asyncio.Event()
        self._task = asyncio.create_task(self._make(pieces), name="synthesises")

    async def listen(self) -> AsyncGenerator[Frame | WordMark, None]:
        """Yield the pieces so far, and the others as they come.

        Raises:
            ServiceError: the service failed.

        """
        self._listeners += 1
        told = 0
        try:
            while True:
                more = self._more
                while told < len(self.speech):
                    told += 1
                    yield self.speech[told - 1]
                if self.done:
                    break
                await more.wait()
            if self._error is not None:
                raise self._error
        finally:
            self._listeners -= 1
            if not self._listeners:
                await self.cancel()

    async def cancel(self) -> None:
        """Stop, if it is not done. Listeners get no more pieces."""
        if not self.done:
            self.done = True
            self._tell()
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _make(self, pieces: AsyncGenerator[Frame | WordMark, None]) -> None:
        try:
            async for piece in pieces:
                self.speech.append(piece)
                self._tell()
        except ServiceError as error:
            self._error = error
        finally:
            self.done = True
            self._tell()
            await pieces.aclose()

    def _tell(self) -> None:
        self._more.set()
        self._more = asyncio.Event()
