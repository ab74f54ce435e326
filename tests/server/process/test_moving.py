"""Two servers in one event loop that give each other connections, as two processes do."""

import asyncio
import base64
import errno
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlencode
from xml.etree import ElementTree

import httpx
import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import connect
from websockets.frames import Frame, Opcode

from audiocodecs import MULAW_8K
from mediaserver.handler import Handler
from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.plivo.client import PlivoClient
from mediaserver.plivo.models import CallCreated, CallRequest
from mediaserver.protocol import Media, Start, encode_event
from mediaserver.routes import Route
from mediaserver.server.outbound.dialler import Dialler
from mediaserver.server.outbound.outcome import Outcome
from mediaserver.server.process.arrivals import Arrivals
from mediaserver.server.relocation import HandedConnection
from mediaserver.server.trust.tokens import Claims, seal
from mediaserver.stream import Stream
from tests.server.conftest import Certified, Served
from tests.server.until import until


pytestmark = pytest.mark.real_time

SECRET = "sixteen letters and more"
CALL_ID = "0b29d11e-3a29-4a7f-8f0c-3f5b9d0c8e11"
STREAM_ID = "20170ada-f610-433b-8758-c02a2aab3662"
START = encode_event(Start(CALL_ID, STREAM_ID, "MA", ("inbound",), MULAW_8K, sequence_number=1))


def media(number: int) -> str:
    return encode_event(
        Media(
            bytes([number]) * 160,
            track="inbound",
            timestamp=20 * number + 20,
            chunk=number + 1,
            stream_id=STREAM_ID,
            sequence_number=number + 2,
        )
    )


class Knows(Handler):
    """Keeps whether it was prepared, and what it has heard."""

    used: "list[Knows]" = []  # noqa: RUF012

    def __init__(self) -> None:
        self.prepared: str | None = None
        self.live: Stream | None = None
        self.heard: list[int] = []

    async def on_answer(self, request: AnswerRequest, shared: Any) -> None:
        self.prepared = request.call_id

    async def on_start(self) -> None:
        self.used.append(self)
        self.live = self.stream

    async def on_audio(self, frame: Any) -> None:
        self.heard.append(frame.payload[0])


class Ways:
    """The ways between the servers. As between processes, a socket arrives by a new descriptor."""

    def __init__(self) -> None:
        self.servers: dict[str, Served] = {}
        self.handed: list[tuple[str, HandedConnection]] = []
        self.refuses = False

    def add(self, served: Served, process: str) -> None:
        served.runtime.process = process
        served.runtime.relocation = self
        self.servers[process] = served

    def reaches(self, process: str) -> bool:
        return process in self.servers

    def hand_over(self, process: str, sock: socket.socket, connection: HandedConnection) -> bool:
        if self.refuses:
            return False
        self.handed.append((process, connection))
        with sock:
            copy = socket.socket(fileno=os.dup(sock.fileno()))
        arrivals: Arrivals = vars(self.servers[process].daemon.servers[0])["_arrivals"]
        arrivals.take(copy, connection.client[0], handed=connection)
        return True


class Pair:
    """Two servers; a call is prepared by the second, and its stream comes to the first."""

    def __init__(self, first: Served, second: Served, context: ssl.SSLContext | None) -> None:
        self.first, self.second = first, second
        self.context = context
        self.ways = Ways()
        self.ways.add(first, "3f9a/1.1")
        self.ways.add(second, "3f9a/2.1")
        route = second.runtime.routes.routes[0]
        second.runtime.prepared.prepare(route, AnswerRequest(call_id=CALL_ID))

    def url(self, process: str | None = "3f9a/2.1") -> str:
        expires = int(self.first.runtime.wall_clock()) + 60
        claims = Claims(CALL_ID, "+1", "+2", expires, process=process)
        return f"{self.first.stream_url}?token={seal(claims, SECRET)}"

    def connect(self, headers: Any = None, **more: Any) -> Any:
        return connect(self.url(**more), ssl=self.context, proxy=None, additional_headers=headers)

    @property
    def handler(self) -> Knows:
        """The handler of the stream, once it has started."""
        (handler,) = Knows.used
        return handler

    async def started(self) -> Knows:
        await until(lambda: Knows.used)
        return self.handler

    @property
    def stream_is_at_the_second(self) -> bool:
        (call,) = self.second.runtime.calls
        return not self.first.runtime.calls and call.stream is self.handler.live


@pytest.fixture(params=["plain", "TLS"])
async def pair(request: Any, start_daemon: Callable[..., Any], certified: Certified) -> Any:
    Knows.used.clear()
    settings: dict[str, Any] = {"secret": SECRET, "log_level": "warning"}
    context = None
    if request.param == "TLS":
        context = certified.client
        settings["ssl_certfile"] = certified.file
    first = await start_daemon(Route(Knows), **settings)
    second = await start_daemon(Route(Knows), **settings)
    return Pair(first, second, context)


