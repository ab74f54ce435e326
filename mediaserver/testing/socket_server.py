"""A WebSocket server on this machine whose connections fail as a test says.

What it takes and answers is what a subclass says: see `mediaserver.testing.deepgram` and
`mediaserver.testing.assemblyai`.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar, Literal, Self

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from mediaserver.testing.http_server import RefusedError


@dataclass(frozen=True, slots=True)
class SocketFault:
    """How a connection fails.

    Attributes:
        refuse: the HTTP status with which it is refused, such as 401 or 429.
        delay: seconds that each answer takes longer.
        after: messages that come before the rest fails.
        then: how: no message comes any more, the connection is cut, a message is no JSON, or
            the service ends the session.

    """

    refuse: int | None = None
    delay: float = 0.0
    after: int = 0
    then: Literal["stall", "disconnect", "malformed", "expire"] | None = None


class SocketServer(ABC):
    """A service on 127.0.0.1.

    Args:
        faults: how connections fail, one for each; those after them do not.

    Attributes:
        base_url: the base URL to give to a client.
        api_key: the key that connections must bring.
        received: the messages of text that were accepted, oldest first.
        sizes: the sizes of the binary messages that came.
        refusals: what was refused.
        open: the number of connections that are open.

    """

    def __init__(self, *, faults: tuple[SocketFault, ...] = ()) -> None:
        self.base_url = ""
        self.api_key = "a test key"
        self.received: list[dict[str, Any]] = []
        self.sizes: list[int] = []
        self.refusals: list[str] = []
        self.open = 0
        self.faults = deque(faults)
        self._connections: set[ServerConnection] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Serve on a free port of this machine."""
        async with serve(
            self._serve,
            "127.0.0.1",
            0,
            process_request=self._admit,
            compression=None,
            close_timeout=1,
        ) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            self.base_url = f"ws://127.0.0.1:{port}"
            yield self

    def cut(self) -> None:
        """Cut all connections, as a network does that fails."""
        for connection in self._connections:
            connection.transport.abort()

    @abstractmethod
    def admit(self, request: Request) -> str | None:
        """Check a request, and return the JSON that answers it if it is not for a WebSocket.

        Raises:
            RefusedError: the service would refuse it.

        """

    @abstractmethod
    def refusal(self, refused: RefusedError) -> dict[str, Any]:
        """Return what the service answers to a request that it refuses."""

    @abstractmethod
    def serving(self, connection: ServerConnection, fault: SocketFault) -> ServedSocket:
        """Return what serves a connection.

        Raises:
            RefusedError: the service would refuse it now.

        """

    @abstractmethod
    async def refuse(self, connection: ServerConnection, refused: RefusedError) -> None:
        """Close a connection because of what came over it."""

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        try:
            if (answer := self.admit(request)) is not None:
                return connection.respond(HTTPStatus.OK, answer)
            if self.faults and (status := self.faults[0].refuse) is not None:
                self.faults.popleft()
                raise RefusedError(status, "The scripted refusal.", "SCRIPTED")
        except RefusedError as refused:
            self.refusals.append(refused.message)
            body = json.dumps(self.refusal(refused))
            return connection.respond(HTTPStatus(refused.status), body)
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        fault = self.faults.popleft() if self.faults else SocketFault()
        self.open += 1
        self._connections.add(connection)
        try:
            served = self.serving(connection, fault)
            try:
                await served.run()
            finally:
                await served.stop()
        except ConnectionClosed:
            pass
        except RefusedError as refused:
            self.refusals.append(refused.message)
            await self.refuse(connection, refused)
        finally:
            self.open -= 1
            self._connections.discard(connection)


class ServedSocket(ABC):
    """One connection.

    Args:
        server: the server.
        connection: the connection.
        fault: how it fails.

    Attributes:
        failed: whether it has failed, and says nothing any more.
        ended: whether it was closed as it should be.

    """

    malformed: ClassVar = '{"type":'

    def __init__(
        self, server: SocketServer, connection: ServerConnection, fault: SocketFault
    ) -> None:
        self.server = server
        self.connection = connection
        self.failed = self.ended = False
        self._fault = fault
        self._count = 0

    async def run(self) -> None:
        """Serve it until it closes."""
        while not self.ended:
            message = await self.next_message()
            if message is None:
                return
            if self.failed:
                continue
            if isinstance(message, bytes):
                self.server.sizes.append(len(message))
                await self.hear(message)
            else:
                read = self.read(message)
                self.server.received.append(read)
                await self.take(read)

    async def stop(self) -> None:
        """Clean up."""
        self.ended = True

    async def next_message(self) -> bytes | str | None:
        """Return the next message, or None if the connection was closed for the lack of one."""
        return await self.connection.recv()

    @abstractmethod
    def read(self, message: str) -> dict[str, Any]:
        """Return a message of text.

        Raises:
            RefusedError: the service would refuse it.

        """

    @abstractmethod
    async def hear(self, audio: bytes) -> None:
        """Take audio."""

    @abstractmethod
    async def take(self, message: dict[str, Any]) -> None:
        """Take a message."""

    async def expire(self) -> None:
        """End the session, as the service does."""
        await self.connection.close(1000, "the session has ended")

    async def close(self) -> None:
        """Close the connection as it should be."""
        self.ended = True
        await self.connection.close()

    async def send(self, message: dict[str, Any] | bytes) -> None:
        """Send a message, or fail."""
        fault = self._fault
        if fault.delay:
            await asyncio.sleep(fault.delay)
        self._count += 1
        if fault.then is not None and self._count > fault.after:
            self.failed = True
            if fault.then == "disconnect":
                self.connection.transport.abort()
            elif fault.then == "malformed":
                await self.connection.send(self.malformed)
            elif fault.then == "expire":
                await self.expire()
            return
        await self.connection.send(message if isinstance(message, bytes) else json.dumps(message))
