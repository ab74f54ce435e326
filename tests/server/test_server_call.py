"""Calls on a link that only writes down what it is told."""

import asyncio
import contextlib
import gc
import itertools
import re
import struct
import sys
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from structlog.testing import capture_logs
from websockets import CloseCode

from audiocodecs import MULAW_8K
from mediaserver import Frame, Stream
from mediaserver.call import StreamStatus, Turn
from mediaserver.handler import Handler
from mediaserver.plivo import callbacks
from mediaserver.plivo.callbacks import StreamStatusRequest
from mediaserver.protocol import (
    Dtmf,
    Media,
    PlayedStream,
    SetCheckpoint,
    Start,
    Stop,
    decode_command,
    encode_event,
)
from mediaserver.routes import Route
from mediaserver.sandbox import CallEnded, CallFailed, Misbehaviour
from mediaserver.server.accepting import examine
from mediaserver.server.handshake import AcceptedStream, HandshakeRequest
from mediaserver.server.server_call import CLOSE_TIMEOUT, ServerCall
from mediaserver.server.trust.tokens import Claims, seal
from mediaserver.testing import in_virtual_time, joined, run_virtual, stall
from tests.server.until import until


CALL_ID, STREAM_ID = str(UUID(int=1, version=4)), str(UUID(int=2, version=4))
START = encode_event(Start(CALL_ID, STREAM_ID, "MA", ("inbound",), MULAW_8K, sequence_number=1))
STOP = encode_event(Stop("done", stream_id=STREAM_ID))
SILENCE = b"\xff" * 160
SPEECH = MULAW_8K.encode((np.sin(np.arange(160) / 3) * 8000).astype(np.int16))


def media(payload: bytes = SILENCE, track: str = "inbound") -> str:
    return encode_event(
        Media(
            payload,
            track=track,
            timestamp=1_705_312_200_000,
            chunk=1,
            stream_id=STREAM_ID,
            sequence_number=2,
        )
    )


MEDIA = media()


