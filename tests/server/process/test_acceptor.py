import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from mediaserver.server.counters import ServerCounters
from mediaserver.server.process.acceptor import Acceptor
from mediaserver.server.process.arrivals import Arrivals
from mediaserver.server.process.connections import HttpConnections
from mediaserver.server.process.descriptors import SpareDescriptors
from tests.server.until import until


pytestmark = pytest.mark.real_time


class Connection(asyncio.Protocol):
    """Waits for a request, and says what descriptor it has."""

    def __init__(
        self, held: HttpConnections, *, address: str | None, spare: bool, **_: Any
    ) -> None:
        self.address = address
        self.spare = spare
        self._held = held

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._held.wait(self)

    def data_received(self, data: bytes) -> None:
        self._held.discard(self)
        self.transport.write(b"spare" if self.spare else b"ordinary")
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._held.discard(self)

    def drop(self) -> None:
        self.transport.abort()


class Exhausted:
    """A listening socket whose process has no descriptor free."""

    def __init__(self, sock: socket.socket, spare: SpareDescriptors) -> None:
        self._sock = sock
        self._spare = spare
        self.exhausted = False
        self.failures = 0
        self.given: list[bool] = []
        take = spare.take
        # A spare descriptor that was closed makes one accept possible.
        spare.take = lambda: self.given.append(take()) or self.given[-1]  # type: ignore[method-assign, func-returns-value]

    def accept(self) -> Any:
        if self.exhausted and not (self.given and self.given.pop()):
            self.failures += 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return self._sock.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class Door:
    """An acceptor, its connections, and clients of it."""

    def __init__(self, limit: int = 100) -> None:
        self.held = HttpConnections(limit)
        self.counters = ServerCounters(())
        self.spare = SpareDescriptors(1)
        listening = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port: int = listening.getsockname()[1]
        self.sock = Exhausted(listening, self.spare)
        arrivals = Arrivals(
            lambda **given: Connection(self.held, **given), self.held, self.counters
        )
        self.acceptor = Acceptor(
            self.sock,  # type: ignore[arg-type]
            arrivals,
            self.held,
            self.spare,
            self.counters,
        )
        self.writers: list[asyncio.StreamWriter] = []

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return reader, writer

    async def ask(self) -> bytes:
        reader, writer = await self.connect()
        writer.write(b"?")
        return await reader.read()

    async def close(self) -> None:
        self.acceptor.close()
        await self.acceptor.wait_closed()
        self.held.drop_oldest(1000)
        self.spare.close()
        for writer in self.writers:
            writer.close()
        await until(lambda: not self.held.waiting)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    door = Door(limit=5)
    yield door
    await door.close()


async def test_a_connection_is_accepted(door: Door) -> None:
    assert await door.ask() == b"ordinary"


async def test_idle_connections_keep_nobody_out(door: Door) -> None:
    for _ in range(40):
        await door.connect()
        assert await door.ask() == b"ordinary"
        assert len(door.held.waiting) <= 5
    await until(lambda: door.held.dropped["idle"] >= 35)


async def test_requests_of_a_burst_are_read_before_their_connections_are_too_many(
    door: Door,
) -> None:
    door.held.limit = 80
    loop = asyncio.get_running_loop()
    clients = [socket.socket() for _ in range(120)]
    for client in clients:
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", door.port))
        client.send(b"?")
    for client in clients:
        assert await loop.sock_recv(client, 100) == b"ordinary"
        client.close()


async def test_without_descriptors_idle_connections_make_room(door: Door) -> None:
    idle = [await door.connect() for _ in range(3)]
    await until(lambda: len(door.held.waiting) == 3)
    door.sock.exhausted = True
    asking = asyncio.create_task(door.ask())
    for reader, _ in idle:
        # A reset says the same as an end.
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
    door.sock.exhausted = False
    assert await asking == b"ordinary"
    assert door.held.dropped == {"descriptors": 3}
    assert door.counters.accept_failures >= 1


async def test_without_descriptors_or_idle_connections_the_spare_one_answers(door: Door) -> None:
    door.sock.exhausted = True
    with capture_logs() as logged:
        for _ in range(3):
            assert await door.ask() == b"spare"
    (line,) = [each for each in logged if "descriptor" in each["event"]]
    assert line["log_level"] == "error"
    assert door.counters.accept_failures >= 3
    door.sock.exhausted = False
    assert await door.ask() == b"ordinary"


async def test_a_connection_that_was_lost_before_it_was_accepted_is_passed_over(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = door.sock.accept
    errors = [errno.ECONNABORTED, errno.EPROTO]

    def failing() -> Any:
        if errors:
            number = errors.pop()
            raise OSError(number, os.strerror(number))
        return accept()

    monkeypatch.setattr(door.sock, "accept", failing)
    assert await door.ask() == b"ordinary"
    assert door.counters.accept_failures == 0
