import asyncio
import select
import socket

import pytest

from mediaserver.server.relay import StreamRelay
from tests.server.until import until


pytestmark = pytest.mark.each_loop

Ends = tuple[socket.socket, socket.socket]


class Relayed:
    """A relay between two pairs of sockets, whose other ends are the client and the server."""

    def __init__(self) -> None:
        self.forgotten: list[StreamRelay] = []
        self.client, self.outer = socket.socketpair()
        self.server, self.inner = socket.socketpair()
        for sock in (self.client, self.outer, self.server):
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)

    async def start(self) -> StreamRelay:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, self.outer)
        transport.pause_reading()
        self.transport = transport
        self.relay = StreamRelay(
            transport, self.inner, self.forgotten.append, dead_peer_timeout=30.0
        )
        return self.relay

    @property
    def is_over(self) -> bool:
        return self.forgotten == [self.relay]


@pytest.fixture
async def relayed() -> object:
    relayed = Relayed()
    await relayed.start()
    yield relayed
    relayed.client.close()
    relayed.server.close()
    await until(lambda: relayed.is_over)


async def send(sock: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, data)


async def read(sock: socket.socket, size: int) -> bytes:
    """Read so many bytes, or all if the end comes before."""
    data = b""
    async with asyncio.timeout(30):
        while len(data) < size:
            more = await asyncio.get_running_loop().sock_recv(sock, size - len(data))
            if not more:
                break
            data += more
    return data


async def test_bytes_go_both_ways(relayed: Relayed) -> None:
    await send(relayed.client, b"to the server")
    await send(relayed.server, b"to the client")
    assert await read(relayed.server, 13) == b"to the server"
    assert await read(relayed.client, 13) == b"to the client"


@pytest.mark.parametrize("way", ["client", "server"])
async def test_a_side_that_reads_nothing_holds_the_other_back_and_loses_nothing(
    relayed: Relayed, way: str
) -> None:
    sends, reads = relayed.client, relayed.server
    if way == "server":
        sends, reads = reads, sends
    data = bytes(range(256)) * 8_000
    sending = asyncio.create_task(send(sends, data))
    # Until no side takes more, for some turns of the loop in a row.
    full = 0
    async with asyncio.timeout(30):
        while full < 50:
            await asyncio.sleep(0)
            full = 0 if select.select([], [sends], [], 0)[1] else full + 1
    assert not sending.done()
    assert await read(reads, len(data)) == data
    await sending


async def test_the_end_of_what_one_side_sends_is_passed_on(relayed: Relayed) -> None:
    await send(relayed.client, b"last")
    relayed.client.shutdown(socket.SHUT_WR)
    assert await read(relayed.server, 100) == b"last"
    await send(relayed.server, b"still heard")
    assert await read(relayed.client, 11) == b"still heard"
    relayed.server.close()
    assert await read(relayed.client, 100) == b""
    await until(lambda: relayed.is_over)


async def test_what_was_sent_before_a_close_still_arrives(relayed: Relayed) -> None:
    await send(relayed.server, bytes(3_000))
    relayed.server.close()
    assert await read(relayed.client, 10_000) == bytes(3_000)
    relayed.client.close()
    await until(lambda: relayed.is_over)


async def test_a_lost_client_closes_the_way_to_the_server(relayed: Relayed) -> None:
    await send(relayed.client, b"a")
    assert await read(relayed.server, 1) == b"a"
    relayed.transport.abort()
    assert await read(relayed.server, 1) == b""
    await until(lambda: relayed.is_over)


async def test_a_client_that_is_lost_before_the_way_is_open_is_not_waited_for() -> None:
    relayed = Relayed()
    await relayed.start()
    relayed.transport.abort()
    assert await read(relayed.server, 1) == b""
    await until(lambda: relayed.is_over)
    relayed.client.close()
    relayed.server.close()


async def test_a_server_that_is_gone_closes_the_client(relayed: Relayed) -> None:
    await send(relayed.client, b"a")
    await until(lambda: select.select([relayed.server], [], [], 0)[0])
    relayed.server.close()
    assert await read(relayed.client, 1) == b""
    await until(lambda: relayed.is_over)