class Link:
    """Writes down what a call asks of it."""

    def __init__(self) -> None:
        self.call: Any = None
        self.runtime: Any = None
        self.sent: list[Any] = []
        self.pings: list[Any] = []
        self.closed: Any = None
        self.aborted = False
        self.reading = True

    def send_text(self, message: bytes) -> None:
        self.sent.append(message)

    def send_ping(self, payload: bytes) -> None:
        self.pings.append((now(), payload))

    def close(self, code: CloseCode | int, reason: str) -> None:
        if self.closed is None:
            self.closed = (code, reason)

    def abort(self) -> None:
        # A transport tells of its end in the next turn of the loop.
        if not self.aborted:
            self.aborted = True
            asyncio.get_running_loop().call_soon(self.call.lost, "aborted")

    def hand_over(self, call: ServerCall) -> None:
        self.call = call

    def let_go(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def bring(self, *messages: Any) -> None:
        self.call.heard_from = True
        for message in messages:
            self.call.session.receive(message)

    def commands(self) -> list[Any]:
        return [decode_command(message) for message in self.sent]


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture
def call(start_runtime: Callable[..., Any]) -> Callable[..., Any]:
    """Begin calls: ``await call(handler, **settings)``; ``start=False`` holds ``start`` back."""

    async def call(
        handler: Callable[..., Any] | Stubborn,
        *,
        start: bool = True,
        query: str = "",
        **settings: Any,
    ) -> Link:
        runtime = await start_runtime(Route(handler), **settings)
        return enter(runtime, start=start, query=query)

    return call


def enter(runtime: Any, *, start: bool = True, query: str = "") -> Link:
    link = Link()
    accepted = examine(runtime, HandshakeRequest("/stream", query))
    assert isinstance(accepted, AcceptedStream)
    link.call = ServerCall(runtime, link, accepted)
    link.runtime = runtime
    if start:
        link.bring(START)
    return link


async def talk(link: Link, seconds: float, payload: bytes = SILENCE) -> None:
    """Bring a frame every 20 ms."""
    message = media(payload)
    for _ in range(round(seconds / 0.02)):
        link.bring(message)
        await asyncio.sleep(0.02)


async def listen(stream: Stream) -> None:
    async for _ in stream.audio():
        pass


async def leave(stream: Stream) -> None:
    pass


async def hang(stream: Stream) -> None:
    await asyncio.Event().wait()


class Stubborn:
    """A handler that cannot be cancelled until it is told to go."""

    def __init__(self) -> None:
        self.cancelled: list[Any] = []
        self.go = asyncio.Event()

    async def __call__(self, stream: Stream) -> None:
        while not self.go.is_set():
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                self.cancelled.append(now())


# From start to end


async def test_the_handler_runs_from_the_start_event_on(call: Callable[..., Any]) -> None:
    streams = []

    async def keep(stream: Stream) -> None:
        streams.append(stream)
        await listen(stream)

    link = await call(keep, start=False)
    await asyncio.sleep(1)
    assert not streams
    assert link.call.stream is None
    assert link.call.call_id == "?"
    link.bring(START)
    await asyncio.sleep(0)
    assert streams == [link.call.stream]
    assert link.call.call_id == CALL_ID
    assert repr(link.call) == f"<ServerCall {CALL_ID} {keep.__qualname__}>"


async def test_the_stream_knows_what_the_token_said(call: Callable[..., Any]) -> None:
    secret = "sixteen letters and more"
    token = seal(Claims("known", "+1415", "14155550100", 2**40), secret)
    link = await call(listen, secret=secret, query=f"token={token}&a=1", start=False)
    assert link.call.call_id == "known"
    link.bring(START)
    stream = link.call.stream
    assert (stream.caller, stream.called, stream.path) == ("+1415", "14155550100", "/stream")
    assert stream.query == {"a": "1"}


class Fleet:
    """Says whether a limit is reached."""

    def __init__(self, reached: str | None) -> None:
        self._reached = reached
        self.told: list[Any] = []

    async def claim(self, call_id: str, route: str, route_limit: int | None) -> str | None:
        self.told.append((call_id, route, route_limit))
        return self._reached

    def settle(self, call_id: str) -> None:
        self.told.append(call_id)

    def entered(self, call: Any) -> None: ...

    def left(self, call: Any) -> None: ...


@pytest.mark.parametrize(("reached", "limit"), [("account", 9), ("route", 7)])
async def test_a_stream_without_a_token_that_finds_no_place_in_the_fleet_has_no_handler(
    start_runtime: Callable[..., Any], reached: str, limit: int
) -> None:
    streams: list[Stream] = []

    async def keep(stream: Stream) -> None:
        streams.append(stream)

    runtime = await start_runtime(Route(keep, max_calls=7), max_calls_account=9)
    runtime.fleet = fleet = Fleet(reached)
    link = enter(runtime)
    await asyncio.sleep(0.01)
    assert link.closed == (1013, f"all nodes together have reached their limit of calls: {limit}")
    assert fleet.told == [(CALL_ID, "/stream", 7), CALL_ID]
    assert (streams, link.call.counts) == ([], False)


async def test_a_stream_counts_in_the_fleet_from_its_token_or_its_own_claim_on(
    start_runtime: Callable[..., Any],
) -> None:
    secret = "sixteen letters and more"
    runtime = await start_runtime(Route(listen), secret=secret)
    runtime.fleet = fleet = Fleet(None)
    token = seal(Claims("known", "+1415", "14155550100", 2**40), secret)
    assert enter(runtime, query=f"token={token}").call.counts
    link = enter(runtime)
    assert not link.call.counts
    await asyncio.sleep(0.01)
    assert link.call.counts
    assert fleet.told == [(CALL_ID, "/stream", None), CALL_ID]


async def test_a_handler_that_returns_closes_the_stream(call: Callable[..., Any]) -> None:
    link = await call(leave)
    await asyncio.sleep(0.01)
    assert link.closed == (1000, "the handler returned")
    assert link.call.session.end_reason == "the handler returned"
    link.call.lost("")
    assert not link.runtime.calls


async def test_a_handler_that_closes_the_stream_may_go_on(call: Callable[..., Any]) -> None:
    finished = []

    async def close(stream: Stream) -> None:
        stream.close()
        await asyncio.sleep(1)
        finished.append(now())

    link = await call(close)
    await asyncio.sleep(0.01)
    assert link.closed == (1000, "closed by the handler")
    await asyncio.sleep(2)
    assert finished == [1]


async def test_an_exception_ends_its_call_and_is_counted_and_touches_no_other(
    call: Callable[..., Any],
) -> None:
    async def fail_if_asked(stream: Stream) -> None:
        async for _ in stream.audio():
            raise LookupError("a bug")

    bad = await call(fail_if_asked)
    good = enter(bad.runtime)
    bad.bring(MEDIA)
    await asyncio.sleep(0.01)
    assert bad.closed == (1011, "the handler failed")
    assert good.closed is None
    assert good.runtime.counters.handler_errors == 1
    bad.call.lost("")
    await talk(good, 0.0)
    assert list(good.runtime.calls) == [good.call]


async def test_who_follows_a_call_is_told_which_line_of_its_handler_failed(
    call: Callable[..., Any],
) -> None:
    async def fail_if_asked(stream: Stream) -> None:
        async for _ in stream.audio():
            raise ExceptionGroup(
                "two", [LookupError("a bug"), ValueError("what Ann said " * 1_000)]
            )

    link = await call(fail_if_asked)
    told: list[tuple[str, dict[str, Any]]] = []
    follower = SimpleNamespace(
        received=lambda message: None, decided=lambda what, **more: told.append((what, more))
    )
    link.call.session.follow(follower)
    link.bring(MEDIA)
    await asyncio.sleep(0.01)
    assert [what for what, _ in told] == ["handler failed", "stream ended"]
    assert told[0][1]["failure"] == "LookupError, ValueError"
    assert told[0][1]["words"].startswith("LookupError: a bug\nValueError: what Ann said")
    assert len(told[0][1]["words"]) == 2_000


async def test_who_follows_a_call_is_told_which_task_of_its_handler_failed(
    call: Callable[..., Any],
) -> None:
    async def begin(stream: Stream) -> None:
        asyncio.create_task(fail())  # noqa: RUF006
        await listen(stream)

    async def fail() -> None:
        raise LookupError("a bug")

    link = await call(begin)
    told: list[dict[str, Any]] = []
    follower = SimpleNamespace(
        received=lambda message: None, decided=lambda what, **more: told.append(more)
    )
    link.call.session.follow(follower)
    await asyncio.sleep(0.01)
    gc.collect()
    await asyncio.sleep(0.01)
    assert told[0]["failure"] == "LookupError"
    assert re.fullmatch(r".*test_server_call\.py:\d+: LookupError: a bug", told[0]["words"])


async def test_an_exception_after_the_call_has_ended_is_counted_too(
    call: Callable[..., Any],
) -> None:
    async def fail(stream: Stream) -> None:
        await listen(stream)
        raise LookupError("a bug")

    link = await call(fail)
    link.call.lost("gone")
    await asyncio.sleep(0.01)
    assert link.runtime.counters.handler_errors == 1
    assert not link.runtime.calls


async def play_on(stream: Stream) -> None:
    while True:
        await stream.play(SILENCE)
        await asyncio.sleep(0.02)


async def play_on_in_a_group(stream: Stream) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(play_on(stream))
        async with asyncio.TaskGroup() as more:
            more.create_task(play_on(stream))


@pytest.mark.parametrize("handler", [play_on, play_on_in_a_group])
async def test_playing_to_a_stream_that_has_ended_is_no_error_of_the_handler(
    call: Callable[..., Any], handler: Callable[..., Any]
) -> None:
    link = await call(handler)
    await asyncio.sleep(0.1)
    link.call.lost("gone")
    await asyncio.sleep(0.1)
    assert link.runtime.counters.handler_errors == 0
    assert not link.runtime.calls


async def test_an_error_beside_the_end_of_the_stream_is_one(call: Callable[..., Any]) -> None:
    async def fail_too(stream: Stream) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(play_on(stream))
            await listen(stream)
            raise LookupError("a bug")

    link = await call(fail_too)
    await asyncio.sleep(0.1)
    link.call.lost("gone")
    await asyncio.sleep(0.1)
    assert link.runtime.counters.handler_errors == 1


async def test_a_lost_connection_ends_the_stream_and_its_handler(call: Callable[..., Any]) -> None:
    link = await call(listen)
    link.call.lost("gone")
    assert link.call.session.end_reason == "gone"
    assert link.runtime.calls
    await asyncio.sleep(0.01)
    assert not link.runtime.calls
    assert link.closed is None


async def test_a_connection_lost_before_the_start_leaves_nothing(call: Callable[..., Any]) -> None:
    link = await call(listen, start=False)
    link.call.lost("gone")
    assert not link.runtime.calls
    assert link.runtime.admission.idle


async def test_stop_ends_the_stream_and_the_socket_is_closed_after_the_handler(
    call: Callable[..., Any],
) -> None:
    async def tidy_up(stream: Stream) -> None:
        await listen(stream)
        await asyncio.sleep(1)

    link = await call(tidy_up)
    link.bring(STOP)
    assert link.call.session.end_reason == "done"
    await asyncio.sleep(0.5)
    assert not link.closed
    await asyncio.sleep(1)
    assert link.closed == (1000, "the handler returned")
    assert link.runtime.calls
    await asyncio.sleep(CLOSE_TIMEOUT + 1)
    assert link.aborted
    assert not link.runtime.calls


async def test_stop_before_start_closes_the_socket(call: Callable[..., Any]) -> None:
    link = await call(listen, start=False)
    link.bring(STOP)
    await asyncio.sleep(1)
    assert link.closed == (1000, "done")
    await asyncio.sleep(CLOSE_TIMEOUT + 1)
    assert not link.runtime.calls


async def test_a_handler_that_closes_after_the_connection_was_lost_leaves(
    call: Callable[..., Any],
) -> None:
    async def close_at_the_end(stream: Stream) -> None:
        await listen(stream)
        stream.close()

    link = await call(close_at_the_end)
    link.call.lost("gone")
    await asyncio.sleep(0.01)
    assert not link.runtime.calls
    assert link.closed is None


async def test_closing_all_calls_lets_those_leave_whose_connection_is_lost_already(
    call: Callable[..., Any],
) -> None:
    stubborn = Stubborn()
    link = await call(stubborn)
    await asyncio.sleep(0)
    link.call.lost("gone")
    link.runtime.close_calls(1001, "shutting down")
    stubborn.go.set()
    await asyncio.sleep(0.01)
    assert not link.runtime.calls


async def test_the_first_reason_counts(call: Callable[..., Any]) -> None:
    link = await call(listen)
    link.call.closing("the first")
    link.call.lost("the second")
    assert link.call.session.end_reason == "the first"


# The place of a call


async def places(link: Any) -> Any:
    """Places taken, after the handler has had its turn."""
    await asyncio.sleep(0.01)
    return link.runtime.admission.active


async def test_the_place_is_given_back_when_the_socket_outlives_the_handler(
    call: Callable[..., Any],
) -> None:
    link = await call(leave)
    assert await places(link) == 1
    link.call.lost("gone")
    assert await places(link) == 0
    link.call.lost("again")
    assert await places(link) == 0


async def test_the_place_is_given_back_when_the_handler_outlives_the_socket(
    call: Callable[..., Any],
) -> None:
    stubborn = Stubborn()
    link = await call(stubborn)
    await asyncio.sleep(0)
    link.call.lost("gone")
    assert await places(link) == 1
    link.call.lost("again")
    assert await places(link) == 1
    stubborn.go.set()
    assert await places(link) == 0


async def test_no_other_place_is_given_back_with_it(call: Callable[..., Any]) -> None:
    link = await call(leave)
    other = enter(link.runtime)
    link.call.lost("gone")
    link.runtime.leave(link.call)
    assert await places(link) == 1
    other.call.lost("gone")
    assert await places(link) == 0


# Deadlines


async def test_a_peer_that_sends_no_start_is_closed(call: Callable[..., Any]) -> None:
    link = await call(listen, start=False, start_timeout=4)
    await asyncio.sleep(4)
    assert not link.closed
    await asyncio.sleep(1.1)
    assert link.closed == (1008, "no start event within 4 s")
    await asyncio.sleep(CLOSE_TIMEOUT + 1)
    assert link.aborted
    assert not link.runtime.calls
    assert link.runtime.counters.dead_peers == 0


async def test_a_peer_whose_start_was_malformed_reads_why(call: Callable[..., Any]) -> None:
    link = await call(listen, start=False, start_timeout=4)
    link.call.session.refuse_binary(bytes(200))
    await asyncio.sleep(5.1)
    code, reason = link.closed
    assert code == 1008
    assert reason == (
        "no start event within 4 s, but malformed messages: a binary message came; Plivo sends text"
        " only"
    )


async def test_a_stalled_loop_does_not_use_up_the_time_for_start(call: Callable[..., Any]) -> None:
    link = await call(listen, start=False, start_timeout=4)
    await asyncio.sleep(0.6)
    stall(60)
    await asyncio.sleep(1)
    assert link.closed is None


async def test_the_peer_is_pinged_at_the_start_and_then_at_intervals(
    call: Callable[..., Any],
) -> None:
    link = await call(listen, ping_interval=7)
    await talk(link, 23)
    times = [time for time, _ in link.pings]
    assert len(times) == 4
    assert all(7 <= after - before <= 7.51 for before, after in itertools.pairwise(times))


async def test_the_round_trip_is_measured_by_the_answer_to_the_last_ping(
    call: Callable[..., Any],
) -> None:
    link = await call(listen)
    await asyncio.sleep(0.08)
    link.call.ponged(link.pings[-1][1])
    assert link.call.session.started.playout.round_trip == pytest.approx(0.08)


async def answer_pings(link: Link, *seconds: float) -> None:
    """Answer one ping after each of these delays, and wait for the next ping."""
    for after in seconds:
        count = len(link.pings)
        sent, payload = link.pings[-1]
        await asyncio.sleep(sent + after - now())
        link.call.ponged(payload)
        while len(link.pings) == count:
            await talk(link, 0.02)


async def test_the_first_pings_follow_one_another_soon(call: Callable[..., Any]) -> None:
    """One that waited for a busy process does not move a call's times until the next interval."""
    link = await call(listen, ping_interval=20)
    await answer_pings(link, 0.1, 0.04, 0.06)
    first, *times = (time for time, _ in link.pings)
    assert times[1] - first < 1.5
    assert times[2] - times[1] > 19


async def test_the_shortest_of_three_round_trips_counts(call: Callable[..., Any]) -> None:
    link = await call(listen, ping_interval=2)
    playout = link.call.session.started.playout
    for seconds, counts in [
        (0.1, 0.1),
        (0.04, 0.04),
        (0.2, 0.04),
        (0.06, 0.04),
        (0.07, 0.06),
        (0.08, 0.06),
        (0.09, 0.07),
    ]:
        await answer_pings(link, seconds)
        assert playout.round_trip == pytest.approx(counts)


async def test_a_reopened_stream_measures_its_own_round_trips(call: Callable[..., Any]) -> None:
    link = await call(listen)
    await answer_pings(link, 0.04)
    link.call.take_up(link, link.call.accepted, link.call.session.started.start)
    await answer_pings(link, 0.1)
    assert link.call.session.started.playout.round_trip == pytest.approx(0.1)


@pytest.mark.parametrize(
    "payload", [b"", b"hello", struct.pack("!d", float("nan")), struct.pack("!d", -1e300)]
)
async def test_a_pong_that_answers_no_ping_is_not_measured(
    call: Callable[..., Any], payload: bytes
) -> None:
    link = await call(listen)
    await asyncio.sleep(0.08)
    link.call.ponged(payload)
    assert link.call.session.started.playout.round_trip == 0


async def test_a_pong_before_the_start_is_not_measured(call: Callable[..., Any]) -> None:
    link = await call(listen, start=False)
    link.call.ponged(struct.pack("!d", 0.0))
    assert link.call.session.started is None


async def test_a_peer_of_which_nothing_comes_is_dropped(call: Callable[..., Any]) -> None:
    link = await call(listen, dead_peer_timeout=5, ping_interval=2)
    await talk(link, 3)
    silent_since = now()
    await until(lambda: link.aborted)
    assert 5 <= now() - silent_since <= 6.1
    assert link.call.session.end_reason == "nothing came for 5 s"
    assert link.runtime.counters.dead_peers == 1
    await asyncio.sleep(0.01)
    assert not link.runtime.calls


async def test_a_peer_that_only_answers_pings_is_alive(call: Callable[..., Any]) -> None:
    link = await call(listen, dead_peer_timeout=5, ping_interval=2)
    for _ in range(60):
        await asyncio.sleep(1)
        link.call.heard_from = True
    assert not link.call.session.ended


async def test_a_peer_that_has_stopped_answering_pings_is_dropped(call: Callable[..., Any]) -> None:
    """It sends on, and reads nothing: only a write buffer would tell, minutes later."""
    link = await call(listen, dead_peer_timeout=5, ping_interval=2)
    await talk(link, 1)
    link.call.ponged(link.pings[-1][1])
    await talk(link, 20)
    assert link.aborted
    assert link.call.session.end_reason == "a ping was not answered for 5 s"
    assert link.runtime.counters.dead_peers == 1


async def test_a_peer_that_has_never_answered_a_ping_owes_none(call: Callable[..., Any]) -> None:
    link = await call(listen, dead_peer_timeout=5, ping_interval=2)
    await talk(link, 30)
    assert not link.call.session.ended


async def test_a_peer_that_answers_every_ping_late_is_alive(call: Callable[..., Any]) -> None:
    link = await call(listen, dead_peer_timeout=5, ping_interval=2)
    for _ in range(10):
        await talk(link, 4)
        link.call.ponged(link.pings[-1][1])
    assert not link.call.session.ended


@pytest.mark.parametrize("seconds", [6, 60])
async def test_a_stalled_loop_kills_no_healthy_call(call: Callable[..., Any], seconds: int) -> None:
    link = await call(listen, dead_peer_timeout=5, ping_interval=2)
    await talk(link, 1)
    for _ in range(3):
        stall(seconds)
        await talk(link, 0.1)
    # Nothing was read in the turn in which the sweep found itself late.
    stall(seconds)
    await asyncio.sleep(1)
    await talk(link, 1)
    assert not link.call.session.ended
    assert link.runtime.counters.dead_peers == 0


async def test_a_peer_that_takes_nothing_is_dropped_though_it_goes_on_sending(
    call: Callable[..., Any],
) -> None:
    link = await call(listen, dead_peer_timeout=5, ping_interval=2)
    await talk(link, 1)
    link.call.block()
    assert link.call.session.started.playout.blocked
    await talk(link, 4)
    assert not link.aborted
    await talk(link, 2.1)
    assert link.aborted
    assert link.call.session.end_reason == "the peer read nothing for 5 s"
    assert link.runtime.counters.dead_peers == 1


async def test_a_peer_that_takes_a_little_now_and_then_is_alive(call: Callable[..., Any]) -> None:
    link = await call(listen, dead_peer_timeout=5, ping_interval=2)
    for _ in range(10):
        link.call.block()
        await talk(link, 4)
        link.call.unblock()
    assert not link.call.session.started.playout.blocked
    assert not link.call.session.ended


async def test_a_socket_that_was_full_before_the_start_is_so_after_it(
    call: Callable[..., Any],
) -> None:
    link = await call(listen, start=False)
    link.call.block()
    link.bring(START)
    assert link.call.session.started.playout.blocked
    link.call.unblock()
    assert not link.call.session.started.playout.blocked


async def test_a_socket_may_be_full_for_a_while_before_the_start(call: Callable[..., Any]) -> None:
    link = await call(listen, start=False)
    link.call.block()
    link.call.unblock()
    link.bring(START)
    assert not link.call.session.started.playout.blocked


def answer_checkpoints(link: Link) -> int:
    """Answer every checkpoint that was asked for, once; return how many there were."""
    names = [each.name for each in link.commands() if isinstance(each, SetCheckpoint)]
    link.sent.clear()
    for name in names:
        link.bring(encode_event(PlayedStream(name, stream_id=STREAM_ID, sequence_number=3)))
    return len(names)


async def speak(stream: Stream) -> None:
    """Play a second at a time and wait until it was heard."""
    stream.ignore_audio()
    while True:
        await (await stream.play(SILENCE * 50)).heard()


async def test_a_peer_that_owes_an_answer_to_a_checkpoint_is_dropped(
    call: Callable[..., Any],
) -> None:
    link = await call(speak, dead_peer_timeout=5, ping_interval=2)
    await talk(link, 1.02)
    assert answer_checkpoints(link) == 1
    await talk(link, 4)
    assert not link.aborted
    await talk(link, 4)
    assert link.aborted
    assert link.call.session.end_reason == "a checkpoint is 5 s overdue"
    assert link.runtime.counters.dead_peers == 1


async def test_a_peer_that_answers_late_every_time_is_alive(call: Callable[..., Any]) -> None:
    link = await call(speak, dead_peer_timeout=5, ping_interval=2)
    for _ in range(40):
        await talk(link, 1.3)
        answer_checkpoints(link)
    assert not link.call.session.ended


@pytest.mark.parametrize("seconds", [6, 60])
async def test_a_stalled_loop_makes_no_checkpoint_overdue(
    call: Callable[..., Any], seconds: int
) -> None:
    link = await call(speak, dead_peer_timeout=5, ping_interval=2)
    await talk(link, 1.02)
    answer_checkpoints(link)
    await talk(link, 0.5)
    stall(seconds)
    # The answer is somewhere behind a minute of audio that is yet to be read.
    await talk(link, 2)
    answer_checkpoints(link)
    await talk(link, 1)
    assert not link.call.session.ended


async def test_a_peer_that_is_held_up_is_not_dead(call: Callable[..., Any]) -> None:
    link = await call(hang, dead_peer_timeout=5, ping_interval=2, inbox_overflow="pause")
    await talk(link, 2)
    assert not link.reading
    await asyncio.sleep(60)
    assert not link.call.session.ended


async def test_a_peer_that_takes_nothing_is_dropped_though_it_is_held_up(
    call: Callable[..., Any],
) -> None:
    link = await call(hang, dead_peer_timeout=5, ping_interval=2, inbox_overflow="pause")
    await talk(link, 2)
    link.call.block()
    await asyncio.sleep(7)
    assert link.aborted


async def test_a_handler_that_catches_up_lets_the_peer_go_on(call: Callable[..., Any]) -> None:
    go = asyncio.Event()

    async def wait(stream: Stream) -> None:
        await go.wait()
        await listen(stream)

    link = await call(wait, dead_peer_timeout=5, ping_interval=2, inbox_overflow="pause")
    await talk(link, 2)
    go.set()
    await asyncio.sleep(1)
    assert link.reading
    await asyncio.sleep(7)
    assert link.call.session.end_reason == "nothing came for 5 s"


async def test_a_call_may_be_only_so_long(call: Callable[..., Any]) -> None:
    link = await call(listen, max_call_seconds=30)
    await talk(link, 30)
    assert link.closed is None
    await talk(link, 1)
    assert link.closed == (1000, "the call was longer than 30 s")


async def test_a_call_and_its_silence_may_be_without_limit(call: Callable[..., Any]) -> None:
    link = await call(listen, max_call_seconds="off", max_silence_seconds="off")
    for _ in range(15_000):  # past the default of four hours
        link.bring(MEDIA)
        await asyncio.sleep(1)
    assert link.closed is None


async def test_a_silent_caller_is_hung_up_on(call: Callable[..., Any]) -> None:
    link = await call(listen, max_silence_seconds=20)
    await talk(link, 19)
    assert not link.closed
    await talk(link, 3)
    assert link.closed == (1000, "the caller was silent for 20 s")
    assert link.runtime.counters.dead_peers == 0


async def test_a_caller_who_speaks_now_and_then_is_not_silent(call: Callable[..., Any]) -> None:
    link = await call(listen, max_silence_seconds=20)
    for _ in range(5):
        await talk(link, 15)
        await talk(link, 1, SPEECH)
    assert link.closed is None
    await talk(link, 22)
    assert link.closed is not None


async def test_a_caller_who_presses_keys_is_not_silent(call: Callable[..., Any]) -> None:
    link = await call(listen, max_silence_seconds=20)
    for _ in range(5):
        await talk(link, 15)
        link.bring(
            encode_event(
                Dtmf(
                    "5",
                    track="inbound",
                    timestamp=1_705_312_200_000,
                    stream_id=STREAM_ID,
                    sequence_number=2,
                )
            )
        )
    assert link.closed is None
    await talk(link, 22)
    assert link.closed is not None


async def test_nothing_is_silence_while_the_caller_has_something_to_hear(
    call: Callable[..., Any],
) -> None:
    async def lecture(stream: Stream) -> None:
        stream.ignore_audio()
        for _ in range(40):
            await stream.play(np.full(8000, 5000, np.int16))
        await hang(stream)

    link = await call(lecture, max_silence_seconds=5)
    await talk(link, 44)
    assert link.closed is None
    await talk(link, 3)
    assert link.closed == (1000, "the caller was silent for 5 s")


async def test_silence_goes_on_after_what_the_caller_has_heard(call: Callable[..., Any]) -> None:
    """Asking a line that nobody is on, again and again, does not keep it open."""

    async def ask(stream: Stream) -> None:
        stream.ignore_audio()
        while True:
            await asyncio.sleep(8)
            await stream.play(np.full(16_000, 5000, np.int16))

    link = await call(ask, max_silence_seconds=20)
    await talk(link, 23)
    assert link.closed is None
    await talk(link, 5)
    assert link.closed == (1000, "the caller was silent for 20 s")


@pytest.mark.parametrize("inbound", [True, False])
async def test_whoever_is_heard_on_the_outbound_track_is_not_silent(
    call: Callable[..., Any], inbound: bool
) -> None:
    link = await call(listen, max_silence_seconds=5)
    for _ in range(500):
        link.bring(media(SPEECH, track="outbound"))
        if inbound:
            link.bring(MEDIA)
        await asyncio.sleep(0.02)
    assert link.closed is None
    await talk(link, 7)
    assert link.closed == (1000, "the caller was silent for 5 s")


async def test_a_caller_of_whom_no_audio_comes_is_silent(call: Callable[..., Any]) -> None:
    link = await call(listen, max_silence_seconds=5, dead_peer_timeout=60)
    await asyncio.sleep(6.5)
    assert link.closed == (1000, "the caller was silent for 5 s")


async def test_a_handler_that_outlives_its_call_is_cancelled_after_a_grace(
    call: Callable[..., Any],
) -> None:
    stubborn = Stubborn()
    link = await call(stubborn, grace=3)
    await talk(link, 1)
    ended = now()
    link.call.lost("gone")
    await asyncio.sleep(2.9)
    assert not stubborn.cancelled
    await asyncio.sleep(5)
    assert 3 <= stubborn.cancelled[0] - ended <= 4.1
    # It goes on all the same, and is asked again.
    assert len(stubborn.cancelled) == 2
    assert link.runtime.calls
    stubborn.go.set()
    await asyncio.sleep(0.01)
    assert not link.runtime.calls
    assert link.runtime.counters.handler_errors == 0


async def test_a_handler_has_its_grace_after_stop_too(call: Callable[..., Any]) -> None:
    link = await call(hang, grace=3)
    await talk(link, 1)
    link.bring(STOP)
    await asyncio.sleep(4.5)
    assert link.closed == (1001, "the handler was cancelled")


async def test_a_handler_that_ends_in_its_grace_is_not_cancelled(call: Callable[..., Any]) -> None:
    ended = []

    async def tidy_up(stream: Stream) -> None:
        await listen(stream)
        await asyncio.sleep(2)
        ended.append(stream.end_reason)

    link = await call(tidy_up, grace=3)
    link.call.lost("gone")
    await asyncio.sleep(2.1)
    assert ended == ["gone"]
    assert not link.runtime.calls


async def test_a_peer_that_does_not_answer_the_close_frame_is_dropped(
    call: Callable[..., Any],
) -> None:
    link = await call(leave)
    await asyncio.sleep(CLOSE_TIMEOUT)
    assert link.closed
    assert not link.aborted
    await asyncio.sleep(1.1)
    assert link.aborted
    assert not link.runtime.calls


async def test_a_link_that_closes_by_itself_has_as_long(call: Callable[..., Any]) -> None:
    link = await call(listen)
    link.call.closing("a breach of protocol")
    await asyncio.sleep(3)
    link.call.closing("another")
    await asyncio.sleep(3.1)
    assert link.aborted
    assert link.call.session.end_reason == "a breach of protocol"


async def test_closing_again_does_not_begin_the_time_anew(call: Callable[..., Any]) -> None:
    link = await call(listen)
    link.call.close(1001, "first")
    await asyncio.sleep(3)
    link.call.close(1001, "second")
    await asyncio.sleep(3.1)
    assert link.closed == (1001, "first")
    assert link.aborted


async def test_a_peer_that_sends_nonsense_is_closed(call: Callable[..., Any]) -> None:
    link = await call(listen)
    for _ in range(101):
        link.bring("nonsense")
    assert link.closed == (1007, link.call.session.end_reason)


# What is left


async def test_whoever_follows_a_call_is_told_what_is_sent_and_noticed(
    call: Callable[..., Any],
) -> None:
    told: list[Any] = []

    class Follower:
        def received(self, message: Any) -> None: ...

        def received_binary(self, message: bytes) -> None: ...

        def sent(self, message: bytes) -> None:
            told.append(message)

        def decided(self, what: str, /, **details: object) -> None:
            told.append(what)

    async def press(stream: Stream) -> None:
        stream.send_dtmf("5")
        stream.decided("has pressed")
        await listen(stream)

    link = await call(press, start=False)
    link.call.session.follow(Follower())
    link.bring(START)
    await asyncio.sleep(0.01)
    link.bring("nonsense")
    assert told == [link.sent[0], "has pressed", "a malformed message was ignored"]


async def test_observers_are_told_of_a_call_its_turns_and_its_end(
    call: Callable[..., Any],
) -> None:
    told: list[Any] = []

    class Observer:
        def call_started(self, call: Any) -> None:
            told.append(("started", call.call_id, call.stream.stream_id))

        def turn_reported(self, call: Any, turn: Turn) -> None:
            told.append(("turn", call.call_id, turn.number))

        def call_ended(self, call: Any, report: Any) -> None:
            told.append(("ended", call.call_id, report.end_reason if report else None))

    async def converse(stream: Stream) -> None:
        stream.report(Turn(number=7))

    link = await call(converse, start=False)
    link.runtime.observers.add(Observer())
    link.bring(START)
    await asyncio.sleep(0.01)
    link.call.lost("gone")
    await asyncio.sleep(0.01)
    other = enter(link.runtime, start=False)
    other.call.lost("gone")
    assert told == [
        ("started", CALL_ID, STREAM_ID),
        ("turn", CALL_ID, 7),
        ("ended", CALL_ID, "the handler returned"),
        ("ended", "?", None),
    ]


async def test_totals_are_those_of_live_and_ended_calls(call: Callable[..., Any]) -> None:
    link = await call(listen)
    await talk(link, 1)
    other = enter(link.runtime)
    await talk(other, 2)
    assert link.runtime.stream_totals().frames_in == 150
    link.call.lost("gone")
    await asyncio.sleep(0.01)
    assert link.runtime.stream_totals().frames_in == 150
    other.call.lost("gone")
    await asyncio.sleep(0.01)
    totals = link.runtime.stream_totals()
    assert totals.frames_in == 150
    assert totals.messages_in == 152
    assert totals.audio_in == pytest.approx(3.0)
    assert totals.as_dict() == link.runtime.ended_totals.as_dict()


class Answering(Handler):
    """Does a little of everything."""

    async def on_start(self) -> None:
        playback = await self.stream.play(SILENCE * 20)
        await playback.heard()

    async def on_audio(self, frame: Frame) -> None:
        await self.stream.play(frame)

    async def on_dtmf(self, digit: Any) -> None:
        self.stream.interrupt()
        self.stream.checkpoint("after")


async def test_short_calls_leave_no_task_no_timer_and_no_object_behind(
    start_runtime: Callable[..., Any],
) -> None:
    runtime = await start_runtime(Route(Answering))
    loop: Any = asyncio.get_running_loop()
    left: list[Any] = []

    def keep(link: Link) -> None:
        left.extend(weakref.ref(each) for each in (link.call.stream, link.call._handler, link))

    for number in range(200):
        link = enter(runtime)
        keep(link)
        await talk(link, 0.1)
        if number % 2:
            link.call.lost("gone")
        else:
            link.call.close(1000, "enough")
            await asyncio.sleep(0)
            link.call.lost("answered")
        await asyncio.sleep(0.01)
    del link
    await asyncio.sleep(1)
    assert [each for each in left if each() is not None] == []
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert len(runtime.pacer) == len(runtime.sweep) == len(runtime.calls) == 0
    assert [timer for timer in loop._scheduled if not timer.cancelled()] == []
    assert runtime.admission.idle
    assert runtime.counters.calls_total == 200


async def raise_an_error(stream: Stream) -> None:
    raise ValueError("on purpose")


async def exit_in_a_task(stream: Stream) -> None:
    async def leaves() -> None:
        sys.exit(3)

    await asyncio.create_task(leaves())


class FailingHook(Handler):
    async def on_audio(self, frame: Frame) -> None:
        raise BaseException("on purpose")


ENDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "the caller hangs up": (Answering, {}),
    "the handler returns": (leave, {}),
    "the handler raises": (raise_an_error, {}),
    "a task of the handler exits": (exit_in_a_task, {}),
    "a hook raises": (FailingHook, {}),
    "the handler has to be cancelled": (hang, {}),
    "the connection is cut": (Answering, {"drop": 0.3}),
    "the connection is silent": (Answering, {"stop_sending": 0.3}),
    "the connection is half closed": (Answering, {"half_close": 0.3}),
    "the stream is lost and comes back": (Answering, {"drop": 0.3, "reopen": 0.2}),
    "the stream comes back before it is missed": (
        Answering,
        {"drop": 0.3, "reopen": 3.0, "half_open": True},
    ),
    "a message is too large": (Answering, {"oversize": 0.3}),
    "the stream never starts": (Answering, {"no_start": True}),
}


