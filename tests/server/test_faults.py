"""What a phone can do wrong, against the server, in virtual time.

Beside each call that goes wrong runs another that must not notice.
"""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pytest

from mediaserver import Checkpoint, Frame
from mediaserver.agents import Echo
from mediaserver.handler import Handler
from mediaserver.routes import Route
from mediaserver.sandbox import MISBEHAVIOURS, CallReport, Misbehaviour, Phone
from mediaserver.server.connection import StreamConnection
from mediaserver.server.runtime import Runtime


TONE = (np.sin(np.arange(8000) / 3) * 8000).astype(np.int16)
SECONDS = 6.0
"""How long a call lasts that nothing ends."""


class Talk(Handler):
    """Speaks, waits to be heard, is interrupted, and speaks again."""

    heard: ClassVar[list[Any]]
    checkpoints: ClassVar[list[Any]]

    async def on_start(self) -> None:
        stream = self.stream
        Talk.heard = heard = []
        Talk.checkpoints = []
        first = await stream.play(TONE[:4000])
        heard.append(await first.heard())
        second = await stream.play(np.tile(TONE, 5))
        stream.checkpoint("end of the second")
        await asyncio.sleep(0.5)
        stream.interrupt()
        heard.append(await second.heard())
        third = await stream.play(TONE[:4000])
        heard.append(await third.heard())

    async def on_audio(self, frame: Frame) -> None:
        pass

    async def on_checkpoint(self, checkpoint: Checkpoint) -> None:
        Talk.checkpoints.append(checkpoint)


@dataclass
class Outcome:
    """How the call of a phone that does wrong went."""

    phone: Phone
    runtime: Any
    session: Any
    """The session of its call; None if it never got one."""
    handler: Any
    """The task of its handler, or None."""

    @property
    def report(self) -> CallReport:
        return self.phone.report()

    @property
    def counters(self) -> Any:
        return self.session.counters

    @property
    def reason(self) -> Any:
        return self.session.end_reason


async def dial(runtime: Runtime, path: str, **options: Any) -> Any:
    """Connect a phone by a socket pair, and start its call."""

    async def another_sock() -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(partial(StreamConnection, runtime), ours)
        return theirs

    sock = await another_sock()
    phone = Phone(f"ws://phone.test{path}", sock=sock, another_sock=another_sock, **options)
    before = set(runtime.calls)
    await phone.start()
    (call,) = runtime.calls - before
    return phone, call


async def hang_up_at(phone: Phone, seconds: float) -> None:
    while not phone.ended and phone.time < seconds:
        await asyncio.sleep(0.05)
    await phone.hang_up()


@pytest.fixture
def misbehave(start_runtime: Callable[..., Any]) -> Callable[..., Any]:
    """Make a call that goes wrong, beside one that does not."""

    async def misbehave(
        *wrong: Any, path: str = "/echo", seconds: float = SECONDS, **settings: Any
    ) -> Outcome:
        settings = {
            "dead_peer_timeout": 4,
            "ping_interval": 1,
            "start_timeout": 3,
            "max_silence_seconds": "off",
        } | settings
        runtime = await start_runtime(Route(Echo, "/echo"), Route(Talk, "/talk"), **settings)
        neighbour, _ = await dial(runtime, "/echo", audio=np.tile(TONE, 60))
        phone, call = await dial(
            runtime, path, audio=np.tile(TONE, 5), misbehaviour=Misbehaviour.parse(*wrong)
        )
        # A call that has ended no longer knows its handler.
        await asyncio.sleep(0.5)
        handler = call._handler
        await hang_up_at(phone, seconds)
        while call in runtime.calls:
            await asyncio.sleep(0.05)

        # The other call has not noticed.
        assert not neighbour.ended
        report = neighbour.report()
        assert report.gap_seconds == 0
        assert not report.errors
        assert report.audio_received == pytest.approx(report.duration, abs=0.1)
        await neighbour.hang_up()
        while runtime.calls:
            await asyncio.sleep(0.05)
        assert neighbour.report().ended_by == "caller"
        assert runtime.admission.idle
        assert runtime.counters.handler_errors == 0
        return Outcome(phone, runtime, call.session, handler)

    return misbehave


def goes_on(outcome: Outcome) -> None:
    """The call lasts until the caller hangs up, and its audio comes back whole."""
    assert outcome.report.ended_by == "caller"
    assert outcome.report.duration >= SECONDS - 0.1
    assert outcome.reason == "Plivo closed the socket (1000)"
    assert not outcome.report.errors
    assert outcome.runtime.counters.dead_peers == 0
    assert outcome.counters.malformed_messages == 0
    assert outcome.counters.frames_dropped == 0


def echoes_everything(outcome: Outcome, *, more_frames: int = 0) -> None:
    goes_on(outcome)
    assert outcome.counters.frames_in == outcome.report.frames_sent + more_frames
    assert outcome.report.gap_seconds == 0


