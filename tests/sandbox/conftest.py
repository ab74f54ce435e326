"""A scripted server, joined to a phone by a pair of sockets in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import unix_serve
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from mediaserver.protocol import Command, encode_command
from mediaserver.sandbox import CallReport, Phone
from mediaserver.sandbox.account import Account
from mediaserver.sandbox.calls.call import SandboxCall
from mediaserver.sandbox.calls.exchange import Exchange
from mediaserver.sandbox.calls.plan import CallPlan
from mediaserver.sandbox.calls.services import ExchangeOptions
from mediaserver.sandbox.errors import CallFailed
from mediaserver.sandbox.people.dialplan import Dialplan
from mediaserver.sandbox.people.person import Person
from mediaserver.sandbox.platform import Sandbox, SandboxOptions
from mediaserver.sandbox.records.records import CallRecord, StreamRecord
from mediaserver.sandbox.webhooks import Target
from mediaserver.sandbox.wire.connect import open_websocket
from mediaserver.testing import run_virtual


LIMIT = 3_600.0
"""Seconds of virtual time after which what a test waits for does not come."""


class ScriptedServer:
    """The other end of the socket: takes the call, remembers what comes, sends what it is told."""

    def __init__(self, sock: socket.socket, arrived: asyncio.Event | None = None) -> None:
        self.sock = sock
        self.protocol = ServerProtocol(max_size=None)
        self.received: list[dict[str, Any] | str | bytes] = []
        self.requests: list[Any] = []
        self.fragments = 0
        self.arrived = arrived or asyncio.Event()
        self.refuse: tuple[int, str] | None = None

    async def run(self) -> None:
        self.reader, self.writer = await asyncio.open_connection(sock=self.sock)
        try:
            await self._serve()
        finally:
            # Also when a test has failed: the next test must not be blamed for an open socket.
            self.writer.close()

    async def _serve(self) -> None:
        text = b""
        while data := await self._read():
            self.protocol.receive_data(data)
            for event in self.protocol.events_received():
                if isinstance(event, Request):
                    self.requests.append(event)
                    if self.refuse is not None:
                        self.protocol.send_response(self.protocol.reject(*self.refuse))
                    else:
                        self.protocol.send_response(self.protocol.accept(event))
                    continue
                assert isinstance(event, Frame)
                if event.opcode.name == "CLOSE":
                    continue
                self.fragments += not event.fin
                text += event.data
                if event.fin:
                    self.note(text, event.opcode.name == "BINARY")
                    text = b""
            self.flush()
        self.protocol.receive_eof()
        self.arrived.set()

    async def _read(self) -> bytes:
        """Return the next data, or nothing once the caller is gone: closed, or torn down."""
        try:
            return await self.reader.read(65536)
        except ConnectionResetError:
            return b""

    def note(self, data: bytes, binary: bool) -> None:
        try:
            self.received.append(data if binary else json.loads(data))
        except ValueError:
            self.received.append(data.decode())
        self.arrived.set()

    def flush(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                self.writer.write(data)
            else:
                self.writer.close()

    def send(self, *messages: Command | str | bytes) -> None:
        for message in messages:
            if isinstance(message, bytes):
                self.protocol.send_binary(message)
            elif isinstance(message, str):
                self.protocol.send_text(message.encode())
            else:
                self.protocol.send_text(encode_command(message))
        self.flush()

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.protocol.send_close(code, reason)
        self.flush()

    def lose(self) -> None:
        self.writer.transport.abort()

    @property
    def open(self) -> bool:
        return self.protocol.state is State.OPEN

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [
            message
            for message in self.received
            if isinstance(message, dict) and message.get("event") == kind
        ]

    async def until(self, kind: str, count: int = 1) -> None:
        """Wait until `count` events of a kind have come."""
        async with asyncio.timeout(LIMIT):
            while len(self.events(kind)) < count:
                assert self.protocol.state is not State.CLOSED, f"closed before {count} {kind}"
                self.arrived.clear()
                await self.arrived.wait()


Script = Callable[[Phone, ScriptedServer], Awaitable[None]]
Joined: TypeAlias = Callable[..., Any]
"""Runs a script with a phone that has called a scripted server; returns both."""
OnPlatform: TypeAlias = Callable[..., Any]
"""Runs a scenario on a platform in virtual time, and returns what it returns."""


@pytest.fixture
def joined() -> Joined:
    """Run a script with a phone that has called a scripted server, then hang up.

    With `dial=False` the script makes the call itself.
    """

    async def scenario(
        script: Script, dial: bool, options: dict[str, Any]
    ) -> tuple[Phone, ScriptedServer]:
        ours, theirs = socket.socketpair()
        server = ScriptedServer(theirs)
        running = asyncio.create_task(server.run())
        phone = Phone("ws://agent.example/stream?id=7", sock=ours, **options)
        with ours:
            if dial:
                await phone.start()
            await script(phone, server)
            await phone.hang_up()
            await running
        return phone, server

    def run(script: Script, dial: bool = True, **options: Any) -> tuple[Phone, ScriptedServer]:
        return run_virtual(scenario(script, dial, options))

    return run


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AbstractAsyncContextManager[str]]:
    """Have a handler serve every call of every phone; the block's value is a URL.

    The sockets are Unix sockets, for virtual time: what is written to one is there at once, so that
    the clock cannot jump ahead of it.
    """

    @contextlib.asynccontextmanager
    async def serve(handler: Callable[..., Any], **options: Any) -> AsyncIterator[str]:
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/agent"

            async def open_there(url: str, **options: Any) -> ClientConnection:
                sock = socket.socket(socket.AF_UNIX)
                sock.connect(path)
                return await open_websocket(url, **{**options, "sock": sock})

            monkeypatch.setattr("mediaserver.sandbox.phone.phone.open_websocket", open_there)
            async with unix_serve(handler, path, compression=None, **options):
                yield "ws://agent.example/stream"

    return serve


@pytest.fixture
def report() -> CallReport:
    return Phone("ws://agent.example/stream").report()


@pytest.fixture
def scripted_server() -> type[ScriptedServer]:
    return ScriptedServer


# The platform: calls over virtual time, and a customer whose URLs it asks.

T = TypeVar("T")

EPOCH = 1_700_000_000.0
"""Unix time at which a platform starts."""

CALLED, CALLER = "+14155550123", "+14155550100"

AUTH_ID = "MA" + "SANDBOXSANDBOXSAND"
AUTH_TOKEN = "a token for tests"


@dataclass(frozen=True)
class Asked:
    """One request that came to the customer."""

    path: str
    method: str
    params: dict[str, str]
    headers: Mapping[str, str]
    url: str
    time: float

    @property
    def event(self) -> str:
        return self.params.get("Event", "")


def call_record(uuid: str = "c1", **more: Any) -> CallRecord:
    """Return the record of an outbound call from `CALLER` to `CALLED`."""
    fields: dict[str, Any] = {
        "call_uuid": uuid,
        "request_uuid": uuid,
        "direction": "outbound",
        "from_number": CALLER,
        "to_number": CALLED,
        "initiated": 0.0,
        "rate": "0.01000",
    }
    return CallRecord(**fields | more)


def stream_record(stream_id: str = "s1", **more: Any) -> StreamRecord:
    """Return the record of a bidirectional stream of the call `c1`."""
    fields: dict[str, Any] = {
        "stream_id": stream_id,
        "call_uuid": "c1",
        "service_url": "wss://h/ws",
        "bidirectional": True,
        "audio_track": "inbound",
        "content_type": "audio/x-mulaw;rate=8000",
        "created": 0.0,
    }
    return StreamRecord(**fields | more)


Reply = str | bytes | int | Callable[[Asked], Any]


class Customer:
    """A server that the platform asks for documents, and tells of events.

    A path is answered with what `replies` has for it: text or bytes, a status, or what a function
    or coroutine function returns. Everything else gets an empty 200.
    """

    url = "http://customer.example"

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}
        self.asked: list[Asked] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        url = str(request.url)
        query = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
        form = dict(parse_qsl(request.content.decode(), keep_blank_values=True))
        asked = Asked(
            request.url.path,
            request.method,
            query | form,
            request.headers,
            url,
            asyncio.get_running_loop().time(),
        )
        self.asked.append(asked)
        reply = self.replies.get(request.url.path, "")
        if callable(reply):
            reply = reply(asked)
        if asyncio.iscoroutine(reply):
            reply = await reply
        if isinstance(reply, int):
            return httpx.Response(reply)
        return httpx.Response(200, content=reply)

    def at(self, path: str) -> list[Asked]:
        return [each for each in self.asked if each.path == path]

    def target(self, path: str) -> str:
        return self.url + path


class StreamServer:
    """A server of streams that a pair of sockets joins to each caller: keeps what comes."""

    url = "ws://streams.example"

    def __init__(self) -> None:
        self.connections: list[ScriptedServer] = []
        self.arrived = asyncio.Event()
        self._running: list[asyncio.Task[None]] = []

    async def connect(self, url: str, **options: Any) -> ClientConnection:
        """Open a WebSocket to this server; no other server is there."""
        if not url.startswith(self.url):
            raise CallFailed(None, f"cannot call {url}: nobody is there")
        ours, theirs = socket.socketpair()
        server = ScriptedServer(theirs, self.arrived)
        self.connections.append(server)
        self._running.append(asyncio.create_task(server.run()))
        return await open_websocket(url, sock=ours, **options)

    async def until(self, count: int, event: str = "start") -> None:
        """Wait until `count` events have come on all streams together."""
        async with asyncio.timeout(LIMIT):
            while sum(len(each.events(event)) for each in self.connections) < count:
                self.arrived.clear()
                await self.arrived.wait()

    async def aclose(self) -> None:
        """Wait until every caller is gone."""
        async with asyncio.timeout(LIMIT):
            await asyncio.gather(*self._running)


@dataclass
class Platform:
    """A sandbox in virtual time, with its customer and a server of streams."""

    exchange: Exchange
    customer: Customer
    streams: StreamServer
    sandbox: Sandbox

    def document(self, path: str, *elements: str) -> str:
        """Have the customer answer `path` with these elements, and return its URL."""
        self.customer.replies[path] = f"<Response>{''.join(elements)}</Response>"
        return self.customer.target(path)

    async def call(self, *elements: str, to: str = CALLED, **plan: Any) -> SandboxCall:
        """Place a call whose answer URL has these elements."""
        answer = Target(self.document("/answer", *elements))
        return await self.exchange.call(to, caller=CALLER, plan=CallPlan(answer, **plan))

    async def answered(self, *elements: str, **plan: Any) -> SandboxCall:
        """Place a call, of a minute by default, and wait until it is answered."""
        call = await self.call(*(elements or ('<Wait length="60"/>',)), **plan)
        await call.answered.wait()
        return call

    async def dialled_in(self, *elements: str, **more: Any) -> SandboxCall:
        """Dial the account's number from that of the person, with these elements as its answer."""
        plan = CallPlan(Target(self.document("/answer", *elements)))
        return await self.exchange.dial_in(CALLER, caller=CALLED, plan=plan, **more)

    async def ended(self, call: SandboxCall) -> Asked:
        """Wait for the end of a call, and return its hangup callback."""
        await call.wait_ended()
        await self.exchange.services.webhooks.delivered()
        return next(each for each in self.customer.asked if each.event == "Hangup")

    def stream(self, **attributes: str) -> str:
        """Return a `<Stream>` to the server of streams."""
        written = "".join(f' {name}="{text}"' for name, text in attributes.items())
        return f"<Stream{written}>{StreamServer.url}/ws</Stream>"

    @property
    def stream_url(self) -> str:
        """URL of the server of streams."""
        return StreamServer.url


