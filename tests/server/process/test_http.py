import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvicorn
from structlog.testing import capture_logs
from uvicorn.server import ServerState

from mediaserver.agents import Echo
from mediaserver.routes import Route, Routes
from mediaserver.server.process.connections import HttpConnections
from mediaserver.server.process.http import HttpConnection, HttpLimits, sweep_connections
from mediaserver.server.process.overload import MANY, TICKS_TO_BEGIN, Overload
from mediaserver.server.process.turning_away import TurningAway
from mediaserver.server.refusals import RefusalLog
from mediaserver.server.relocation import HandedConnection
from mediaserver.server.runtime import Runtime
from mediaserver.settings import Settings
from tests.server.until import until


LIMITS = HttpLimits(
    header_timeout=10, idle_timeout=30, max_header_bytes=2_000, max_body_bytes=4_000
)


async def app(
    scope: dict[str, dict[str, str] | list[tuple[bytes, bytes]] | str | tuple[str, int]],
    receive: Callable[..., Any],
    send: Callable[..., Any],
) -> None:
    """Answer with the length of the body."""
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        if not message["more_body"]:
            break
    body = str(size).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def hasty(
    scope: dict[str, dict[str, str] | list[tuple[bytes, bytes]] | str | tuple[str, int]],
    receive: Callable[..., Any],
    send: Callable[..., Any],
) -> None:
    """Answer without reading the body."""
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Socket(asyncio.Protocol):
    """Takes the upgrade, as a WebSocket protocol class does."""

    made: "list[Socket]" = []  # noqa: RUF012

    def __init__(self, **given: Any) -> None:
        self.received: list[Any] = []
        self.headers: dict[str, str] = {}
        Socket.made.append(self)

    def take_request(
        self, target: str, headers: list[tuple[str, str]], *, client_host: str, secure: bool
    ) -> None:
        self.received.append(target)
        self.headers = dict(headers)

    def data_received(self, data: bytes) -> None:
        self.received.append(data)


class Server:
    def __init__(self) -> None:
        self.config = uvicorn.Config(
            app, lifespan="off", log_config=None, ws=Socket, server_header=False, workers=1
        )
        self.config.load()
        self.state = ServerState()
        self.held = HttpConnections(100)
        self.refusals = RefusalLog(asyncio.get_running_loop().time)
        self.writers: list[Any] = []
        self.turning_away: TurningAway | None = None
        self.handed: HandedConnection | None = None

    @property
    def only_connection(self) -> Any:
        (connection,) = self.state.connections
        return connection

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        for writer in self.writers:
            writer.close()
        self.sweep(1e9)
        self.sweep(1e9)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        await loop.connect_accepted_socket(
            lambda: HttpConnection(
                LIMITS,
                self.refusals,
                self.held,
                self.config,
                self.state,
                {},
                turning_away=self.turning_away,
                handed=self.handed,
            ),
            ours,
        )
        reader, writer = await asyncio.open_connection(sock=theirs)
        self.writers.append(writer)
        return reader, writer

    async def ask(self, *pieces: Any) -> bytes:
        """Send the pieces, each in a read of its own, and return all that is answered."""
        reader, writer = await self.connect()
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await reader.read()

    def sweep(self, after: float) -> None:
        """Look at the deadlines as if `after` seconds had passed."""
        sweep_connections(self.state.connections, asyncio.get_running_loop().time() + after)


@pytest.fixture
async def server() -> AsyncIterator[Any]:
    async with Server() as server:
        yield server


CLOSE = b"Host: x\r\nConnection: close\r\n"