def is_dropped_when_it_reads_nothing(outcome: Outcome) -> None:
    assert outcome.reason == "a ping was not answered for 4 s"
    assert outcome.runtime.counters.dead_peers == 1


def goes_on_without_audio(outcome: Outcome) -> None:
    # It answers pings, so it is there; a limit for silence ends it where one is set.
    goes_on(outcome)
    assert outcome.counters.audio_in == pytest.approx(1.0, abs=0.05)


def is_lost(outcome: Outcome) -> None:
    assert outcome.report.duration == pytest.approx(1.0, abs=0.05)
    assert "lost" in outcome.reason or "end of stream" in outcome.reason
    assert outcome.runtime.counters.dead_peers == 0


def is_closed_because_it_shut_its_side(outcome: Outcome) -> None:
    assert outcome.report.duration == pytest.approx(1.0, abs=0.1)
    assert outcome.reason == "the connection was lost"


def is_told_that_a_message_was_too_big(outcome: Outcome) -> None:
    assert outcome.report.close_code == 1009
    assert "exceeds limit of 65536 bytes" in outcome.report.close_reason
    assert "exceeds limit of 65536 bytes" in outcome.reason
    assert outcome.report.duration == pytest.approx(1.0, abs=0.1)


def goes_on_with_frames_that_come_late(outcome: Outcome) -> None:
    # An echo can be no better than what it echoes.
    goes_on(outcome)
    assert outcome.counters.frames_in == outcome.report.frames_sent
    assert outcome.counters.frames_lost == outcome.counters.frames_out_of_order == 0
    assert outcome.report.audio_received == pytest.approx(SECONDS, abs=0.3)


def goes_on_with_odd_frames(outcome: Outcome) -> None:
    goes_on(outcome)
    assert outcome.counters.audio_in == pytest.approx(SECONDS, abs=0.2)
    assert outcome.report.audio_received == pytest.approx(outcome.counters.audio_in, abs=0.1)


def counts_what_was_out_of_order(outcome: Outcome) -> None:
    goes_on(outcome)
    assert outcome.counters.frames_out_of_order == pytest.approx(SECONDS * 50 / 4, abs=3)
    assert outcome.counters.frames_lost <= 1


def hears_what_came_before_the_start(outcome: Outcome) -> None:
    echoes_everything(outcome, more_frames=3)


def is_closed_for_want_of_a_start(outcome: Outcome) -> None:
    assert outcome.report.close_code == 1008
    assert outcome.report.close_reason == outcome.reason == "no start event within 3 s"
    assert outcome.handler is None


def ignores_a_second_start(outcome: Outcome) -> None:
    # The phone takes its second start for a frame.
    echoes_everything(outcome, more_frames=-1)
    assert outcome.counters.unknown_messages == 1


def bears_some_garbage(outcome: Outcome) -> None:
    report = outcome.report
    assert (report.ended_by, outcome.reason) == ("caller", "Plivo closed the socket (1000)")
    garbage = outcome.counters.malformed_messages + outcome.counters.unknown_messages
    assert garbage == pytest.approx(SECONDS * 5, abs=2)
    assert report.gap_seconds == 0
    assert report.audio_received == pytest.approx(SECONDS, abs=0.1)


def is_told_that_it_sends_nonsense(outcome: Outcome) -> None:
    assert outcome.report.close_code == 1007
    assert outcome.report.close_reason == outcome.reason
    assert outcome.reason.startswith("more than 100 malformed messages: a binary message came")
    assert outcome.counters.malformed_messages == 101
    assert outcome.handler is None


def hears_without_being_told(outcome: Outcome) -> None:
    goes_on(outcome)
    first, second, third = Talk.heard
    (checkpoint,) = Talk.checkpoints
    assert (first.seconds, first.interrupted, first.confirmed) == (0.5, False, False)
    assert (checkpoint.name, checkpoint.played) == ("end of the second", False)
    assert second.seconds == pytest.approx(0.5, abs=0.03)
    assert second.interrupted
    assert (third.seconds, third.interrupted, third.confirmed) == (0.5, False, False)
    assert outcome.counters.checkpoints_confirmed == 0


def is_not_deceived(outcome: Outcome) -> None:
    goes_on(outcome)
    first, second, third = Talk.heard
    (checkpoint,) = Talk.checkpoints
    assert (first.seconds, first.interrupted, first.confirmed) == (0.5, False, True)
    assert not checkpoint.played
    assert second.seconds == pytest.approx(0.5, abs=0.03)
    assert second.interrupted
    assert (third.seconds, third.interrupted, third.confirmed) == (0.5, False, True)