@pytest.mark.parametrize("how", ENDS)
async def test_a_call_that_has_ended_is_freed_without_a_collection_of_garbage(
    how: str, left_of_calls: Callable[[], list[str]]
) -> None:
    handler, deviations = ENDS[how]
    async with joined(handler, misbehaviour=Misbehaviour(**deviations), raises=False) as line:
        with contextlib.suppress(CallEnded):
            await line.phone.wait_until(12.0)
    line.runtime.errors.clear()
    await asyncio.sleep(0.1)
    assert left_of_calls() == []


async def test_a_stream_that_is_refused_is_freed_without_a_collection_of_garbage(
    left_of_calls: Callable[[], list[str]],
) -> None:
    with pytest.raises(CallFailed):
        async with joined(Answering, path="/elsewhere"):
            pass
    await asyncio.sleep(0.1)
    assert left_of_calls() == []


async def test_a_call_that_is_refused_at_its_start_is_freed_without_a_collection_of_garbage(
    call: Callable[..., Any], left_of_calls: Callable[[], list[str]]
) -> None:
    link = await call(Answering, start=False)
    link.runtime.told(callbacks.HangupRequest(call_id=CALL_ID))
    link.bring(START)
    link.call.lost("refused")
    assert link.closed is not None
    link.call = None
    assert left_of_calls() == []


