"""A realtime model on this machine that says what a script says: what such servers share.

It never waits for a clock: an answer is sent as fast as the client takes it, unless its script has
it wait for an event.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import cycle
from typing import Any, Self

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from mediaserver.testing.realtime_answers import RealtimeAnswer


class RealtimeServer(ABC):
    """A model that answers by a script.

    Args:
        *answers: what it says, one for each response; after the last it says nothing.
        transcripts: what it understands the caller to say, one for each turn.
        chunks: the sizes of the pieces of audio, in bytes, over and over.
        refuse: an HTTP status, and how many connections are refused with it.

    Attributes:
        base_url: the base URL to give to a client.
        api_key: the key that clients must bring.
        received: the messages of clients that were accepted, oldest first.
        refusals: what was refused, and why.

    """

    base_path = ""
    """The path of the base URL."""

    refusals: Sequence[Any]

    def __init__(
        self,
        *answers: RealtimeAnswer,
        transcripts: Sequence[str] = (),
        chunks: Sequence[int] = (800, 1, 3333),
        refuse: tuple[int, int] = (503, 0),
    ) -> None:
        self.base_url = ""
        self.api_key = "a test key"
        self.received: list[dict[str, Any]] = []
        self._answers = iter(answers)
        self._transcripts = iter(transcripts)
        self._chunks = tuple(chunks)
        self._refuse = refuse
        self._arrived = asyncio.Condition()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Serve on a free port of this machine."""
        async with serve(
            self.serve_connection,
            "127.0.0.1",
            0,
            process_request=self._admit,
            max_size=16 * 1024 * 1024,
            compression=None,
            close_timeout=1,
        ) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            self.base_url = f"http://127.0.0.1:{port}{self.base_path}"
            yield self

    @abstractmethod
    async def serve_connection(self, connection: ServerConnection) -> None:
        """Serve one client until it goes."""

    @abstractmethod
    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Return the refusal of a request, if it is refused."""

    @abstractmethod
    def types_of(self, message: dict[str, Any]) -> Sequence[str]:
        """Return the types of a message."""

    @abstractmethod
    def of_type(self, kind: str) -> list[Any]:
        """Return the accepted messages of one type."""

    async def wait_for(self, kind: str, count: int = 1, *, within: float = 30.0) -> Any:
        """Wait until `count` messages of one type have come, and return the last of them.

        Raises:
            TimeoutError: they have not come within `within` seconds.

        """
        try:
            async with asyncio.timeout(within), self._arrived:
                await self._arrived.wait_for(lambda: len(self.of_type(kind)) >= count)
        except TimeoutError:
            came = ", ".join(name for each in self.received for name in self.types_of(each))
            raise TimeoutError(
                f"{len(self.of_type(kind))} of {count} messages {kind!r} within {within:g} s; "
                f"received: {came or 'nothing'}; refused: {self.refusals or 'nothing'}"
            ) from None
        return self.of_type(kind)[count - 1]

    def refuse(self, status: int, count: int = 1) -> None:
        """Refuse the next connections with an HTTP status."""
        self._refuse = (status, count)

    def next_refusal(self) -> int | None:
        """Return the status with which the script refuses this connection, if it does."""
        status, left = self._refuse
        self._refuse = (status, max(0, left - 1))
        return status if left else None

    def next_answer(self) -> RealtimeAnswer:
        """Return the next answer."""
        return next(self._answers, RealtimeAnswer())

    def next_transcript(self) -> str:
        """Return what the caller is understood to have said."""
        return next(self._transcripts, "")

    def chunks(self) -> Iterator[int]:
        """Return the sizes of the pieces of an answer's audio."""
        return cycle(self._chunks)

    async def note(self, message: dict[str, Any]) -> None:
        """Note a message of a client that was accepted."""
        self.received.append(message)
        async with self._arrived:
            self._arrived.notify_all()
