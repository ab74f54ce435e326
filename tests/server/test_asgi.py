"""With a host that is played by hand, and in Starlette under uvicorn."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute
from structlog.testing import capture_logs
from websockets import CloseCode

from audiocodecs import MULAW_8K
from mediaserver import Stream
from mediaserver.agents import Echo
from mediaserver.plivo.signatures import sign_upgrade
from mediaserver.protocol import Dtmf, Media, PlayAudio, Start, decode_command, encode_event
from mediaserver.routes import Route, Routes
from mediaserver.sandbox import CallFailed, Phone
from mediaserver.server import StreamApp
from mediaserver.server.asgi import SLICE_MESSAGES, UNSENT_LIMIT, asgi
from mediaserver.settings import Settings
from tests.server.until import until


CALL_ID, STREAM_ID = str(UUID(int=1, version=4)), str(UUID(int=2, version=4))
START = encode_event(Start(CALL_ID, STREAM_ID, "MA", ("inbound",), MULAW_8K, sequence_number=1))


def media(payload: bytes = bytes(160)) -> str:
    return encode_event(
        Media(
            payload,
            track="inbound",
            timestamp=1_705_312_200_000,
            chunk=1,
            stream_id=STREAM_ID,
            sequence_number=2,
        )
    )


class Host:
    """One WebSocket of a host application, and its server."""

    def __init__(
        self,
        app: StreamApp,
        path: str = "/",
        *,
        mounted_at: str = "",
        query: str = "",
        extensions: tuple[()] | tuple[str] = ("http",),
        **scope: Any,
    ) -> None:
        self.app = app
        self.scope = {
            "type": "websocket",
            "scheme": "ws",
            "path": mounted_at + path,
            "root_path": mounted_at,
            "query_string": query.encode(),
            "headers": [(b"host", b"media.test")],
            "client": ("192.0.2.1", 5),
            "extensions": {"websocket.http.response": {}} if extensions else {},
        } | scope
        self.incoming: asyncio.Queue[Any] = asyncio.Queue()
        self.incoming.put_nowait({"type": "websocket.connect"})
        self.sent: list[Any] = []
        # What the server does with `send`: waits for this, raises that, answers a close frame.
        self.may_send = asyncio.Event()
        self.may_send.set()
        self.send_error: Exception | None = None
        self.answers_close = True
        self.task = asyncio.create_task(app(self.scope, self.receive, self.send))

    async def receive(self) -> Any:
        message = await self.incoming.get()
        if isinstance(message, Exception):
            raise message
        return message

    async def send(self, message: Any) -> None:
        await self.may_send.wait()
        if self.send_error is not None:
            raise self.send_error
        self.sent.append(message)
        if message["type"] == "websocket.close" and self.answers_close:
            self.disconnect(message["code"])

    def bring(self, *texts: Any) -> None:
        for text in texts:
            self.incoming.put_nowait({"type": "websocket.receive", "text": text, "bytes": None})

    def disconnect(self, code: CloseCode | int = 1000) -> None:
        self.incoming.put_nowait({"type": "websocket.disconnect", "code": code})

    @property
    def call(self) -> Any:
        (call,) = self.app.runtime.calls
        return call

    def played(self) -> bytes:
        """The audio that was sent."""
        commands = [decode_command(each["text"]) for each in self.sent if "text" in each]
        return b"".join(bytes(each.payload) for each in commands if isinstance(each, PlayAudio))

    def closed(self) -> tuple[CloseCode, str] | tuple[int, str]:
        """Code and reason of the close frame."""
        last = self.sent[-1]
        assert last["type"] == "websocket.close"
        return last["code"], last["reason"]


@pytest.fixture
async def mount() -> AsyncIterator[Any]:
    """Make applications on the loop's own clock: ``mount(handler, **settings)``."""
    apps = []

    def mount(handler: Callable[..., Any] | Keep | Routes, **settings: Any) -> StreamApp:
        apps.append(asgi(handler, settings=Settings(**{"reconnect_seconds": 0.0, **settings})))
        apps[-1].runtime.clock = asyncio.get_running_loop().time
        return apps[-1]

    yield mount
    for app in apps:
        await app.shutdown()


