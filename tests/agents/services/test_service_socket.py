from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from mediaserver.agents.services import MisconfiguredServiceError, ServiceError
from mediaserver.agents.services.service_socket import ServiceKey, ServiceSocket


Answer = Callable[[ServerConnection], Awaitable[None]]
Refuse = Callable[[ServerConnection, Request], Response | None]

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def answering(answer: Answer, refuse: Refuse | None = None) -> AsyncIterator[str]:
    """Serve connections, and yield the address."""
    async with serve(answer, "127.0.0.1", 0, process_request=refuse) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}/listen"


async def connected(url: str, **options: Any) -> ServiceSocket:
    return await ServiceSocket.connect("ears", url, **{"within": 5.0, **options})


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def test_a_message_goes_and_comes_as_it_is() -> None:
    async with answering(echo) as url:
        socket = await connected(url)
        await socket.send(b"\x00\x01")
        await socket.send("{}")
        assert [await socket.receive(), await socket.receive()] == [b"\x00\x01", "{}"]
        await socket.close()


async def test_the_request_has_the_query_and_the_headers() -> None:
    seen = []

    def look(connection: ServerConnection, request: Request) -> None:
        seen.append((request.path, request.headers["authorization"]))

    async with answering(echo, look) as url:
        query: dict[str, str | list[str]] = {"model": "a b", "keyterm": ["one", "two"]}
        socket = await connected(url, query=query, headers={"authorization": "Token key"})
        await socket.close()
    assert seen == [("/listen?model=a+b&keyterm=one&keyterm=two", "Token key")]


@pytest.mark.parametrize(
    ("status", "kind"), [(401, MisconfiguredServiceError), (429, ServiceError), (500, ServiceError)]
)
async def test_a_refusal_says_the_status_and_what_the_service_said_without_the_key(
    status: int, kind: type[ServiceError]
) -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        return connection.respond(HTTPStatus(status), "no, not\nwith s3cret")

    async with answering(echo, refuse) as url:
        with pytest.raises(ServiceError) as refused:
            await connected(url, secret="s3cret")
    assert type(refused.value) is kind
    assert refused.value.status == status
    assert f"refused the connection with {status}: no, not with ***" in refused.value.reason


async def test_nobody_at_the_address_is_an_error_with_the_address() -> None:
    async with answering(echo) as url:
        pass
    with pytest.raises(ServiceError, match=r"ears: cannot connect to 127\.0\.0\.1:\d+: "):
        await connected(url)


async def test_a_closed_connection_is_told_with_the_service_s_reason() -> None:
    async def close(connection: ServerConnection) -> None:
        await connection.close(4008, "session expired")

    async with answering(close) as url:
        socket = await connected(url)
        with pytest.raises(ServiceError, match="closed the connection with 4008: session expired"):
            await socket.receive()
        await socket.send(b"late")
        await socket.close()


async def test_a_lost_connection_is_an_error() -> None:
    async def abort(connection: ServerConnection) -> None:
        connection.transport.abort()

    async with answering(abort) as url:
        socket = await connected(url)
        with pytest.raises(ServiceError, match="was lost"):
            await socket.receive()
        await socket.close()


async def test_a_message_that_cannot_be_read_is_an_error_without_its_content() -> None:
    async with answering(echo) as url:
        socket = await connected(url)
        with (
            pytest.raises(ServiceError, match="a message of 7 bytes cannot be read: bad"),
            socket.decoding("private"),
        ):
            raise ValueError("bad")
        await socket.close()


async def test_a_key_comes_from_the_environment_or_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EARS_KEY", "from outside")
    assert ServiceKey("ears", "own", "EARS_KEY").get() == "own"
    assert ServiceKey("ears", None, "EARS_KEY").get() == "from outside"
    monkeypatch.delenv("EARS_KEY")
    with pytest.raises(MisconfiguredServiceError, match="it has no key: set EARS_KEY"):
        ServiceKey("ears", None, "EARS_KEY").get()


async def test_a_key_is_given_without_spaces_and_has_no_odd_characters() -> None:
    assert ServiceKey("ears", " key\n", "EARS_KEY").get() == "key"
    with pytest.raises(MisconfiguredServiceError, match="its key has characters that no key has"):
        ServiceKey("ears", "\u201ckey\u201d", "EARS_KEY").get()


async def test_a_key_at_the_edge_of_what_is_quoted_is_not_shown_in_part() -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        return connection.respond(HTTPStatus(403), "x" * 190 + " " + "s3cret" * 4)

    async with answering(echo, refuse) as url:
        with pytest.raises(ServiceError) as refused:
            await connected(url, secret="s3cret" * 4)
    assert "s3c" not in refused.value.reason


async def test_the_reason_of_a_close_does_not_show_the_key() -> None:
    async def close(connection: ServerConnection) -> None:
        await connection.close(1008, "consumer s3cret suspended")

    async with answering(close) as url:
        socket = await connected(url, secret="s3cret")
        with pytest.raises(ServiceError, match=r"1008: consumer \*\*\* suspended"):
            await socket.receive()