async def test_a_request_is_answered(server: Server) -> None:
    answer = await server.ask(b"GET / HTTP/1.1\r\n" + CLOSE + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n0")


async def test_a_request_may_come_byte_by_byte(server: Server) -> None:
    request = b"POST / HTTP/1.1\r\n" + CLOSE + b"Content-Length: 3\r\n\r\nabc"
    answer = await server.ask(*(bytes([byte]) for byte in request))
    assert answer.endswith(b"\r\n\r\n3")


async def test_headers_up_to_the_limit_are_taken(server: Server) -> None:
    padding = b"X: " + b"a" * 1_800 + b"\r\n"
    answer = await server.ask(b"GET / HTTP/1.1\r\n" + CLOSE + padding + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_headers_up_to_the_limit_are_taken_however_they_come(server: Server) -> None:
    header = b"X: " + b"a" * 95 + b"\r\n"
    reader, writer = await server.connect()
    writer.write(b"GET / HTTP/1.1\r\n")
    await until(lambda: server.only_connection._in_headers)
    for piece in (CLOSE, *[header] * 18, b"\r\n"):
        server.only_connection.data_received(piece)
    assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 3_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 400 + b"\r\n",
        b"GET /" + b"a" * 3_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" + b"X: y\r\n" * 400,
    ],
    ids=["one header", "many headers", "target", "upgrade"],
)
async def test_longer_headers_are_refused(server: Server, request_head: bytes) -> None:
    answer = await server.ask(request_head)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"more than 2000 bytes" in answer


async def test_a_header_that_never_ends_is_refused_while_it_is_coming(server: Server) -> None:
    reader, writer = await server.connect()
    writer.write(b"GET / HTTP/1.1\r\nX: ")
    for _ in range(30):
        writer.write(b"a" * 100)
        await writer.drain()
        await asyncio.sleep(0)
    assert (await reader.read()).startswith(b"HTTP/1.1 431 ")


async def test_a_body_up_to_the_limit_is_taken(server: Server) -> None:
    head = b"POST / HTTP/1.1\r\n" + CLOSE + b"Content-Length: 4000\r\n\r\n"
    assert (await server.ask(head, b"b" * 4_000)).endswith(b"\r\n\r\n4000")


async def test_a_longer_body_is_refused_before_it_comes(server: Server) -> None:
    answer = await server.ask(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4001\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_longer_body_in_chunks_is_refused_as_it_comes(server: Server) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await server.ask(head, *[b"3e8\r\n" + b"b" * 1_000 + b"\r\n"] * 6)
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_tiny_chunks_do_not_get_round_the_limit(server: Server) -> None:
    reader, writer = await server.connect()
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    connection = server.only_connection
    await until(lambda: connection.cycle is not None)
    writer.write((b"1;" + b"x" * 100 + b"\r\nb\r\n") * 80)
    assert (await reader.read()).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("then", "status"),
    [(b"GET / HTTP/1.1\r\nX: " + b"a" * 3_000 + b"\r\n\r\n", b"431"), (b"what?\r\n", b"400")],
)
async def test_a_later_request_on_the_connection_is_refused_with_an_answer(
    server: Server, then: bytes, status: bytes
) -> None:
    reader, writer = await server.connect()
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n0")
    writer.write(then)
    assert (await reader.read()).startswith(b"HTTP/1.1 " + status)


async def test_a_request_that_has_its_answer_does_not_get_another(server: Server) -> None:
    server.config.loaded_app = hasty
    answer = await server.ask(
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        *[b"3e8\r\n" + b"b" * 1_000 + b"\r\n"] * 20,
    )
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_what_is_not_http_is_refused(server: Server) -> None:
    answer = await server.ask(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b"this is not HTTP/1.1\n")


