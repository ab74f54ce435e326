import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trustme

from mediaserver.server.counters import ServerCounters
from mediaserver.server.process.arrivals import Arrivals
from mediaserver.server.process.connections import HttpConnections
from mediaserver.server.relocation import HandedConnection
from tests.server.until import until


class Greets(asyncio.Protocol):
    """Says how its connection arrived, and closes it."""

    def __init__(
        self, *, address: str | None, spare: bool, handed: HandedConnection | None
    ) -> None:
        self.said = f"{address} {spare}".encode() + (b" " + handed.head if handed else b"")

    def connection_made(self, transport: Any) -> None:
        transport.write(self.said)
        transport.close()


class Arriving:
    """Arrivals, and clients of them."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.held = HttpConnections(5, address_limit=5)
        self.counters = ServerCounters(())
        self.arrivals = Arrivals(
            lambda **given: Greets(**given), self.held, self.counters, context=context
        )
        self.clients: list[socket.socket] = []

    def connect(self, *, spare: bool = False) -> socket.socket:
        client, accepted = connected_pair()
        client.setblocking(False)
        self.clients.append(client)
        self.arrivals.take(accepted, "192.0.2.1", spare=spare)
        return client


def connected_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        return client, listening.accept()[0]


async def read(client: socket.socket) -> bytes:
    async with asyncio.timeout(30):
        return await asyncio.get_running_loop().sock_recv(client, 100)


@pytest.fixture
async def plain() -> AsyncIterator[Arriving]:
    arriving = Arriving()
    yield arriving
    await close(arriving)


@pytest.fixture
async def tls() -> AsyncIterator[Arriving]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    arriving = Arriving(context)
    yield arriving
    await close(arriving)


async def close(arriving: Arriving) -> None:
    arriving.arrivals.drop()
    await arriving.arrivals.wait_gone()
    for client in arriving.clients:
        client.close()


async def test_a_connection_gets_its_protocol(plain: Arriving) -> None:
    assert not plain.arrivals.encrypted
    client = plain.connect(spare=True)
    assert len(plain.arrivals) == 1
    assert await read(client) == b"192.0.2.1 True"
    assert len(plain.arrivals) == 0
    assert not plain.held.waiting


async def test_what_another_process_has_decrypted_has_no_handshake(tls: Arriving) -> None:
    client, accepted = socket.socketpair()
    client.setblocking(False)
    tls.clients.append(client)
    handed = HandedConnection(("192.0.2.1", 40_000), secure=True, head=b"GET")
    tls.arrivals.take(accepted, "192.0.2.1", handed=handed)
    assert await read(client) == b"192.0.2.1 False GET"


async def test_handshakes_that_never_end_are_bounded(tls: Arriving) -> None:
    for _ in range(20):
        tls.connect()
    await until(lambda: tls.held.dropped["address"] == 15)
    await until(lambda: len(tls.arrivals) == 5)
    assert len(tls.held.waiting) == 5
    assert tls.counters.tls_failures == 0


async def test_a_handshake_that_fails_is_counted(tls: Arriving) -> None:
    assert tls.arrivals.encrypted
    client = tls.connect()
    client.send(b"this is not TLS")
    await until(lambda: tls.counters.tls_failures == 1)
    assert not tls.held.waiting


async def test_what_is_dropped_is_closed(tls: Arriving) -> None:
    client = tls.connect()
    tls.arrivals.drop()
    await tls.arrivals.wait_gone()
    with contextlib.suppress(ConnectionResetError):
        assert await read(client) == b""
    assert not tls.held.waiting