async def listen(stream: Stream) -> None:
    async for _ in stream.audio():
        pass


async def leave(stream: Stream) -> None:
    pass


class Keep:
    """Keeps why its stream ended."""

    reason: Any = None

    async def __call__(self, stream: Stream) -> None:
        await listen(stream)
        self.reason = stream.end_reason


# One WebSocket


async def test_audio_is_echoed(mount: Callable[..., Any]) -> None:
    host = Host(mount(Echo))
    host.bring(START, media(b"a" * 160), media(b"b" * 160))
    await asyncio.sleep(0.1)
    assert host.sent[0] == {"type": "websocket.accept"}
    assert host.played() == b"a" * 160 + b"b" * 160
    host.disconnect()
    await host.task
    assert not host.app.runtime.calls
    assert host.app.runtime.admission.idle


async def test_a_call_that_has_ended_is_freed_without_a_collection_of_garbage(
    mount: Callable[..., Any], left_of_calls: Callable[[], list[str]]
) -> None:
    host = Host(mount(Echo))
    host.bring(START, media())
    await asyncio.sleep(0.1)
    host.disconnect()
    await host.task
    assert left_of_calls() == []


async def test_a_flood_is_closed_with_the_reason(mount: Callable[..., Any]) -> None:
    settings = {"stream_messages_per_second": 2, "stream_burst_seconds": 50}
    app = mount(listen, max_message_bytes=1024, **settings)
    host = Host(app)
    host.bring(START, *['{"event":"x"}'] * 1_000)
    await host.task
    code, reason = host.closed()
    assert code == 1008
    assert reason == "too many messages: more than 2 a second and a burst of 100"
    assert 90 <= app.runtime.ended_totals.messages_in <= 100


async def test_others_are_served_while_many_messages_wait(mount: Callable[..., Any]) -> None:
    app = mount(listen)
    flood = Host(app)
    flood.bring(START, *['{"event":"x"}'] * 1_000)
    taken = []
    while flood.incoming.qsize():
        taken.append(flood.incoming.qsize())
        await asyncio.sleep(0)
    assert len(taken) > 1_000 / SLICE_MESSAGES
    flood.disconnect()
    await flood.task


async def test_the_host_tells_of_the_end(mount: Callable[..., Any]) -> None:
    handler = Keep()
    host = Host(mount(handler))
    host.bring(START)
    host.disconnect(1001)
    await host.task
    await asyncio.sleep(0.01)
    assert handler.reason == "Plivo closed the socket (1001)"


@pytest.mark.parametrize("handler_is", ["a handler", "routes"])
async def test_the_handler_gets_the_path_and_its_parameters(
    mount: Callable[..., Any], handler_is: str
) -> None:
    seen: list[Any] = []

    async def look(stream: Stream) -> None:
        seen.append((stream.path, dict(stream.path_params)))

    served = look if handler_is == "a handler" else Routes(Route(look, "/desk/{desk:int}"))
    app = Starlette(routes=[Mount("/tenants/{tenant}", mount(served))])
    host = Host(app, "/tenants/acme/desk/7", path_params={})  # type: ignore[arg-type]
    host.bring(START)
    await host.task
    desk = {} if handler_is == "a handler" else {"desk": 7}
    assert seen == [("/tenants/acme/desk/7", {"tenant": "acme"} | desk)]


async def test_a_route_of_the_host_gives_its_parameters_too(mount: Callable[..., Any]) -> None:
    seen: list[Any] = []

    async def look(stream: Stream) -> None:
        seen.append((stream.path, dict(stream.path_params)))

    app = Starlette(routes=[WebSocketRoute("/tenants/{tenant}/stream", mount(look))])
    host = Host(app, "/tenants/acme/stream")  # type: ignore[arg-type]
    host.bring(START)
    await host.task
    assert seen == [("/tenants/acme/stream", {"tenant": "acme"})]