# What comes by webhooks


def told(
    kind: Any, name: Any = None, stream_id: Any = STREAM_ID, **more: Any
) -> StreamStatusRequest:
    return callbacks.StreamStatusRequest(
        kind=kind, call_id=CALL_ID, stream_id=stream_id, name=name, **more
    )


async def test_status_callbacks_reach_the_handler_once_each_whenever_they_come(
    call: Callable[..., Any],
) -> None:
    events = []

    async def keep(stream: Stream) -> None:
        events.extend([event async for event in stream.controls()])

    link = await call(keep, start=False)
    runtime = link.runtime
    assert runtime.told(told("connected"))
    link.bring(START)
    assert runtime.told(told("played", "a"))
    assert not runtime.told(told("played", "a"))
    assert runtime.told(told("played", "a", stream_id="another"))
    assert runtime.told(told("dropped", error="gone", reason="why", duration=3))
    link.bring(STOP)
    await asyncio.sleep(0.1)
    assert events == [
        StreamStatus(kind="connected"),
        StreamStatus(kind="played", name="a"),
        StreamStatus(kind="dropped", error="gone", reason="why", duration=3),
    ]
    assert runtime.counters.stream_statuses == {"connected": 1, "played": 2, "dropped": 1}


async def test_a_status_callback_after_the_end_is_counted_and_no_more(
    call: Callable[..., Any],
) -> None:
    link = await call(leave)
    await asyncio.sleep(0.1)
    link.call.lost("gone")
    assert link.runtime.told(told("stopped"))
    assert link.runtime.counters.stream_statuses == {"stopped": 1}