async def call_the_second(pair: Pair) -> None:
    """Open a stream at the first process; check that the second serves it to its end."""
    async with pair.connect() as websocket:
        await websocket.send(START)
        await pair.started()
        assert pair.handler.prepared == CALL_ID
        assert pair.stream_is_at_the_second
        assert pair.first.runtime.counters.connections_moved == 1
        for number in range(50):
            await websocket.send(media(number))
        await until(lambda: len(pair.handler.heard) == 50)
        assert pair.handler.heard == list(range(50))
        await (await websocket.ping())


@pytest.mark.each_loop
async def test_a_stream_is_served_by_the_process_that_prepared_its_call(pair: Pair) -> None:
    await call_the_second(pair)
    await until(lambda: not pair.second.runtime.calls)
    await until(lambda: not pair.first.runtime.relays)
    assert +pair.second.runtime.counters.ended.causes == {("Knows", "plivo"): 1}


async def test_the_client_is_the_one_that_opened_the_connection(pair: Pair) -> None:
    async with pair.connect() as websocket:
        await websocket.send(START)
        await pair.started()
        (call,) = pair.second.runtime.calls
        assert call.accepted.client == "127.0.0.1"
        ((_, handed),) = pair.ways.handed
        assert handed.client == websocket.local_address
        assert handed.secure is (pair.context is not None)


async def test_the_server_ends_a_stream_that_was_moved(pair: Pair) -> None:
    async with pair.connect() as websocket:
        await websocket.send(START)
        await pair.started()
        pair.second.runtime.close_calls(1001, "the server is shutting down")
        with pytest.raises(Exception, match="shutting down"):
            await websocket.recv()
        assert websocket.close_code == 1001
    await until(lambda: not pair.second.runtime.calls and not pair.first.runtime.relays)


@pytest.mark.each_loop
async def test_a_stream_that_was_lost_comes_back_to_its_handler(pair: Pair) -> None:
    async with pair.connect() as lost:
        await lost.send(START)
        await pair.started()
        lost.transport.abort()
        await until(lambda: len(pair.second.runtime.lost_streams))
    async with pair.connect() as websocket:
        await websocket.send(START)
        await websocket.send(media(7))
        await until(lambda: pair.handler.heard == [7])
        assert pair.stream_is_at_the_second
        assert pair.second.runtime.counters.streams_reopened == 1
    await until(lambda: not pair.second.runtime.calls and not pair.first.runtime.relays)


@pytest.mark.each_loop
@pytest.mark.parametrize("size", [7, 1000])
async def test_what_comes_with_and_right_after_the_request_is_not_lost(
    pair: Pair, size: int
) -> None:
    request = (
        f"GET {pair.url().partition(str(pair.first.port))[2]} HTTP/1.1\r\nHost: media.test\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\n\r\n"
    ).encode()
    messages = [START, *map(media, range(40))]
    frames = [
        Frame(Opcode.TEXT, message.encode()).serialize(mask=True, extensions=[])
        for message in messages
    ]
    reader, writer = await asyncio.open_connection("127.0.0.1", pair.first.port, ssl=pair.context)
    writer.write(request + b"".join(frames)[:size])
    rest = b"".join(frames)[size:]
    for begin in range(0, len(rest), 900):
        await asyncio.sleep(0)
        writer.write(rest[begin : begin + 900])
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    await pair.started()
    await until(lambda: len(pair.handler.heard) == 40)
    assert pair.handler.heard == list(range(40))
    writer.close()
    await until(lambda: not pair.first.runtime.relays)


@pytest.mark.parametrize("process", [None, "3f9a/1.1", "3f9a/9.9"])
async def test_a_stream_that_nobody_else_prepared_is_served_where_it_came_in(
    pair: Pair, process: str | None
) -> None:
    async with pair.connect(process=process) as websocket:
        await websocket.send(START)
        assert (await pair.started()).prepared is None
        assert len(pair.first.runtime.calls) == 1
        assert not pair.ways.handed


async def test_a_stream_that_cannot_be_moved_is_served_where_it_came_in(pair: Pair) -> None:
    pair.ways.refuses = True
    with capture_logs() as logs:
        connecting = await pair.connect()
    async with connecting as websocket:
        (said,) = [each for each in logs if "not brought" in each["event"]]
        assert said["reason"] == "3f9a/2.1 does not take it"
        await websocket.send(START)
        await websocket.send(media(7))
        await until(lambda: Knows.used and pair.handler.heard == [7])
        assert pair.handler.prepared is None
        assert len(pair.first.runtime.calls) == 1
        assert pair.first.runtime.counters.connections_moved == 0
        assert not pair.first.runtime.relays


