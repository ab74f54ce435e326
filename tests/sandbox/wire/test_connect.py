import asyncio
import socket

import pytest
from websockets import ServerConnection
from websockets.asyncio.server import serve
from websockets.http11 import Request, Response

from mediaserver.sandbox.errors import CallFailed
from mediaserver.sandbox.wire.connect import open_websocket
from mediaserver.testing import run_virtual


async def take(connection: ServerConnection) -> None:
    """Take a call and hear it out."""
    await connection.wait_closed()


async def test_nothing_is_sent_that_plivo_does_not_send() -> None:
    async with serve(take, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        connection = await open_websocket(
            f"ws://127.0.0.1:{port}/stream?id=7", headers={"X-Test": "yes"}
        )
        await connection.close()
    assert connection.request
    headers = connection.request.headers
    assert headers["X-Test"] == "yes"
    assert not {"User-Agent", "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"} & set(headers)
    assert connection.request.path == "/stream?id=7"


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ws_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    async with serve(take, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        connection = await open_websocket(f"ws://127.0.0.1:{port}/")
        await connection.close()
    assert connection.close_code == 1000


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (403, "", "Forbidden"),
        (404, "no such stream", "no such stream"),
        (503, "busy\n", "busy"),
        (500, "x" * 5000, "x" * 200),
    ],
)
async def test_a_refused_call_fails_with_status_and_reason(
    status: int, body: str, reason: str
) -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        return connection.respond(status, body)

    async with serve(take, "127.0.0.1", 0, process_request=refuse) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(CallFailed, match=f"^HTTP {status}: {reason}$") as failure:
            await open_websocket(f"ws://127.0.0.1:{port}/")
    assert (failure.value.status, failure.value.reason) == (status, reason)


async def test_nobody_listening_is_a_failed_call() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(CallFailed, match="cannot call ws://127") as failure:
            await open_websocket(f"ws://127.0.0.1:{port}/")
    assert failure.value.status is None


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "agent.example", "ws://"])
async def test_what_is_no_websocket_address_is_a_failed_call(url: str) -> None:
    with pytest.raises(CallFailed, match=r"no WebSocket address: ws://"):
        await open_websocket(url)


def test_a_server_that_never_answers_is_a_failed_call() -> None:
    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        with theirs, pytest.raises(CallFailed, match="in 3 s"):
            await open_websocket("ws://agent.example/", sock=ours, open_timeout=3.0)

    run_virtual(scenario())


async def test_a_server_that_speaks_no_http_is_a_failed_call() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(CallFailed, match="cannot call"):
        await open_websocket(f"ws://127.0.0.1:{port}/")
    server.close()
    await server.wait_closed()


async def test_a_status_nobody_knows_is_told_in_the_servers_words() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 599 Not In The Mood\r\nContent-Length: 0\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(CallFailed, match="HTTP 599: Not In The Mood"):
        await open_websocket(f"ws://127.0.0.1:{port}/")
    server.close()
    await server.wait_closed()