async def test_pipelined_requests_are_answered_in_turn(server: Server) -> None:
    first = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000\r\n\r\n" + b"b" * 3_000
    answer = await server.ask(first + b"GET / HTTP/1.1\r\n" + CLOSE, b"\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == 2


async def test_headers_that_stay_away_are_not_waited_for(server: Server) -> None:
    reader, writer = await server.connect()
    writer.write(b"GET / HTTP/1.1\r\nHost:")
    connection = server.only_connection
    await until(lambda: connection._in_headers)
    server.sweep(9)
    assert not connection.transport.is_closing()
    server.sweep(11)
    assert (await reader.read()).startswith(b"HTTP/1.1 408 ")


async def test_a_body_that_stays_away_is_not_waited_for(server: Server) -> None:
    reader, writer = await server.connect()
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
    connection = server.only_connection
    await until(lambda: connection.cycle is not None)
    server.sweep(11)
    assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
    await until(lambda: not server.state.tasks)


async def test_a_client_that_says_nothing_is_hung_up_on(server: Server) -> None:
    reader, _ = await server.connect()
    server.sweep(11)
    assert await reader.read() == b""


async def test_a_client_that_leaves_responses_unread_is_cut_off(server: Server) -> None:
    reader, _ = await server.connect()
    server.only_connection.pause_writing()
    server.sweep(29)
    assert not reader.at_eof()
    server.sweep(31)
    assert await reader.read() == b""


async def test_a_client_that_reads_again_is_answered(server: Server) -> None:
    reader, writer = await server.connect()
    server.only_connection.pause_writing()
    server.only_connection.resume_writing()
    writer.write(b"GET / HTTP/1.1\r\n" + CLOSE + b"\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_connection_that_makes_room_is_closed_without_a_word(server: Server) -> None:
    reader, _ = await server.connect()
    server.only_connection.drop()
    assert await reader.read() == b""


async def test_what_another_process_has_read_is_answered(server: Server) -> None:
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    server.handed = HandedConnection(("192.0.2.1", 5060), secure=True, head=request)
    reader, _ = await server.connect()
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    connection = server.only_connection
    assert (connection.client, connection.scheme) == (("192.0.2.1", 5060), "https")


async def test_an_idle_connection_is_closed(server: Server) -> None:
    reader, writer = await server.connect()
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    assert await reader.readexactly(1) == b"0"
    server.sweep(29)
    assert not reader.at_eof()
    server.sweep(31)
    assert await reader.read() == b""


async def test_a_refused_client_that_stays_is_cut_off(server: Server) -> None:
    _, writer = await server.connect()
    writer.write(b"nonsense\r\n\r\n")
    connection = server.only_connection
    await until(lambda: connection._refused)
    writer.write(b"more nonsense")
    server.sweep(3)
    await until(lambda: not server.state.connections)


H2C = (
    b"HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
)
"""How curl --http2 asks."""
TEN_IN_CHUNKS = b"Transfer-Encoding: chunked\r\n\r\n4\r\nCall\r\n6\r\nUUID=1\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "body_size"),
    [
        (b"GET / " + H2C + b"\r\n", b"0"),
        (b"POST / " + H2C + b"Content-Length: 10\r\n\r\nCallUUID=1", b"10"),
        (b"POST / " + H2C + TEN_IN_CHUNKS, b"10"),
        (b"POST / " + H2C.replace(b"h2c", b"websocket") + TEN_IN_CHUNKS, b"10"),
    ],
    ids=["no body", "body", "chunks", "a WebSocket by POST"],
)
@pytest.mark.parametrize("piece", [1, 50, 10_000])
async def test_an_upgrade_to_something_else_is_answered_as_a_request(
    server: Server, request_bytes: bytes, body_size: bytes, piece: int
) -> None:
    request_bytes += b"GET / HTTP/1.1\r\n" + CLOSE + b"\r\n"
    pieces = [request_bytes[at : at + piece] for at in range(0, len(request_bytes), piece)]
    first, second = (await server.ask(*pieces)).split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert first.endswith(b"\r\n\r\n" + body_size)
    assert second.endswith(b"\r\n\r\n0")


async def test_an_upgrade_in_http_1_0_is_ignored(server: Server) -> None:
    head = b"GET /stream HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert (await server.ask(head)).startswith(b"HTTP/1.1 200 OK\r\n")


WEBSOCKET = b"Host: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"


@pytest.mark.parametrize("body", [b"Content-Length: 3\r\n\r\nabc", TEN_IN_CHUNKS])
async def test_a_websocket_with_a_body_is_refused_with_an_answer(
    server: Server, body: bytes
) -> None:
    answer = await server.ask(b"GET /stream HTTP/1.1\r\n" + WEBSOCKET + body)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b"must not have a body\n")