async def test_a_stream_for_which_no_descriptor_is_left_is_served_where_it_came_in(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*given: Any) -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    connecting = pair.connect()
    with monkeypatch.context() as patch:
        patch.setattr(os, "dup", none_left)
        patch.setattr(socket, "socketpair", none_left)
        websocket = await connecting
    async with websocket:
        await websocket.send(START)
        assert (await pair.started()).prepared is None
        assert len(pair.first.runtime.calls) == 1
        assert not pair.ways.handed


async def test_a_stream_that_was_moved_is_not_moved_again(pair: Pair) -> None:
    """The process that it came to has another opinion, as if the token named yet another one."""
    pair.second.runtime.process = "3f9a/2.2"
    async with pair.connect() as websocket:
        await websocket.send(START)
        await pair.started()
    assert len(pair.ways.handed) == 1


async def test_a_process_that_relays_a_stream_drains_until_it_has_ended(pair: Pair) -> None:
    async with pair.connect() as websocket:
        await websocket.send(START)
        await pair.started()
        pair.first.daemon.stop()
        if pair.context is None:
            await pair.first.task
            await (await websocket.ping())
            return
        await until(lambda: pair.first.runtime.admission.closed)
        await (await websocket.ping())
        assert not pair.first.task.done()
    await pair.first.task


async def test_a_refusal_reaches_the_client(pair: Pair) -> None:
    pair.second.runtime.answered.end(CALL_ID)
    with pytest.raises(Exception, match="HTTP 410"):
        async with pair.connect():
            pass
    await until(lambda: not pair.first.runtime.relays)


# Streams of another machine