async def test_the_handler_ends_the_call(mount: Callable[..., Any]) -> None:
    host = Host(mount(leave))
    host.bring(START)
    await host.task
    assert host.closed() == (1000, "the handler returned")
    assert not host.app.runtime.calls


async def test_what_was_played_goes_out_before_the_close_frame(mount: Callable[..., Any]) -> None:
    async def greet(stream: Stream) -> None:
        await stream.play(b"a" * 160)

    host = Host(mount(greet))
    host.bring(START)
    await host.task
    assert host.played() == b"a" * 160
    assert host.closed() == (1000, "the handler returned")


async def test_a_handler_that_fails_closes_with_1011(mount: Callable[..., Any]) -> None:
    async def fail(stream: Stream) -> None:
        raise LookupError("a bug")

    host = Host(mount(fail))
    host.bring(START)
    await host.task
    assert host.closed() == (1011, "the handler failed")
    assert host.app.runtime.counters.handler_errors == 1


async def test_nothing_is_sent_after_the_close_frame(mount: Callable[..., Any]) -> None:
    host = Host(mount(listen))
    host.answers_close = False
    host.bring(START)
    await asyncio.sleep(0.1)
    link = host.call._link
    link.close(1000, "first")
    link.close(1001, "second")
    link.send_text(b"late")
    host.disconnect()
    await host.task
    assert [message["type"] for message in host.sent] == ["websocket.accept", "websocket.close"]
    assert host.closed() == (1000, "first")


async def test_a_reason_is_cut_to_what_a_close_frame_holds(mount: Callable[..., Any]) -> None:
    host = Host(mount(listen))
    host.bring(START)
    await asyncio.sleep(0.1)
    host.call.close(1008, "ä" * 100)
    await host.task
    assert host.closed() == (1008, "ä" * 61)


async def test_a_peer_that_does_not_answer_the_close_frame_is_dropped(
    mount: Callable[..., Any],
) -> None:
    host = Host(mount(leave))
    host.answers_close = False
    host.bring(START)
    await host.task
    assert 5 <= asyncio.get_running_loop().time() <= 6.5
    assert not host.app.runtime.calls


async def test_a_peer_of_which_nothing_comes_is_dropped(mount: Callable[..., Any]) -> None:
    handler = Keep()
    host = Host(mount(handler, dead_peer_timeout=3, ping_interval=1))
    host.bring(START)
    await host.task
    await asyncio.sleep(0.01)
    assert handler.reason == "nothing came for 3 s"
    assert host.app.runtime.counters.dead_peers == 1


async def test_binary_messages_are_counted_and_refused(mount: Callable[..., Any]) -> None:
    host = Host(mount(listen))
    host.incoming.put_nowait({"type": "websocket.receive", "bytes": b"12345"})
    host.incoming.put_nowait({"type": "websocket.receive", "text": None, "bytes": b""})
    host.disconnect()
    await host.task
    totals = host.app.runtime.ended_totals
    assert (totals.malformed_messages, totals.bytes_in) == (2, 5)


async def test_playback_is_held_while_the_host_is_slow_and_nothing_is_lost(
    mount: Callable[..., Any],
) -> None:
    audio = bytes(range(250)) * 32 * 20

    async def speak(stream: Stream) -> None:
        for start in range(0, len(audio), 160):
            await stream.play(audio[start : start + 160])
        await listen(stream)

    host = Host(mount(speak, lead_seconds=20, queue_seconds=60, dead_peer_timeout=60))
    host.may_send.clear()
    host.bring(START)
    await asyncio.sleep(1)
    assert host.call.session.started.playout.blocked
    assert len(host.call._link._unsent) <= UNSENT_LIMIT + 1
    host.may_send.set()
    await asyncio.sleep(25)
    assert not host.call.session.started.playout.blocked
    assert host.played() == audio
    host.disconnect()
    await host.task


