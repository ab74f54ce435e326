import asyncio
import os
import socket
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from mediaserver.server.workers.messages import ClientConnection
from mediaserver.server.workers.reception import Reception, Taker
from tests.server.until import until


pytestmark = pytest.mark.real_time


class Lobby:
    """A reception with one listening socket, and whoever takes its connections."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.errors: list[OSError] = []
        self.taken: list[ClientConnection] = []
        self.is_taken = True
        self.refuses = False
        self.clients: list[socket.socket] = []
        self.reception = Reception([self], self._taker)  # type: ignore[list-item]

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        if self.errors:
            raise self.errors.pop()
        return self.listener.accept()

    def fileno(self) -> int:
        return self.listener.fileno()

    def setblocking(self, blocks: bool) -> None:
        self.listener.setblocking(blocks)

    def _taker(self) -> Taker | None:
        return self._take if self.is_taken else None

    def _take(self, connection: ClientConnection, descriptor: int) -> bool:
        if not self.refuses:
            self.taken.append(connection)
            os.close(descriptor)
        return not self.refuses

    def connect(self) -> socket.socket:
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(self.listener.getsockname())
        self.clients.append(client)
        return client

    def close(self) -> None:
        self.reception.close()
        for each in (self.listener, *self.clients):
            each.close()


@pytest.fixture
async def lobby() -> AsyncIterator[Lobby]:
    lobby = Lobby()
    yield lobby
    lobby.close()


async def test_connections_are_given_to_whoever_takes_them(lobby: Lobby) -> None:
    lobby.reception.open()
    lobby.reception.open()
    addresses = [lobby.connect().getsockname() for _ in range(3)]
    await until(lambda: len(lobby.taken) == 3)
    assert [each.address for each in lobby.taken] == addresses
    assert {each.listener for each in lobby.taken} == {0}


async def test_connections_wait_while_nobody_takes_them(lobby: Lobby) -> None:
    lobby.is_taken = False
    lobby.reception.open()
    lobby.connect()
    lobby.is_taken = True
    lobby.reception.open()
    await until(lambda: lobby.taken)
    lobby.is_taken = False
    lobby.connect()
    # It notices when it would accept, and looks no more.
    lobby.reception.accept(0)
    lobby.is_taken = True
    lobby.reception.open()
    await until(lambda: len(lobby.taken) == 2)


async def test_a_connection_that_is_not_taken_after_all_is_closed(lobby: Lobby) -> None:
    lobby.refuses = True
    lobby.reception.open()
    client = lobby.connect()
    async with asyncio.timeout(30):
        assert await asyncio.get_running_loop().sock_recv(client, 1) == b""


async def test_without_descriptors_connections_wait(lobby: Lobby) -> None:
    lobby.errors = [OSError(24, "Too many open files")] * 2
    with capture_logs() as logged:
        for _ in range(2):
            lobby.reception.open()
            lobby.reception.accept(0)
    (line,) = logged
    assert line["error"] == "Too many open files"
    assert (line["failures"], lobby.reception.failures) == (1, 2)
    lobby.connect()
    lobby.reception.open()
    await until(lambda: lobby.taken)


async def test_a_connection_that_is_gone_already_is_passed_over(lobby: Lobby) -> None:
    lobby.errors = [OSError(103, "Software caused connection abort")]
    lobby.reception.open()
    lobby.connect()
    await until(lambda: lobby.taken)