class Machines:
    """Two servers of a fleet that do not share a machine."""

    def __init__(self, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pair = pair
        self.addresses = {"3f9a/2.1": pair.second.url}
        for served in (pair.first, pair.second):
            served.runtime.relocation = None
            served.runtime.fleet = cast(Any, self)
        monkeypatch.setattr("mediaserver.server.process.moving._tls", lambda: pair.context)

    def address_of(self, process: str) -> str | None:
        return self.addresses.get(process)

    def entered(self, call: Any) -> None: ...

    def left(self, call: Any) -> None: ...


@pytest.fixture
def machines(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Machines:
    return Machines(pair, monkeypatch)


@pytest.mark.each_loop
async def test_a_stream_is_relayed_to_the_machine_that_prepared_its_call(
    pair: Pair, machines: Machines
) -> None:
    await call_the_second(pair)
    await until(lambda: not pair.second.runtime.calls and not pair.first.runtime.relays)


async def test_the_other_machine_knows_the_client(pair: Pair, machines: Machines) -> None:
    seen = []
    for served in (pair.first, pair.second):
        served.runtime.verifiers = [lambda request: seen.append(request)]
    async with pair.connect() as websocket:
        await websocket.send(START)
        await pair.started()
    (request,) = seen
    assert request.client_host == "127.0.0.1"
    assert request.secure is (pair.context is not None)


async def test_a_stream_is_served_here_if_the_other_machine_is_not_reached(
    pair: Pair, machines: Machines
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        machines.addresses["3f9a/2.1"] = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with pair.connect() as websocket:
            await websocket.send(START)
            await websocket.send(media(7))
            await until(lambda: Knows.used and pair.handler.heard == [7])
            assert len(pair.first.runtime.calls) == 1
            assert not pair.first.runtime.relays


async def test_a_stream_is_relayed_once(pair: Pair, machines: Machines) -> None:
    """Each takes the other for the machine that prepared the call."""
    pair.first.runtime.process, pair.second.runtime.process = "a", "b"
    back = Machines.__new__(Machines)
    back.addresses = {"3f9a/2.1": pair.first.url}
    pair.second.runtime.fleet = cast(Any, back)
    async with pair.connect() as websocket:
        await websocket.send(START)
        await pair.started()
        assert pair.stream_is_at_the_second
        assert pair.second.runtime.counters.connections_moved == 0


async def test_a_client_cannot_mark_its_stream(pair: Pair, machines: Machines) -> None:
    async with pair.connect(headers={"X-Mediaserver-Relayed": "e30.e30"}) as websocket:
        await websocket.send(START)
        await pair.started()
        assert pair.stream_is_at_the_second


async def test_a_client_that_leaves_meanwhile_leaves_nothing(
    pair: Pair, machines: Machines
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", pair.first.port, ssl=pair.context)
    path = pair.url().partition(str(pair.first.port))[2]
    writer.write(
        (
            f"GET {path} HTTP/1.1\r\nHost: media.test\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\n\r\n"
        ).encode()
    )
    writer.transport.abort()
    await until(lambda: not pair.first.daemon.server_state.connections)
    await until(lambda: not pair.first.runtime.relays and not pair.second.runtime.calls)


# Webhooks of calls that a process has dialled


@pytest.mark.each_loop
@pytest.mark.parametrize("cut", [30, 200, None])
async def test_a_webhook_reaches_the_process_that_its_url_names(
    pair: Pair, cut: int | None
) -> None:
    told: list[Any] = []
    pair.second.runtime.listeners.append(told.append)
    body = urlencode({"CallUUID": CALL_ID, "Event": "Ring", "From": "1" * 100}).encode()
    request = (
        "POST /status?dial=key&process=3f9a/2.1 HTTP/1.1\r\nHost: media.test\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    reader, writer = await asyncio.open_connection("127.0.0.1", pair.first.port, ssl=pair.context)
    writer.write(request[:cut])
    if cut is not None:
        await asyncio.sleep(0)
        writer.write(request[cut:])
    response = await reader.read()
    assert response.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in response
    (webhook,) = told
    assert webhook.fields["dial"] == "key"
    assert pair.first.runtime.counters.webhooks == {}
    assert pair.first.runtime.counters.connections_moved == 1
    writer.close()
    await until(lambda: not pair.first.runtime.relays)


@pytest.mark.parametrize(
    ("named", "refuses"), [("3f9a/1.1", False), ("3f9a/2.1", True), ("gone", False)]
)
async def test_a_webhook_that_cannot_be_brought_elsewhere_is_answered_here(
    pair: Pair, named: str, refuses: bool
) -> None:
    pair.ways.refuses = refuses
    reader, writer = await asyncio.open_connection("127.0.0.1", pair.first.port, ssl=pair.context)
    writer.write(
        f"GET /status?CallUUID={CALL_ID}&Event=Ring&process={named} HTTP/1.1\r\n"
        "Host: media.test\r\n\r\n".encode()
    )
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    assert pair.first.runtime.counters.webhooks == {"ignored": 1}
    writer.close()


async def test_a_request_behind_others_is_answered_where_they_are(pair: Pair) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", pair.first.port, ssl=pair.context)
    one = f"GET /status?CallUUID={CALL_ID}&Event=Ring HTTP/1.1\r\nHost: media.test\r\n\r\n"
    writer.write((one + one.replace("Ring", "Ring&process=3f9a/2.1")).encode())
    assert (await reader.read()).count(b"HTTP/1.1 200 ") == 1, "the first closes the connection"
    assert not pair.ways.handed
    writer.close()


class Carrier:
    """As much of Plivo's REST API as placing a call takes."""

    def __init__(self) -> None:
        self.placed: list[CallRequest] = []
        self.calls = self

    async def create(self, request: CallRequest) -> CallCreated:
        self.placed.append(request)
        return CallCreated(request_uuid=CALL_ID)


async def test_a_call_is_followed_by_the_process_that_dials_wherever_its_webhooks_arrive(
    start_daemon: Callable[..., Any],
) -> None:
    ways, carrier = Ways(), Carrier()
    diallers = [Dialler(cast(PlivoClient, carrier), Knows) for _ in range(2)]
    for number, dialler in enumerate(diallers):
        route = Route(dialler, "/outbound")
        url = "http://127.0.0.1"
        served = await start_daemon(route, secret=SECRET, public_url=url, log_level="warning")
        dialler.attach(served.runtime)
        ways.add(served, f"3f9a/{number}.1")
    first = ways.servers["3f9a/0.1"]
    Knows.used.clear()

    async def post(url: str | None, **fields: str) -> httpx.Response:
        assert url is not None
        async with httpx.AsyncClient(timeout=30.0) as client:
            form = {"CallUUID": CALL_ID, "From": "1", "To": "2"} | fields
            return await client.post(url.replace("127.0.0.1", f"127.0.0.1:{first.port}"), data=form)

    dialling = asyncio.create_task(diallers[1].dial("+14155550199", "+14155550100"))
    await until(lambda: carrier.placed)
    (placed,) = carrier.placed
    await post(placed.ring_url, Event="Ring", CallStatus="ringing")
    answer = ElementTree.fromstring((await post(placed.answer_url, Event="StartApp")).content)
    stream_url = answer[0].text
    assert stream_url is not None
    here = stream_url.replace("127.0.0.1", f"127.0.0.1:{first.port}")
    async with connect(here, proxy=None) as websocket:
        await websocket.send(START)
        await until(lambda: Knows.used)
        assert Knows.used[0].prepared == CALL_ID
    await post(placed.hangup_url, Event="Hangup", HangupCauseName="Normal Hangup")
    report = await dialling
    assert (report.outcome, report.rang, report.handled) == (Outcome.ANSWERED, True, True)
    assert report.cause == "Normal Hangup"
    assert first.runtime.counters.calls_total == 0