async def test_connect_is_refused_with_an_answer(server: Server) -> None:
    answer = await server.ask(b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 501 ")


@pytest.mark.parametrize("offered", [b"h2c, websocket", b"WebSocket"])
async def test_a_websocket_may_be_one_of_several_upgrades(server: Server, offered: bytes) -> None:
    Socket.made.clear()
    _, writer = await server.connect()
    writer.write(b"GET /a HTTP/1.1\r\n" + WEBSOCKET.replace(b"websocket", offered) + b"\r\n")
    await until(lambda: Socket.made)


async def test_a_connection_is_freed_without_a_collection_of_garbage_once_it_is_a_websocket(
    server: Server, left_of_calls: Callable[[], list[str]]
) -> None:
    Socket.made.clear()
    _, writer = await server.connect()
    writer.write(b"GET /a HTTP/1.1\r\n" + WEBSOCKET + b"\r\n")
    await until(lambda: Socket.made)
    await until(lambda: not left_of_calls())


async def test_a_refusal_is_logged_with_who_asked_for_what(server: Server) -> None:
    with capture_logs() as logged:
        await server.ask(b"POST /answer?From=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n")
    (line,) = logged
    assert line["event"] == "request refused"
    assert (line["status"], line["path"]) == (413, "/answer")
    assert "4000 bytes" in line["reason"]
    assert "client" in line


async def test_requests_before_a_websocket_are_answered_before_it(server: Server) -> None:
    Socket.made.clear()
    reader, writer = await server.connect()
    ask = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    writer.write(ask * 2 + b"GET /stream HTTP/1.1\r\n" + WEBSOCKET + b"\r\nearly")
    await until(lambda: Socket.made and Socket.made[0].received)
    answers = await reader.read(10_000)
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert Socket.made[0].received == ["/stream", b"early"]


async def test_what_follows_a_websocket_that_waits_its_turn_is_kept(server: Server) -> None:
    Socket.made.clear()
    answers = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await answers.wait()
        await hasty(scope, receive, send)

    server.config.loaded_app = slow
    _, writer = await server.connect()
    connection = server.only_connection
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /s HTTP/1.1\r\n" + WEBSOCKET + b"\r\n")
    await until(lambda: connection._then is not None)
    connection.data_received(b"first")
    assert not Socket.made
    answers.set()
    await until(lambda: Socket.made and len(Socket.made[0].received) == 2)
    assert Socket.made[0].received[1] == b"first"


@pytest.mark.parametrize(
    ("then", "status"),
    [
        (b"what?\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 3_000 + b"\r\n\r\n", b"431"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4001\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno", b"400"),
        (b"GET /stream HTTP/1.1\r\n" + WEBSOCKET + b"Content-Length: 9\r\n\r\n", b"400"),
    ],
    ids=["not HTTP", "header", "length", "chunk", "websocket"],
)
@pytest.mark.parametrize("earlier", [1, 2, 3])
async def test_a_refusal_comes_after_the_responses_to_earlier_requests(
    server: Server, then: bytes, status: bytes, earlier: int
) -> None:
    answer = await server.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * earlier + then)
    *answered, refused = answer.split(b"HTTP/1.1 ")[1:]
    assert len(answered) == earlier
    assert all(each.startswith(b"200 ") for each in answered)
    assert refused.startswith(status)


async def test_bytes_that_come_with_the_upgrade_request_are_not_lost(server: Server) -> None:
    Socket.made.clear()
    _, writer = await server.connect()
    head = b"GET /stream?a=1 HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    writer.write(head + b"early frame")
    await until(lambda: Socket.made)
    assert Socket.made[0].received == ["/stream?a=1", b"early frame"]
    assert Socket.made[0].headers["upgrade"] == "websocket"
    # It is no HTTP connection any more: the sweep does not look at it.
    assert not server.state.connections
    made: Any = Socket.made[0]
    made.transport = None


