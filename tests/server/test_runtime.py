import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from audiocodecs import L16_16K
from mediaserver.call import StreamCounters
from mediaserver.handler import Handler
from mediaserver.plivo.callbacks import HangupRequest, StreamStatusRequest
from mediaserver.routes import Route, Routes
from mediaserver.server.accepting import examine
from mediaserver.server.call_control import CloseStream
from mediaserver.server.handshake import AcceptedStream, HandshakeRequest
from mediaserver.server.runtime import Runtime
from mediaserver.settings import Settings


def fail_with(error: Exception) -> Any:
    raise error


async def listen(stream: Any) -> None:
    async for _ in stream.audio():
        pass


class FakeSession:
    def __init__(self) -> None:
        self.started: Any = None
        self.counters = StreamCounters()


class FakeCall:
    """As much of a `ServerCall` as a runtime deals with."""

    def __init__(self, runtime: Runtime) -> None:
        accepted = examine(runtime, HandshakeRequest("/stream"))
        assert isinstance(accepted, AcceptedStream)
        self.accepted = accepted
        self.counts = False
        self.session: Any = FakeSession()
        self.stream: Any = None
        self.closed: list[Any] = []
        self.call_id = "?"
        self.state: Any = "starting"
        self.started_at = None
        runtime.enter(self)

    def close(self, code: int, reason: str) -> None:
        self.closed.append((code, reason))

    def report(self, status: Any) -> None:
        raise AssertionError("not called")

    def check(self, now: Any, elapsed: Any) -> None:
        pass

    def break_off(self) -> Any:
        raise AssertionError("not called")

    def closed_because(self, reason: str) -> Any:
        raise AssertionError("not called")

    async def finished(self) -> None:
        raise AssertionError("not called")


def test_the_settings_of_a_call_are_those_of_the_server() -> None:
    settings = Settings(
        default_format=L16_16K,
        lead_seconds=0.4,
        queue_seconds=3,
        inbox_seconds=0.7,
        inbox_overflow="pause",
        max_message_bytes=2048,
    )
    call = Runtime(settings, Routes(Route(listen))).call_settings
    assert call.default_format == L16_16K
    assert call.lead == 0.4
    assert (call.queue_high, call.queue_low) == (3, 1.5)
    assert (call.inbox_length, call.inbox_overflow) == (0.7, "pause")
    assert call.max_message_size == 2048


def test_calls_are_ended_by_closing_their_stream_unless_told_otherwise() -> None:
    routes = Routes(Route(listen))
    assert isinstance(Runtime(Settings(), routes).call_control, CloseStream)
    control = CloseStream()
    assert Runtime(Settings(), routes, call_control=control).call_control is control


class Lifespan:
    """A handlers' lifespan that writes down what happens to it."""

    def __init__(self) -> None:
        self.happened: list[Any] = []

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[Any]:
        self.happened.append("opened")
        try:
            yield "shared"
        finally:
            self.happened.append("closed")


async def test_it_is_ready_while_the_lifespans_are_open() -> None:
    lifespan = Lifespan()
    routes = Routes(Route(listen), lifespan=lifespan)
    runtime: Any = Runtime(Settings(), routes)
    assert not runtime.ready
    await runtime.startup()
    assert runtime.ready
    assert routes.shared(routes.routes[0]) == "shared"
    await runtime.shutdown()
    assert not runtime.ready
    assert lifespan.happened == ["opened", "closed"]


async def test_it_is_not_ready_when_a_lifespan_cannot_be_opened() -> None:
    opened = Lifespan()

    @asynccontextmanager
    async def fail() -> AsyncIterator[Any]:
        yield fail_with(LookupError("no database"))

    class NeedsDatabase(Handler):
        lifespan = fail

    runtime = Runtime(Settings(), Routes(Route(NeedsDatabase), lifespan=opened))
    with pytest.raises(LookupError):
        await runtime.startup()
    assert not runtime.ready
    assert opened.happened == ["opened", "closed"]