async def test_a_host_that_does_not_get_rid_of_messages_is_a_dead_peer(
    mount: Callable[..., Any],
) -> None:
    handler = Keep()

    async def speak(stream: Stream) -> None:
        await stream.play(bytes(8000 * 20))
        await handler(stream)

    host = Host(
        mount(speak, lead_seconds=0.2, queue_seconds=60, dead_peer_timeout=3, ping_interval=1)
    )
    host.may_send.clear()
    host.bring(START)
    while not host.task.done():
        host.bring(media())
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.01)
    assert handler.reason == "the peer read nothing for 3 s"
    assert not host.app.runtime.calls


class OddError(Exception):
    """No kind of error that a server is known to raise."""


@pytest.mark.parametrize("error", [OSError("broken pipe"), OddError("broken pipe")])
async def test_a_host_that_cannot_send_ends_the_call(
    mount: Callable[..., Any], error: OSError | OddError
) -> None:
    handler = Keep()

    async def speak(stream: Stream) -> None:
        await stream.play(bytes(160))
        await handler(stream)

    host = Host(mount(speak))
    await asyncio.sleep(0.1)
    host.send_error = error
    host.bring(START)
    await host.task
    await asyncio.sleep(0.01)
    assert handler.reason == "the connection was lost: broken pipe"
    assert host.app.runtime.admission.idle


class Picky(Host):
    """A host whose server takes only some close codes, as Daphne's."""

    takes = (1000, 4001, 4011)

    async def send(self, message: Any) -> None:
        if message["type"] == "websocket.close" and message["code"] not in self.takes:
            raise OddError(f"invalid close code {message['code']}")
        await super().send(message)


async def fail(stream: Stream) -> None:
    raise ValueError("a bug")


async def test_a_close_code_that_the_host_refuses_becomes_a_private_one(
    mount: Callable[..., Any],
) -> None:
    with capture_logs() as logged:
        host = Picky(mount(fail))
        host.bring(START)
        await host.task
    assert host.closed() == (4011, "the handler failed")
    (line,) = [each for each in logged if "close code" in each["event"]]
    assert (line["code"], line["sent_instead"], line["call"]) == (1011, 4011, CALL_ID)


async def test_a_host_that_takes_no_other_code_closes_all_the_same(
    mount: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Picky, "takes", (1000,))
    with capture_logs() as logged:
        host = Picky(mount(fail))
        host.bring(START)
        await host.task
    assert host.sent[-1] == {"type": "websocket.close", "code": 1000}
    assert any(each["event"] == "the host's server cannot send" for each in logged)
    assert not host.app.runtime.calls


async def test_handlers_finish_although_the_host_gives_up(mount: Callable[..., Any]) -> None:
    finished: list[Stream] = []

    async def store(stream: Stream) -> None:
        await listen(stream)
        await asyncio.sleep(2)
        finished.append(stream)

    app = mount(store)
    hosts = [Host(app), Host(app)]
    for host in hosts:
        host.bring(START)
    await asyncio.sleep(0.1)
    # As Daphne at SIGTERM, which ends with the first that is cancelled.
    for host in hosts:
        host.task.cancel()
    await asyncio.gather(*(host.task for host in hosts))
    assert len(finished) == 2


async def test_a_host_that_cannot_receive_ends_the_call(mount: Callable[..., Any]) -> None:
    handler = Keep()
    host = Host(mount(handler))
    host.bring(START)
    host.incoming.put_nowait(OddError("reset by peer"))
    await host.task
    await asyncio.sleep(0.01)
    assert handler.reason == "the connection was lost: reset by peer"
    assert host.app.runtime.admission.idle