async def test_no_bytes_raise_anything(server: Server) -> None:
    raised = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
    requests = [
        b"GET /a?b=c HTTP/1.1\r\n" + CLOSE + b"\r\n",
        b"POST / HTTP/1.1\r\n" + CLOSE + b"Content-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\n" + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    ]
    dice = random.Random(7)
    for _ in range(300):
        request = bytearray(dice.choice(requests))
        for _ in range(dice.randint(1, 4)):
            request[dice.randrange(len(request))] = dice.randrange(256)
        _, writer = await server.connect()
        writer.write(request)
        writer.write_eof()
        await asyncio.sleep(0)
        writer.close()
    await until(lambda: not server.state.connections)
    assert raised == []


NEW_CALL = b"CallUUID=a&Event=StartApp"


@pytest.fixture
def overloaded(server: Server) -> Server:
    """A server that turns all new calls away; its application answers with the body's length."""
    runtime = Runtime(Settings(), Routes(Route(Echo)))
    overload = Overload(runtime.counters)
    for _ in range(TICKS_TO_BEGIN):
        overload.tick(MANY)
    server.turning_away = TurningAway(runtime, overload)
    return server


def webhook(body: bytes, path: bytes = b"/answer", more: bytes = CLOSE) -> bytes:
    return b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (path, more, len(body), body)


async def test_in_overload_a_new_call_gets_the_busy_message(overloaded: Server) -> None:
    answer = await overloaded.ask(webhook(NEW_CALL))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close\r\n" in answer
    assert b'<Hangup reason="busy"/>' in answer


async def test_in_overload_it_does_so_however_the_request_is_cut(overloaded: Server) -> None:
    request = webhook(NEW_CALL)
    answer = await overloaded.ask(*(request[at : at + 7] for at in range(0, len(request), 7)))
    assert b'<Hangup reason="busy"/>' in answer


async def test_in_overload_a_call_in_the_query_is_turned_away(overloaded: Server) -> None:
    request = b"GET /answer?%b HTTP/1.1\r\n%b\r\n" % (NEW_CALL, CLOSE)
    assert b'<Hangup reason="busy"/>' in await overloaded.ask(request)


async def test_in_overload_other_requests_reach_the_application(overloaded: Server) -> None:
    hangup = b"CallUUID=a&Event=Hangup"
    assert (await overloaded.ask(webhook(hangup))).endswith(b"\r\n\r\n%d" % len(hangup))
    cut = webhook(hangup)
    assert (await overloaded.ask(cut[:-5], cut[-5:])).endswith(b"\r\n\r\n%d" % len(hangup))
    assert (await overloaded.ask(webhook(NEW_CALL, b"/hangup"))).endswith(b"\r\n\r\n25")
    assert (await overloaded.ask(webhook(b""))).endswith(b"\r\n\r\n0")


async def test_in_overload_a_connection_is_kept_and_used_again(overloaded: Server) -> None:
    reader, writer = await overloaded.connect()
    for _ in range(2):
        writer.write(webhook(NEW_CALL, more=b"Host: x\r\n"))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"connection: close" not in head
        assert await reader.readuntil(b"</Response>")
    writer.write(webhook(b"CallUUID=a&Event=Hangup"))
    assert (await reader.read()).endswith(b"\r\n\r\n23")


async def test_in_overload_requests_sent_ahead_are_answered_in_turn(overloaded: Server) -> None:
    first, second = webhook(b"abc", b"/status", b"Host: x\r\n"), webhook(NEW_CALL)
    answer = await overloaded.ask(first + second)
    # What comes before the first has been answered takes the usual way.
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.endswith(b"\r\n\r\n25")


async def test_in_overload_a_body_that_is_too_long_is_refused(overloaded: Server) -> None:
    head = b"POST /answer HTTP/1.1\r\n" + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n"
    answer = await overloaded.ask(head + (b"3e8\r\n" + b"x" * 1_000 + b"\r\n") * 8)
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_in_overload_a_body_must_come_in_time(overloaded: Server) -> None:
    reader, writer = await overloaded.connect()
    writer.write(webhook(NEW_CALL)[:-5])
    await until(lambda: overloaded.only_connection.url)
    overloaded.sweep(11)
    assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