async def test_it_can_be_started_again() -> None:
    lifespan = Lifespan()
    runtime = Runtime(Settings(max_calls=1), Routes(Route(listen), lifespan=lifespan))
    for _ in range(2):
        await runtime.startup()
        runtime.leave(FakeCall(runtime))
        await runtime.shutdown()
    assert lifespan.happened == ["opened", "closed"] * 2


async def test_a_call_is_counted_and_swept_from_its_beginning_to_its_end(
    start_runtime: Callable[..., Any],
) -> None:
    runtime = await start_runtime(Route(listen))
    calls = [FakeCall(runtime) for _ in range(3)]
    assert (runtime.counters.calls_active, runtime.counters.calls_total) == (3, 3)
    assert len(runtime.sweep) == 3
    runtime.leave(calls[0])
    assert (runtime.counters.calls_active, runtime.counters.calls_total) == (2, 3)
    assert len(runtime.sweep) == 2
    assert runtime.admission.active == 2


async def test_it_knows_its_calls_and_whether_a_route_has_its_limit_of_them(
    start_runtime: Callable[..., Any],
) -> None:
    limited, other = Route(listen, max_calls=1), Route(listen, "/other")
    runtime = await start_runtime(limited, other)
    assert not runtime.is_full(limited)
    call = FakeCall(runtime)
    call.call_id = "call-1"
    assert (runtime.is_full(limited), runtime.is_full(other)) == (True, False)
    assert (runtime.has_call("call-1"), runtime.has_call("call-2")) == (True, False)


async def test_a_call_leaves_once_only(start_runtime: Callable[..., Any]) -> None:
    runtime = await start_runtime(Route(listen))
    call, other = FakeCall(runtime), FakeCall(runtime)
    call.session.counters.frames_in = 5
    for _ in range(3):
        runtime.leave(call)
    assert runtime.admission.active == 1
    assert runtime.stream_totals().frames_in == 5
    assert runtime.calls == {other}


async def test_the_pacer_lets_go_of_a_call_that_had_started(
    start_runtime: Callable[..., Any],
) -> None:
    runtime = await start_runtime(Route(listen))
    call = FakeCall(runtime)
    call.session.started = SimpleNamespace(playout=object())
    runtime.pacer.add(call.session.started.playout)
    runtime.leave(call)
    assert len(runtime.pacer) == 0


async def test_totals_add_up_over_live_and_ended_calls(start_runtime: Callable[..., Any]) -> None:
    runtime = await start_runtime(Route(listen))
    for audio in (1.0, 2.0, 4.0):
        call = FakeCall(runtime)
        call.session.counters.audio_in = audio
        call.session.counters.underruns = 1
        if audio < 4:
            runtime.leave(call)
    assert runtime.stream_totals().audio_in == 7.0
    assert runtime.ended_totals.audio_in == 3.0
    call.session.counters.audio_in += 1
    assert runtime.stream_totals().audio_in == 8.0
    assert runtime.stream_totals().underruns == 3
    assert runtime.totals_by_handler()["listen"].audio_in == 8.0
    assert runtime.live_by_handler() == {"listen": 1}


async def test_every_live_call_is_closed(start_runtime: Callable[..., Any]) -> None:
    runtime = await start_runtime(Route(listen))
    calls = [FakeCall(runtime) for _ in range(3)]
    first: Any = calls[0]
    first.close = lambda *_: runtime.leave(first)
    runtime.close_calls(1001, "bye")
    assert [call.closed for call in calls[1:]] == [[(1001, "bye")]] * 2


async def test_nothing_is_left_after_shutdown() -> None:
    loop: Any = asyncio.get_running_loop()
    runtime = Runtime(Settings(), Routes(Route(listen)), clock=loop.time)
    await runtime.startup()
    FakeCall(runtime)
    member: Any = object()
    runtime.pacer.add(member)
    await runtime.shutdown()
    assert [timer for timer in loop._scheduled if not timer.cancelled()] == []