async def test_a_host_that_gives_up_ends_the_call(mount: Callable[..., Any]) -> None:
    handler = Keep()
    host = Host(mount(handler))
    host.bring(START)
    await asyncio.sleep(0.1)
    host.task.cancel()
    await host.task
    await asyncio.sleep(0.01)
    assert handler.reason == "the host ended the stream"
    assert not host.app.runtime.calls
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_slow_handler_holds_the_host_up_where_the_inbox_says_pause(
    mount: Callable[..., Any],
) -> None:
    go = asyncio.Event()
    payloads = []

    async def wait(stream: Stream) -> None:
        await go.wait()
        payloads.extend([frame.payload async for frame in stream.audio()])

    host = Host(mount(wait, inbox_overflow="pause"))
    sent = [bytes([number]) * 160 for number in range(200)]
    host.bring(START, *map(media, sent))
    await asyncio.sleep(5)
    assert 140 < host.incoming.qsize() < 150
    go.set()
    host.disconnect()
    await host.task
    await asyncio.sleep(0.01)
    assert payloads == sent


async def test_a_host_that_is_held_up_can_still_be_closed(mount: Callable[..., Any]) -> None:
    async def hang(stream: Stream) -> None:
        await asyncio.Event().wait()

    host = Host(mount(hang, inbox_overflow="pause", grace=1))
    host.bring(START, *(media() for _ in range(60)))
    await asyncio.sleep(1)
    host.call.close(1001, "enough")
    await host.task
    assert host.closed() == (1001, "enough")


# Refusals


async def test_a_refusal_has_its_status_where_the_host_can_say_it(
    mount: Callable[..., Any],
) -> None:
    app = mount(Echo, max_calls=1)
    first = Host(app)
    second = Host(app)
    await second.task
    start, body = second.sent
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 503)
    assert (b"retry-after", b"5") in start["headers"]
    assert body["type"] == "websocket.http.response.body"
    assert b"limit of calls" in body["body"]
    assert app.runtime.counters.refused == {"full": 1}
    first.disconnect()
    await first.task


@pytest.mark.parametrize("raw_path", [None, b"/calls/%73tream", b"/calls/%73tream?a=1"])
async def test_what_plivo_signed_is_the_path_of_the_mount_too(
    mount: Callable[..., Any], raw_path: bytes | None
) -> None:
    app = mount(listen, auth_token="an auth token", public_url="https://voice.example.com")
    path = "stream" if raw_path is None else "%73tream"
    raw: dict[str, Any] = {} if raw_path is None else {"raw_path": raw_path}
    signature = sign_upgrade(f"wss://voice.example.com/calls/{path}", "an auth token")
    host = Host(
        app,
        "/stream",
        mounted_at="/calls",
        query="a=1",
        headers=[(name.encode(), value.encode()) for name, value in signature.items()],
        **raw,
    )
    host.disconnect()
    await host.task
    assert host.sent[0] == {"type": "websocket.accept"}
    unsigned = Host(app, "/stream", mounted_at="/calls", query="a=1")
    await unsigned.task
    assert unsigned.sent[0]["status"] == 403


@pytest.mark.parametrize("accepted", [True, False])
async def test_a_signature_is_used_up_only_once_the_websocket_was_accepted(
    mount: Callable[..., Any], accepted: bool
) -> None:
    app = mount(listen, auth_token="an auth token", public_url="https://voice.example.com")
    signature = sign_upgrade("wss://voice.example.com/stream", "an auth token")
    headers = [(name.encode(), value.encode()) for name, value in signature.items()]
    first = Host(app, "/stream", headers=headers)
    if not accepted:
        first.send_error = OSError("broken pipe")
    first.disconnect()
    await first.task
    again = Host(app, "/stream", headers=headers)
    again.disconnect()
    await again.task
    taken = {"type": "websocket.accept"}
    assert (first.sent[:1] == [taken]) is accepted
    assert (again.sent[0] == taken) is not accepted


