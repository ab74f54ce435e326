import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request

from mediaserver.testing import in_virtual_time
from mediaserver.testing.http_server import RefusedError
from mediaserver.testing.socket_server import ServedSocket, SocketFault, SocketServer


class Echo(SocketServer):
    def admit(self, request: Request) -> str | None:
        if request.path == "/no":
            raise RefusedError(403, "not here")
        return '{"well": true}' if request.path == "/check" else None

    def refusal(self, refused: RefusedError) -> dict[str, Any]:
        return {"said": refused.message}

    def serving(self, connection: ServerConnection, fault: SocketFault) -> ServedSocket:
        return Echoing(self, connection, fault)

    async def refuse(self, connection: ServerConnection, refused: RefusedError) -> None:
        await connection.close(4000, refused.message)


class Echoing(ServedSocket):
    def read(self, message: str) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(message)
        if "wrong" in read:
            raise RefusedError(400, "wrong")
        return read

    async def hear(self, audio: bytes) -> None:
        await self.send(audio)

    async def take(self, message: dict[str, Any]) -> None:
        if "bye" in message:
            await self.close()
        else:
            await self.send(message)


@in_virtual_time
async def test_what_comes_is_kept_and_answered() -> None:
    async with Echo().running() as server, connect(server.base_url) as client:
        await client.send('{"a": 1}')
        await client.send(b"audio")
        assert [await client.recv(), await client.recv()] == ['{"a": 1}', b"audio"]
        assert (server.open, server.received, server.sizes) == (1, [{"a": 1}], [5])
        await client.send('{"bye": 1}')
        await client.wait_closed()
        assert client.close_code == 1000


@in_virtual_time
async def test_what_is_refused_closes_the_connection() -> None:
    async with Echo().running() as server, connect(server.base_url) as client:
        await client.send('{"wrong": 1}')
        await client.wait_closed()
        assert (client.close_code, server.refusals) == (4000, ["wrong"])


@pytest.mark.parametrize(("path", "status"), [("/no", 403), ("/", 429), ("/check", 200)])
@in_virtual_time
async def test_a_request_may_be_refused_or_answered_at_once(path: str, status: int) -> None:
    async with Echo(faults=(SocketFault(refuse=429),)).running() as server:
        with pytest.raises(InvalidStatus) as answer:
            await connect(server.base_url + path)
        assert answer.value.response.status_code == status


@pytest.mark.parametrize("then", ["stall", "disconnect", "malformed", "expire"])
@in_virtual_time
async def test_a_connection_fails_after_so_many_messages(then: Any) -> None:
    fault = SocketFault(after=1, then=then, delay=0.5)
    async with Echo(faults=(fault,)).running() as server, connect(server.base_url) as client:
        begun = asyncio.get_running_loop().time()
        await client.send("{}")
        await client.recv()
        assert asyncio.get_running_loop().time() - begun >= 0.5
        await client.send("{}")
        if then == "malformed":
            assert await client.recv() == Echoing.malformed
        elif then == "stall":
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(60):
                    await client.recv()
        else:
            with pytest.raises(ConnectionClosed):
                await client.recv()


@in_virtual_time
async def test_connections_can_be_cut() -> None:
    async with Echo().running() as server, connect(server.base_url) as client:
        await client.send("{}")
        await client.recv()
        server.cut()
        with pytest.raises(ConnectionClosed):
            await client.recv()