async def test_a_process_of_its_own_coalesces_the_turns_of_its_loop_and_no_other_does() -> None:
    runtime: Any = Runtime(Settings(), Routes(Route(listen)), coalesces=True)
    await runtime.startup()
    for _ in range(30):
        FakeCall(runtime)
    assert runtime.coalescing._turn is not None
    for call in tuple(runtime.calls):
        runtime.leave(call)
    await runtime.shutdown()
    assert runtime.coalescing._turn is None
    assert Runtime(Settings(), Routes(Route(listen))).coalescing is None


async def test_what_was_opened_is_closed_if_the_server_cannot_start() -> None:
    class Failing(Handler):
        @classmethod
        @asynccontextmanager
        async def serving(cls, settings: Any) -> AsyncIterator[Any]:
            yield fail_with(RuntimeError("no model"))

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Any]:
        notes.append("opened")
        try:
            yield
        finally:
            notes.append("closed")

    notes: list[Any] = []
    runtime = Runtime(Settings(), Routes(Route(Failing), lifespan=lifespan))
    with pytest.raises(RuntimeError, match="no model"):
        await runtime.startup()
    assert notes == ["opened", "closed"]
    assert not runtime.ready
    await runtime.shutdown()


class Told:
    """Neighbours that write down what they are told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def tell(self, webhook: Any) -> None:
        self.told.append(webhook)

    def used(self, nonce: str) -> None:
        self.told.append(nonce)

    def released(self, nonce: str) -> None:
        raise AssertionError("not called")


HANGUP = HangupRequest.parse({"CallUUID": "c1", "From": "1", "To": "2", "Event": "Hangup"})
STATUS = StreamStatusRequest(kind="connected", call_id="c1", stream_id="s1")


def test_a_hangup_ends_what_a_call_has_and_is_told_to_the_neighbours() -> None:
    neighbours, heard = Told(), list[Any]()
    runtime = Runtime(Settings(), Routes(Route(listen)), neighbours=neighbours)
    runtime.listeners.append(heard.append)
    assert runtime.admission.reserve("c1")
    assert runtime.told(HANGUP)
    assert runtime.admission.reserved == 0
    assert runtime.answered.has_ended("c1")
    assert (neighbours.told, heard) == ([HANGUP], [HANGUP])


def test_what_a_neighbour_tells_is_acted_on_and_told_to_nobody() -> None:
    neighbours = Told()
    runtime = Runtime(Settings(), Routes(Route(listen)), neighbours=neighbours)
    runtime.overhear(HANGUP)
    assert runtime.answered.has_ended("c1")
    runtime.overhear(STATUS)
    assert runtime.counters.stream_statuses.total() == 0
    assert runtime.statuses.kept("s1") == [STATUS]
    assert neighbours.told == []


def test_a_repeated_event_of_a_stream_is_told_once() -> None:
    neighbours = Told()
    runtime = Runtime(Settings(), Routes(Route(listen)), neighbours=neighbours)
    assert [runtime.told(STATUS), runtime.told(STATUS)] == [True, False]
    assert neighbours.told == [STATUS]


def test_a_signature_that_a_neighbour_has_seen_is_known_until_it_is_released() -> None:
    settings = Settings(auth_id="MAXXXXXXXXXXXXXXXXXX", auth_token="token")  # type: ignore[arg-type]
    runtime: Any = Runtime(settings, Routes(Route(listen)))
    runtime.overhear_nonce("123", used=True)
    known = ["123" in runtime.signatures._used]
    runtime.overhear_nonce("123", used=False)
    known.append("123" in runtime.signatures._used)
    assert known == [True, False]
    # Without a token nothing is signed.
    Runtime(Settings(), Routes(Route(listen))).overhear_nonce("123", used=True)


def test_the_calls_of_a_route_are_those_that_live_and_those_with_a_place() -> None:
    runtime = Runtime(Settings(), Routes(Route(listen)))
    (route,) = runtime.routes.routes
    assert runtime.calls_of(route) == 0
    runtime.admission.reserve("c1", route.label)
    runtime.admission.reserve("c2", "another")
    assert runtime.calls_of(route) == 1