async def test_a_refusal_closes_before_accepting_where_the_host_cannot(
    mount: Callable[..., Any],
) -> None:
    host = Host(mount(Echo), query="token=nonsense", extensions=())
    await host.task
    assert [message["type"] for message in host.sent] == ["websocket.close"]
    assert host.app.runtime.counters.refused == {"token": 1}
    assert host.app.runtime.admission.idle


async def test_a_web_page_is_told_that_this_is_a_websocket(mount: Callable[..., Any]) -> None:
    host = Host(mount(Echo), type="http")
    await host.task
    assert host.sent[0]["status"] == 426
    assert b"WebSocket" in host.sent[1]["body"]


@pytest.mark.parametrize("path", ["/", "/any/path"])
async def test_a_single_handler_takes_every_path(mount: Callable[..., Any], path: str) -> None:
    host = Host(mount(leave), path, mounted_at="/voice")
    host.bring(START)
    await host.task
    assert host.closed()[0] == 1000


@pytest.mark.parametrize(
    ("path", "mounted_at", "status"),
    [("/sales", "/voice", None), ("/sales/", "", None), ("/other", "/voice", 404)],
)
async def test_routes_are_matched_by_the_path_below_the_mount(
    mount: Callable[..., Any], path: str, mounted_at: str, status: int | None
) -> None:
    app = mount(Routes(Route(leave, "/sales")))
    host = Host(app, path, mounted_at=mounted_at)
    host.bring(START)
    await host.task
    assert host.sent[0].get("status") == status


async def test_the_handler_sees_the_query(mount: Callable[..., Any]) -> None:
    queries = []

    async def keep(stream: Stream) -> None:
        queries.append((stream.query, stream.call_id))

    host = Host(mount(keep), query="a=1&b=x%20y", client=None)
    host.bring(START)
    await host.task
    assert queries == [({"a": "1", "b": "x y"}, CALL_ID)]


# Lifespan


class Lifespan:
    """A handlers' lifespan that writes down what happens to it."""

    def __init__(self, fail: str = "") -> None:
        self.happened: list[Any] = []
        self._fail = fail

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[Any]:
        await asyncio.sleep(0.1)
        if self._fail == "startup":
            raise OddError("no database")
        self.happened.append("opened")
        yield "shared"
        self.happened.append("closed")
        if self._fail == "shutdown":
            raise OddError("database gone")


async def pass_lifespan(app: StreamApp) -> AsyncIterator[Any]:
    """Be a host that passes its lifespan on; yields what was sent, at the start and at the end."""
    incoming: asyncio.Queue[Any] = asyncio.Queue()
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    task = asyncio.create_task(app({"type": "lifespan"}, incoming.get, send))
    incoming.put_nowait({"type": "lifespan.startup"})
    await until(lambda: sent or task.done())
    yield sent.copy()
    incoming.put_nowait({"type": "lifespan.shutdown"})
    await asyncio.wait([task])
    yield sent[1:]
    await task


async def test_a_lifespan_that_is_passed_on_opens_what_handlers_share(
    mount: Callable[..., Any],
) -> None:
    lifespan = Lifespan()
    shared = []

    async def keep(stream: Stream) -> None:
        shared.append(stream.shared)

    app = mount(Routes(Route(keep), lifespan=lifespan))
    phases = pass_lifespan(app)
    assert await anext(phases) == [{"type": "lifespan.startup.complete"}]
    assert lifespan.happened == ["opened"]
    host = Host(app, "/stream")
    host.bring(START)
    await host.task
    assert shared == ["shared"]
    assert await anext(phases) == [{"type": "lifespan.shutdown.complete"}]
    assert lifespan.happened == ["opened", "closed"]


async def test_a_lifespan_that_fails_stops_the_host(mount: Callable[..., Any]) -> None:
    app = mount(Routes(Route(listen), lifespan=Lifespan(fail="startup")))
    phases = pass_lifespan(app)
    assert await anext(phases) == [{"type": "lifespan.startup.failed", "message": "no database"}]
    assert await anext(phases) == []
    with pytest.raises(OddError):
        await anext(phases)


