import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
from websockets import ServerConnection
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import serve

from mediaserver.sandbox.errors import CallFailed
from mediaserver.sandbox.wire.connect import open_websocket
from mediaserver.testing import run_virtual


@pytest.fixture
def opened(scripted_server: type[Any]) -> Callable[..., ClientConnection]:
    """Open a WebSocket to a scripted server, and close it."""

    async def scenario(refuse: tuple[int, str] | None, **options: Any) -> ClientConnection:
        ours, theirs = socket.socketpair()
        server = scripted_server(theirs)
        server.refuse = refuse
        running = asyncio.create_task(server.run())
        url = "ws://agent.example/stream?id=7"
        connection = await open_websocket(url, sock=ours, **options)
        await connection.close()
        await running
        return connection

    def run(refuse: tuple[int, str] | None = None, **options: Any) -> ClientConnection:
        return run_virtual(scenario(refuse, **options))

    return run


def test_nothing_is_sent_that_plivo_does_not_send(opened: Callable[..., ClientConnection]) -> None:
    request = opened(headers={"X-Test": "yes"}).request
    assert request
    assert request.headers["X-Test"] == "yes"
    surplus = {"User-Agent", "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"}
    assert not surplus & set(request.headers)
    assert request.path == "/stream?id=7"


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ws_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)

    async def take(connection: ServerConnection) -> None:
        await connection.wait_closed()

    # A real connection: a proxy would not be asked for one over a given socket.
    async with serve(take, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        connection = await open_websocket(f"ws://127.0.0.1:{port}/", open_timeout=60.0)
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
def test_a_refused_call_fails_with_status_and_reason(
    opened: Callable[..., ClientConnection], status: int, body: str, reason: str
) -> None:
    with pytest.raises(CallFailed, match=f"^HTTP {status}: {reason}$") as failure:
        opened((status, body))
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


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "did not take the call in 3 s"),
        (b"220 mail.example ESMTP\r\n\r\n", "cannot call"),
        (b"HTTP/1.1 599 Not In The Mood\r\nContent-Length: 0\r\n\r\n", "HTTP 599: Not In The Mood"),
    ],
    ids=["nothing", "no HTTP", "a status that nobody knows"],
)
def test_an_answer_of_no_websocket_server_is_a_failed_call(answer: bytes, message: str) -> None:
    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        if answer:
            theirs.sendall(answer)
            theirs.shutdown(socket.SHUT_WR)
        with theirs, pytest.raises(CallFailed, match=message):
            await open_websocket("ws://agent.example/", sock=ours, open_timeout=3.0)

    run_virtual(scenario())