async def test_a_stream_of_a_call_that_is_over_gets_no_handler(call: Callable[..., Any]) -> None:
    handled = []

    async def keep(stream: Stream) -> None:
        handled.append(stream)

    link = await call(keep, start=False)
    link.runtime.answered.end(CALL_ID)
    link.bring(START, MEDIA)
    await asyncio.sleep(0.1)
    assert link.closed == (1008, "the call is over: Plivo reported its end to /hangup")
    assert handled == []
    link.call.lost("closed")
    assert link.runtime.calls == set()
    assert link.runtime.admission.idle


async def test_the_handler_knows_what_plivo_told_the_answer_webhook(
    start_runtime: Callable[..., Any],
) -> None:
    answers = []

    async def keep(stream: Stream) -> None:
        answers.append(stream.answer)

    runtime = await start_runtime(Route(keep), secret="sixteen letters and more")
    request = callbacks.AnswerRequest(call_id=CALL_ID, forwarded_from="+14155550142")
    runtime.answered.add(request)
    token = seal(Claims(CALL_ID, None, None, 2**40), "sixteen letters and more")
    enter(runtime, query=f"token={token}")
    enter(runtime)
    await asyncio.sleep(0.1)
    assert answers == [request, None]


@pytest.mark.parametrize(("waits", "warnings"), [(False, 1), (True, 0)])
def test_audio_that_a_handler_leaves_unheard_is_told(waits: bool, warnings: int) -> None:
    async def handler(stream: Stream) -> None:
        playback = await stream.play(np.zeros(8000, np.int16), rate=8000)
        if waits:
            await playback.heard()

    async def main() -> None:
        async with joined(handler) as line:
            await line.phone.wait_closed()

    with capture_logs() as logs:
        run_virtual(main())
    told = [log for log in logs if "before its audio was heard" in log["event"]]
    assert len(told) == warnings