async def test_a_lifespan_that_fails_to_close_says_so(mount: Callable[..., Any]) -> None:
    app = mount(Routes(Route(listen), lifespan=Lifespan(fail="shutdown")))
    phases = pass_lifespan(app)
    await anext(phases)
    assert await anext(phases) == [{"type": "lifespan.shutdown.failed", "message": "database gone"}]
    with pytest.raises(OddError):
        await anext(phases)


async def test_a_lifespan_that_is_not_passed_on_begins_with_the_first_stream(
    mount: Callable[..., Any],
) -> None:
    lifespan = Lifespan()
    app = mount(Routes(Route(leave), lifespan=lifespan))
    assert not app.runtime.ready
    hosts = [Host(app, "/stream") for _ in range(3)]
    for host in hosts:
        host.bring(START)
        await host.task
    assert lifespan.happened == ["opened"]
    await app.shutdown()
    assert lifespan.happened == ["opened", "closed"]


async def test_it_can_be_started_before_the_first_stream(mount: Callable[..., Any]) -> None:
    lifespan = Lifespan()
    app = mount(Routes(Route(leave), lifespan=lifespan))
    await asyncio.gather(app.startup(), app.startup())
    assert lifespan.happened == ["opened"]


async def test_shutting_down_what_never_began_does_nothing() -> None:
    await asgi(Echo).shutdown()


async def test_shutting_down_closes_calls_and_waits_for_their_handlers(
    mount: Callable[..., Any],
) -> None:
    lifespan = Lifespan()

    async def tidy_up(stream: Stream) -> None:
        await listen(stream)
        await asyncio.sleep(2)
        lifespan.happened.append("tidied up")

    app = mount(Routes(Route(tidy_up), lifespan=lifespan))
    host = Host(app, "/stream")
    host.bring(START)
    await asyncio.sleep(1)
    await app.shutdown()
    assert lifespan.happened == ["opened", "tidied up", "closed"]
    assert host.closed() == (1001, "the server is shutting down")
    await host.task


async def test_it_serves_again_when_its_host_starts_again(mount: Callable[..., Any]) -> None:
    app = mount(Routes(Route(listen)))
    await app.startup()
    await app.shutdown()
    host = Host(app, "/stream")
    host.bring(START)
    await asyncio.sleep(0.1)
    assert len(app.runtime.calls) == 1
    host.disconnect()
    await host.task


async def test_shutting_down_does_not_wait_for_ever(mount: Callable[..., Any]) -> None:
    go = asyncio.Event()

    async def hang(stream: Stream) -> None:
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                pass

    app = mount(hang, grace=2)
    host = Host(app)
    host.bring(START)
    await asyncio.sleep(1)
    await app.shutdown()
    assert asyncio.get_running_loop().time() < 15
    go.set()
    await host.task


async def test_no_stream_is_taken_while_shutting_down(mount: Callable[..., Any]) -> None:
    async def tidy_up(stream: Stream) -> None:
        await listen(stream)
        await asyncio.sleep(2)

    app = mount(tidy_up)
    Host(app).bring(START)
    await asyncio.sleep(0.1)
    shutdown = asyncio.create_task(app.shutdown())
    await asyncio.sleep(1)
    late = Host(app)
    await late.task
    assert late.sent[0]["status"] == 503
    await shutdown


# In an application under a server


@pytest.fixture
async def serve() -> AsyncIterator[Any]:
    """Serve applications by uvicorn: ``port = await serve(app)``."""
    servers = []

    async def serve(app: Starlette | StreamApp) -> Any:
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
        servers.append((server, asyncio.create_task(server.serve())))
        await until(lambda: server.started)
        return server.servers[0].sockets[0].getsockname()[1]

    yield serve
    for server, task in servers:
        server.should_exit = True
        await task


TONE = (np.sin(np.arange(4000) / 3) * 8000).astype(np.int16)


