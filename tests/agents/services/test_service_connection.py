import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from mediaserver.agents.services import ServiceError
from mediaserver.agents.services.service_connection import ServiceConnection
from mediaserver.agents.services.service_socket import ServiceSocket
from tests.agents.virtual_network import VirtualNetworkLoop


FRAME = bytes(4000)  # of 20 ms, so that the system's buffers are soon full


@asynccontextmanager
async def connected(
    serving: Callable[[ServerConnection], Awaitable[Any]],
) -> AsyncIterator[ServiceSocket]:
    async with serve(serving, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        socket = await ServiceSocket.connect("ears", f"ws://127.0.0.1:{port}", within=5)
        yield socket
        await socket.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    with asyncio.Runner(loop_factory=VirtualNetworkLoop) as runner:
        runner.run(asyncio.wait_for(test(), 600))


async def never_reads(connection: ServerConnection) -> None:
    await connection.wait_closed()


def test_a_service_that_stops_reading_never_holds_up_the_call_and_is_lost() -> None:
    async def test() -> None:
        clock = asyncio.get_running_loop().time
        async with connected(never_reads) as socket:
            receiving = asyncio.create_task(socket.receive())
            while not receiving.done():
                before = clock()
                await socket.send(FRAME)
                assert clock() == before
                await asyncio.sleep(0.02)
            assert 5 < clock() < 10
            with pytest.raises(ServiceError, match=r"was lost: it has taken nothing for 5\.\d s"):
                await receiving
            await socket.send(FRAME)

    run(test)


def test_a_service_that_reads_slowly_is_not_lost() -> None:
    async def reads_slowly(connection: ServerConnection) -> None:
        async for _ in connection:
            await asyncio.sleep(0.04)

    async def test() -> None:
        async with connected(reads_slowly) as socket:
            for _ in range(1000):
                await socket.send(FRAME)
                await asyncio.sleep(0.02)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(socket.receive(), 1)

    run(test)


def test_too_much_that_is_unread_is_a_loss_before_its_time() -> None:
    async def test() -> None:
        async with connected(never_reads) as socket:
            for _ in range(10):
                await socket.send(bytes(2**20))
            with pytest.raises(ServiceError, match=r"taken nothing for 0\.0 s, and \d+ bytes wait"):
                await socket.receive()

    run(test)


def test_a_message_that_comes_after_the_service_has_closed_is_not_waited_for() -> None:
    async def test() -> None:
        clock = asyncio.get_running_loop().time

        async def closes_slowly(connection: ServerConnection) -> None:
            await connection.close()

        async with connected(closes_slowly) as socket:
            with pytest.raises(ServiceError, match="closed the connection with 1000"):
                await socket.receive()
            before = clock()
            await socket.send(FRAME)
            assert clock() == before

    run(test)


def test_a_transport_that_refuses_to_write_is_a_loss_and_raises_nothing() -> None:
    def broken() -> None:
        raise RuntimeError("unable to perform operation on a closed transport")

    async def test() -> None:
        async with serve(never_reads, "127.0.0.1", 0) as server:
            url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
            connection = await connect(url, create_connection=ServiceConnection)
            connection.send_data = broken  # type: ignore[method-assign]
            for message in (FRAME, "text"):
                await connection.send(message)
            with pytest.raises(ConnectionClosed) as raised:
                await connection.recv()
            assert "closed transport" in str(raised.value.__cause__)

    run(test)