@in_virtual_time
async def test_the_handler_goes_on_with_the_same_stream_and_readers() -> None:
    streams: list[Stream] = []
    frames: list[Frame] = []
    events: list[Any] = []
    reopens = Misbehaviour.parse("drop@2", "reopen:3s", "new-stream-id")

    async def handler(stream: Stream) -> None:
        streams.append(stream)

        async def hear() -> None:
            frames.extend([frame async for frame in stream.audio()])

        hearing = asyncio.create_task(hear())
        events.extend([event async for event in stream.controls()])
        await hearing

    async with joined(handler, misbehaviour=reopens) as line:
        await line.phone.wait_until(7.0)
        line.phone.press("5")
        await line.phone.wait_until(8.0)
        (stream,) = streams
        assert line.stream is stream
        assert stream.stream_id != line.phone.identity.stream_id
        assert stream.counters.frames_lost == stream.counters.frames_out_of_order == 0
        counters = line.runtime.counters
        assert (counters.streams_lost, counters.streams_reopened) == (1, 1)
        assert counters.calls_total == 1
        assert line.runtime.admission.active == 1
    reconnected, key = events
    assert reconnected.seconds == pytest.approx(3.0, abs=0.05)
    assert key.digit == "5"
    assert 4.9 < sum(frame.seconds for frame in frames) < 5.1


async def test_a_call_that_has_ended_keeps_no_event_that_its_handler_never_asked_for(
    call: Callable[..., Any],
) -> None:
    link = await call(listen)
    link.bring(*[b'{"event":"error","reason":"odd"}'] * 5)
    inbox = link.call.session.started.inbox
    assert inbox.unread_control_events == 5
    link.call.closing("Plivo closed the socket (1000)")
    link.call.lost("gone")
    await asyncio.sleep(0.01)
    assert link.runtime.calls == set()
    assert inbox.unread_control_events == 0