@pytest.mark.real_time
async def test_a_phone_is_echoed_by_a_mounted_handler(serve: Callable[..., Any]) -> None:
    app = asgi(Echo)
    port = await serve(Starlette(routes=[Mount("/stream", app)]))
    async with Phone(f"ws://127.0.0.1:{port}/stream/", audio=TONE) as phone:
        await until(lambda: phone.report().agent_speech)
        await phone.hang_up()
    report = phone.report()
    assert report.ended_by == "caller"
    assert not report.errors
    await app.shutdown()
    assert app.runtime.counters.calls_total == 1
    assert not app.runtime.calls


@pytest.mark.real_time
async def test_a_route_of_starlette_takes_a_path_without_a_slash_at_its_end(
    serve: Callable[..., Any],
) -> None:
    app = asgi(leave)
    port = await serve(
        Starlette(routes=[Mount("/mounted", asgi(leave)), WebSocketRoute("/stream", app)])
    )
    phone = Phone(f"ws://127.0.0.1:{port}/stream")
    await phone.start()
    await phone.wait_closed()
    assert (phone.report().close_code, phone.report().ended_by) == (1000, "server")
    with pytest.raises(CallFailed, match="403"):
        await Phone(f"ws://127.0.0.1:{port}/mounted").start()
    await app.shutdown()


@pytest.mark.real_time
async def test_a_refusal_reaches_a_phone_with_its_status(serve: Callable[..., Any]) -> None:
    app = asgi(Echo)
    port = await serve(app)
    with pytest.raises(CallFailed, match="403"):
        await Phone(f"ws://127.0.0.1:{port}/?token=nonsense").start()


@pytest.mark.real_time
async def test_a_phone_that_hangs_up_ends_the_handler(serve: Callable[..., Any]) -> None:
    handler = Keep()
    app = asgi(handler)
    port = await serve(app)
    phone = Phone(f"ws://127.0.0.1:{port}/")
    await phone.start()
    await until(lambda: any(call.stream for call in app.runtime.calls))
    await phone.hang_up()
    await until(lambda: not app.runtime.calls)
    assert "closed the socket" in handler.reason


def mount_control_collector(mount: Callable[..., Any]) -> tuple[Any, list[str]]:
    """Return an application whose streams may come again, and the names of their controls."""
    names: list[str] = []

    async def collect(stream: Stream) -> None:
        names.extend([type(event).__name__ async for event in stream.controls()])

    return mount(collect, reconnect_seconds=5.0), names


async def test_a_silent_stream_continues_on_another_connection(mount: Callable[..., Any]) -> None:
    app, events = mount_control_collector(mount)
    first = Host(app)
    first.bring(START)
    await asyncio.sleep(2)
    second = Host(app)
    second.bring(START)
    await first.task
    second.bring(media())
    await asyncio.sleep(0.1)
    assert len(app.runtime.calls) == 1
    second.disconnect()
    await second.task
    await asyncio.sleep(0.1)
    assert events == ["Reconnected"]
    assert not app.runtime.calls


async def test_a_stream_that_the_host_lost_is_taken_up_again(mount: Callable[..., Any]) -> None:
    app, keys = mount_control_collector(mount)
    first = Host(app)
    first.bring(START)
    await asyncio.sleep(0.1)
    first.incoming.put_nowait({"type": "websocket.disconnect", "code": 1006})
    await first.task
    assert len(app.runtime.calls) == 1
    second = Host(app)
    second.bring(START)
    second.bring(
        encode_event(
            Dtmf("5", track="inbound", timestamp=1, stream_id=STREAM_ID, sequence_number=2)
        )
    )
    await asyncio.sleep(0.1)
    for _ in range(30):
        # It is known to be heard from.
        second.bring(media())
        await asyncio.sleep(2)
    assert len(app.runtime.calls) == 1
    second.disconnect()
    await second.task
    await asyncio.sleep(0.1)
    assert keys == ["Reconnected", "Dtmf"]
    assert not app.runtime.calls