@pytest.fixture
def on_platform(tmp_path: Any) -> OnPlatform:
    """Run a scenario on a platform in virtual time, where every number has the same person.

    The person is one who answers after 1 s and stays on the phone without a word.
    """

    def run(
        scenario: Callable[[Platform], Awaitable[T]],
        *,
        person: Person | None = None,
        people: Mapping[str, Person] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> T:
        async def main() -> T:
            customer, streams = Customer(), StreamServer()
            exchange_options = ExchangeOptions(
                **{"recordings": tmp_path, "calls_per_second": 1000, **(options or {})}
            )
            loop = asyncio.get_running_loop()
            async with (
                contextlib.aclosing(streams),
                Sandbox(
                    SandboxOptions(
                        account=Account(AUTH_ID, SecretStr(AUTH_TOKEN)),
                        exchange=exchange_options,
                    ),
                    transport=httpx.MockTransport(customer),
                    connect=streams.connect,
                    now=lambda: EPOCH + loop.time(),
                ) as sandbox,
            ):
                somebody = person or Person()
                makers = {
                    number: (lambda each=each: each) for number, each in (people or {}).items()
                }
                sandbox.exchange.dialplan = Dialplan(lambda: somebody, makers)
                return await scenario(Platform(sandbox.exchange, customer, streams, sandbox))

        return run_virtual(main())

    return run