def is_taken_up_again(outcome: Outcome, away: float = 1.0) -> None:
    goes_on(outcome)
    assert outcome.runtime.counters.streams_reopened == 1
    assert outcome.counters.frames_lost == outcome.counters.frames_out_of_order == 0
    assert outcome.counters.audio_in == pytest.approx(SECONDS - away, abs=0.1)


EXPECTATIONS: dict[str, tuple[str, str, Callable[[Outcome], None]]] = {
    "stop-reading": ("stop-reading@1", "/echo", is_dropped_when_it_reads_nothing),
    "stop-sending": ("stop-sending@1", "/echo", goes_on_without_audio),
    "drop": ("drop@1", "/echo", is_lost),
    "reopen": ("drop@1 reopen:1s", "/echo", is_taken_up_again),
    "keep-playing": ("drop@1 reopen:1s keep-playing", "/echo", is_taken_up_again),
    "new-stream-id": ("drop@1 reopen:1s new-stream-id", "/echo", is_taken_up_again),
    "half-open": ("drop@1 reopen:2s half-open", "/echo", partial(is_taken_up_again, away=2.0)),
    "half-close": ("half-close@1", "/echo", is_closed_because_it_shut_its_side),
    "oversize": ("oversize@1", "/echo", is_told_that_a_message_was_too_big),
    "late": ("late:80ms", "/echo", goes_on_with_frames_that_come_late),
    "bursts": ("bursts:10", "/echo", goes_on_with_frames_that_come_late),
    "odd-sizes": ("odd-sizes", "/echo", goes_on_with_odd_frames),
    "out-of-order": ("out-of-order", "/echo", counts_what_was_out_of_order),
    "string-numbers": ("string-numbers", "/echo", echoes_everything),
    "missing-numbers": ("missing-numbers", "/echo", echoes_everything),
    "media-before-start": ("media-before-start", "/echo", hears_what_came_before_the_start),
    "no-start": ("no-start", "/echo", is_closed_for_want_of_a_start),
    "duplicate-start": ("duplicate-start", "/echo", ignores_a_second_start),
    "garbage": ("garbage", "/echo", bears_some_garbage),
    "binary": ("binary", "/echo", is_told_that_it_sends_nonsense),
    "fragmented": ("fragmented", "/echo", echoes_everything),
    "no-acks": ("no-acks", "/talk", hears_without_being_told),
    "acks-cleared": ("acks-cleared", "/talk", is_not_deceived),
    "no-cleared": ("no-cleared", "/talk", is_not_deceived),
}


def test_there_is_an_expectation_for_every_misbehaviour() -> None:
    names = {name.partition("@")[0].partition(":")[0] for name in MISBEHAVIOURS}
    assert names == set(EXPECTATIONS)


@pytest.mark.parametrize("name", EXPECTATIONS)
async def test_a_call_that_goes_wrong_ends_or_goes_on_as_it_should(
    misbehave: Callable[..., Any], name: str
) -> None:
    wrong, path, expect = EXPECTATIONS[name]
    seconds = 30.0 if name in ("stop-reading", "no-start", "binary") else SECONDS
    waits = 5.0 if "reopen" in wrong else 0.0
    expect(await misbehave(*wrong.split(), path=path, seconds=seconds, reconnect_seconds=waits))


async def test_a_well_behaved_phone_beside_them_meets_the_strictest_of_these(
    misbehave: Callable[..., Any],
) -> None:
    echoes_everything(await misbehave())


async def test_a_peer_that_sends_no_audio_is_closed_where_silence_has_a_limit(
    misbehave: Callable[..., Any],
) -> None:
    outcome = await misbehave("stop-sending@1", seconds=30, max_silence_seconds=3)
    assert outcome.report.close_code == 1000
    assert outcome.report.close_reason == "the caller was silent for 3 s"


async def test_garbage_without_end_is_too_much(misbehave: Callable[..., Any]) -> None:
    outcome = await misbehave("garbage", seconds=58)
    assert outcome.report.close_code == 1007
    assert outcome.reason.startswith("more than 100 malformed messages: expected a JSON object")


@pytest.mark.parametrize("wrong", ["stop-reading@1", "drop@1", "half-close@1"])
async def test_a_handler_that_speaks_is_not_left_hanging(
    misbehave: Callable[..., Any], wrong: str
) -> None:
    outcome = await misbehave(wrong, path="/talk", seconds=30)
    assert outcome.handler.done()
    assert outcome.reason


async def test_everything_at_once_is_borne(misbehave: Callable[..., Any]) -> None:
    outcome = await misbehave(
        "late:60ms", "odd-sizes", "out-of-order", "string-numbers", "media-before-start",
        "duplicate-start", "garbage", "fragmented",
    )  # fmt: skip
    assert outcome.reason == "Plivo closed the socket (1000)"
    assert outcome.counters.audio_in == pytest.approx(SECONDS, abs=0.3)
