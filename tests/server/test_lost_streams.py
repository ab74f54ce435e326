"""A stream that is lost: waited for, taken up again, or given up."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from audiocodecs import MULAW_8K
from benchmarks.reconnect import LIMIT, Assumption, chirp, compare, cut
from mediaserver import Handler, Reconnected, Stream, StreamEndedError, StreamReport
from mediaserver.plivo.callbacks import HangupRequest
from mediaserver.plivo.client import PlivoClient
from mediaserver.plivo.signatures import sign_upgrade
from mediaserver.routes import Route
from mediaserver.sandbox import Misbehaviour
from mediaserver.server.accepting import examine
from mediaserver.server.handshake import AcceptedStream, HandshakeRequest, Refused
from mediaserver.server.neighbours import Alone
from mediaserver.server.rest_call_control import RestCallControl
from mediaserver.server.server_call import ServerCall
from mediaserver.settings import Settings
from mediaserver.testing import in_virtual_time, joined, run_virtual, stall
from tests.server.test_server_call import CALL_ID, MEDIA, START, Link, enter, listen, now


TOKEN = "an auth token"


def wrong(*texts: str) -> Misbehaviour:
    return Misbehaviour.parse(*texts)


@pytest.mark.parametrize("keeps", [False, True], ids=["dropped", "played on"])
@pytest.mark.parametrize("gap", [0.2, 3.0])
@pytest.mark.parametrize("at", [2.37, 3.0])
def test_a_cut_is_as_good_as_inaudible(gap: float, keeps: bool, at: float) -> None:
    assumes: Assumption = "kept" if keeps else "dropped"
    heard = run_virtual(cut(gap, keeps=keeps, at=at, assumes=assumes))
    assert heard.missing <= LIMIT
    assert heard.repeated <= LIMIT
    assert heard.reconnected


@pytest.mark.parametrize("keeps", [False, True], ids=["dropped", "played on"])
@pytest.mark.parametrize("gap", [0.1, 0.2, 0.4])
def test_a_short_cut_is_inaudible_without_knowing_the_carrier(gap: float, keeps: bool) -> None:
    heard = run_virtual(cut(gap, keeps=keeps, assumes="auto"))
    assert heard.missing <= LIMIT
    assert heard.repeated <= LIMIT


def test_a_long_cut_repeats_at_most_the_lead_if_the_carrier_plays_on() -> None:
    heard = run_virtual(cut(3.0, keeps=True, assumes="auto"))
    assert heard.missing <= LIMIT
    assert heard.repeated <= 0.6 + LIMIT


def test_a_carrier_that_answers_nothing_is_not_waited_for_long() -> None:
    async def main() -> float:
        async def handler(stream: Stream) -> None:
            await stream.play(chirp(4.0), rate=8000)
            await listen(stream)

        async with joined(handler, misbehaviour=wrong("drop@2", "reopen:200ms", "no-acks")) as line:
            await line.phone.wait_until(8.0)
            return line.phone.report().audio_played

    assert run_virtual(main()) == pytest.approx(4.0, abs=LIMIT)


@in_virtual_time
async def test_what_a_handler_does_meanwhile_is_done_afterwards() -> None:
    heard: list[Any] = []

    class Busy(Handler):
        async def on_start(self) -> None:
            await asyncio.sleep(2.5)
            self.stream.send_dtmf("7")
            playback = await self.stream.play(chirp(1.0), rate=8000)
            self.stream.checkpoint("said")
            heard.append(await playback.heard())

        async def on_checkpoint(self, checkpoint: Any) -> None:
            heard.append(checkpoint)

    async with joined(Busy, misbehaviour=wrong("drop@2", "reopen:2s")) as line:
        await line.phone.wait_until(6.0)
        report = line.phone.report()
    assert [key.digit for key in report.dtmf_received] == ["7"]
    assert report.audio_played == pytest.approx(1.0, abs=0.02)
    playback, checkpoint = sorted(heard, key=lambda each: hasattr(each, "name"))
    assert (playback.seconds, playback.interrupted) == (1.0, False)
    assert (checkpoint.name, checkpoint.played) == ("said", True)


@pytest.mark.parametrize("plays_on", ["dropped", "kept"])
def test_an_interruption_meanwhile_drops_the_audio(plays_on: Any) -> None:
    async def main() -> float:
        async def handler(stream: Stream) -> None:
            playback = await stream.play(chirp(20.0), rate=8000)
            await asyncio.sleep(2.1)
            stream.interrupt()
            assert (await playback.heard()).interrupted
            await stream.play(bytes([1]) * 800, format=MULAW_8K)
            await listen(stream)

        settings = Settings.model_construct(reconnect_playback=plays_on)
        async with joined(
            handler, settings=settings, misbehaviour=wrong("drop@2", "reopen:1s")
        ) as line:
            await line.phone.wait_until(6.0)
            return line.phone.report().audio_played

    assert run_virtual(main()) == pytest.approx(2.1, abs=0.05)


@pytest.mark.parametrize("does", ["pause", "interrupt"])
def test_what_the_handler_does_while_it_is_found_out_counts_at_once(does: str) -> None:
    async def main() -> float:
        async def handler(stream: Stream) -> None:
            await stream.play(chirp(4.0), rate=8000)
            async for event in stream.controls():
                if isinstance(event, Reconnected):
                    getattr(stream, does)()

        async with joined(handler, misbehaviour=wrong("drop@2", "reopen:200ms")) as line:
            await line.phone.wait_until(8.0)
            return line.phone.report().audio_played

    assert run_virtual(main()) == pytest.approx(2.0, abs=LIMIT)


@pytest.mark.parametrize("paused_at", [1.9, 2.1])
def test_a_pause_lasts_over_the_loss(paused_at: float) -> None:
    async def main() -> float:
        async def handler(stream: Stream) -> None:
            await stream.play(chirp(3.0), rate=8000)
            await asyncio.sleep(paused_at)
            stream.pause()
            await asyncio.sleep(3.0)
            stream.resume()
            await listen(stream)

        async with joined(handler, misbehaviour=wrong("drop@2", "reopen:1s")) as line:
            await line.phone.wait_until(4.5)
            assert line.phone.report().audio_played == pytest.approx(min(paused_at, 2.0), abs=0.05)
            await line.phone.wait_until(9.0)
            return line.phone.report().audio_played

    assert run_virtual(main()) == pytest.approx(3.0, abs=0.05)


@in_virtual_time
async def test_after_the_grace_the_call_has_ended_and_a_new_stream_knows_the_earlier_one() -> None:
    ended: list[tuple[str, float]] = []
    previous: list[StreamReport | None] = []

    class Keeping(Handler):
        async def on_start(self) -> None:
            previous.append(self.stream.previous)
            self.stream.data["order"] = 17 + len(previous)

        async def on_stop(self, reason: str) -> None:
            ended.append((reason, now()))

    async with joined(Keeping, misbehaviour=wrong("drop@2", "reopen:8s")) as line:
        await line.phone.wait_until(9.0)
        ((reason, at),) = ended
        assert reason == "the connection was lost"
        assert 7 <= at <= 8.1
        assert line.runtime.admission.idle
        await line.phone.wait_until(11.0)
    first, second = previous
    assert first is None
    assert second is not None
    assert second.data == {"order": 18}
    assert second.seconds == pytest.approx(2.0, abs=0.1)
    assert second.end_reason == reason


@in_virtual_time
async def test_without_a_grace_a_lost_stream_ends_at_once() -> None:
    ended: list[float] = []

    class Ending(Handler):
        async def on_stop(self, reason: str) -> None:
            ended.append(now())

    settings = Settings.model_construct(reconnect_seconds=0.0)
    async with joined(Ending, settings=settings, misbehaviour=wrong("drop@2")) as line:
        await line.phone.wait_closed()
        await asyncio.sleep(0.1)
        assert ended == [pytest.approx(2.0, abs=0.05)]


@in_virtual_time
async def test_a_full_server_takes_a_lost_stream_back() -> None:
    settings = Settings.model_construct(max_calls=1)
    async with joined(listen, settings=settings, misbehaviour=wrong("drop@1", "reopen:1s")) as line:
        await line.phone.wait_until(3.0)
        assert line.runtime.admission.active == 1
        assert line.runtime.counters.streams_reopened == 1


@in_virtual_time
async def test_a_handler_may_end_the_call_meanwhile() -> None:
    async def handler(stream: Stream) -> None:
        await asyncio.sleep(2.5)

    async with joined(handler, misbehaviour=wrong("drop@2")) as line:
        await line.phone.wait_closed()
        await asyncio.sleep(0.6)
        assert not line.runtime.calls
        assert line.runtime.admission.idle
        assert len(line.runtime.lost_streams) == 0


async def away(handler: Any, start_runtime: Callable[..., Any], **settings: Any) -> Link:
    runtime = await start_runtime(Route(handler), **{"reconnect_seconds": 5.0, **settings})
    link = enter(runtime)
    link.bring(MEDIA)
    await asyncio.sleep(0.1)
    link.call.lost("reset")
    assert len(runtime.lost_streams) == 1
    return link


async def test_plivos_word_that_the_call_is_over_ends_the_wait(
    start_runtime: Callable[..., Any],
) -> None:
    link = await away(listen, start_runtime)
    link.runtime.told(HangupRequest(call_id="another", fields={}))
    await asyncio.sleep(0.01)
    assert link.runtime.calls
    link.runtime.told(HangupRequest(call_id=CALL_ID, fields={}))
    await asyncio.sleep(0.01)
    assert not link.runtime.calls
    assert link.call.session.end_reason == "the call is over: Plivo reported its end to /hangup"


async def test_a_server_that_stops_does_not_wait(start_runtime: Callable[..., Any]) -> None:
    link = await away(listen, start_runtime)
    link.runtime.close_calls(1001, "the server is shutting down")
    await asyncio.sleep(0.01)
    assert not link.runtime.calls


async def test_nobody_waits_after_a_close_frame(start_runtime: Callable[..., Any]) -> None:
    runtime = await start_runtime(Route(listen), reconnect_seconds=5.0)
    link = enter(runtime)
    link.call.closing("Plivo closed the socket (1000)")
    link.call.lost("gone")
    await asyncio.sleep(0.01)
    assert not runtime.calls


async def test_another_call_does_not_take_the_place(start_runtime: Callable[..., Any]) -> None:
    link = await away(listen, start_runtime, max_calls=1)
    other = Link()
    accepted = examine(link.runtime, HandshakeRequest("/stream"))
    assert isinstance(accepted, AcceptedStream)
    other.call = ServerCall(link.runtime, other, accepted)
    other.bring(START.replace(CALL_ID, CALL_ID.replace("0", "9")))
    await asyncio.sleep(0.01)
    assert other.closed == (1013, "this server has reached its limit of calls")
    assert len(link.runtime.lost_streams) == 1


async def test_playing_after_the_wait_was_given_up_says_that_the_stream_has_ended(
    start_runtime: Callable[..., Any],
) -> None:
    link = await away(listen, start_runtime)
    await asyncio.sleep(6.5)
    with pytest.raises(StreamEndedError, match="reset"):
        await link.call.stream.play(bytes(160))


# A connection that only the carrier knows to be gone.


@pytest.mark.parametrize("gap", [2.0, 9.0])
@pytest.mark.parametrize("at", [2.37, 3.0])
def test_a_stream_that_was_silent_is_taken_up_again(at: float, gap: float) -> None:
    said = chirp(8.0)
    told: list[float] = []

    class Speaking(Handler):
        async def on_start(self) -> None:
            await self.stream.play(said, rate=8000)

        async def on_reconnect(self, reconnected: Reconnected) -> None:
            told.append(reconnected.seconds)

    async def main() -> tuple[float, float]:
        misbehaviour = wrong(f"drop@{at}", f"reopen:{gap}s", "half-open", "new-stream-id")
        async with joined(Speaking, misbehaviour=misbehaviour) as line:
            await line.phone.wait_until(at + gap + 8.0)
            runtime = line.runtime
            assert (runtime.counters.streams_lost, runtime.counters.streams_reopened) == (1, 1)
            assert (runtime.counters.calls_total, runtime.admission.active) == (1, 1)
            assert line.stream.stream_id != line.phone.identity.stream_id
            return compare(said, line.phone.recording()[:, 1])

    missing, repeated = run_virtual(main())
    assert missing <= LIMIT
    assert repeated <= 0.5 + LIMIT
    assert told == [pytest.approx(gap, abs=0.52)]


async def silent(start_runtime: Callable[..., Any], seconds: float = 2.0, **settings: Any) -> Link:
    runtime = await start_runtime(Route(listen), **{"reconnect_seconds": 5.0, **settings})
    link = enter(runtime)
    link.bring(MEDIA)
    await asyncio.sleep(seconds)
    return link


async def test_the_old_connection_is_dropped_and_says_nothing_more(
    start_runtime: Callable[..., Any],
) -> None:
    link = await silent(start_runtime)
    call = link.call
    second = enter(link.runtime)
    assert second.call is call
    assert link.aborted
    assert link.closed is None
    second.bring(MEDIA)
    await asyncio.sleep(1)
    assert link.runtime.calls == {call}
    assert not call.session.ended
    assert len(link.runtime.lost_streams) == 0


@pytest.mark.parametrize("heard", [0.0, 0.3, 0.9])
async def test_a_live_stream_is_not_taken_over(
    start_runtime: Callable[..., Any], heard: float
) -> None:
    link = await silent(start_runtime)
    link.bring(MEDIA)
    await asyncio.sleep(heard)
    second = enter(link.runtime)
    assert second.call is not link.call
    assert not link.aborted
    second.call.closing("gone")
    second.call.lost("gone")


async def test_a_stream_that_is_not_read_is_not_taken_over(
    start_runtime: Callable[..., Any],
) -> None:
    link = await silent(start_runtime, seconds=0.1)
    link.call.pause_reading()
    await asyncio.sleep(3)
    assert enter(link.runtime).call is not link.call
    assert not link.aborted


async def test_without_a_grace_a_silent_stream_is_not_taken_over(
    start_runtime: Callable[..., Any],
) -> None:
    link = await silent(start_runtime, reconnect_seconds=0.0)
    assert enter(link.runtime).call is not link.call


async def test_a_stall_of_the_loop_silences_nobody(start_runtime: Callable[..., Any]) -> None:
    link = await silent(start_runtime, seconds=0.7)
    stall(20.0)
    await asyncio.sleep(0)  # the check that is overdue
    assert enter(link.runtime).call is not link.call


async def test_a_full_server_takes_a_silent_stream_back(
    start_runtime: Callable[..., Any],
) -> None:
    link = await silent(start_runtime, max_calls=1)
    assert enter(link.runtime).call is link.call
    assert link.runtime.admission.active == 1


async def test_a_silent_stream_that_is_lost_is_waited_for_as_usual(
    start_runtime: Callable[..., Any],
) -> None:
    link = await silent(start_runtime)
    link.call.lost("reset")
    await asyncio.sleep(4)
    assert enter(link.runtime).call is link.call


@pytest.mark.parametrize("end", ["closing", "close", "hangup"])
async def test_a_silent_stream_may_end(start_runtime: Callable[..., Any], end: str) -> None:
    link = await silent(start_runtime)
    if end == "closing":
        link.call.closing("Plivo closed the socket (1000)")
    elif end == "close":
        link.call.close(1001, "the server is shutting down")
    else:
        link.runtime.told(HangupRequest(call_id=CALL_ID, fields={}))
    await asyncio.sleep(0.1)
    link.call.lost("gone")
    await asyncio.sleep(0.1)
    assert not link.runtime.calls
    assert len(link.runtime.lost_streams) == 0


# What the handler and the dialler do afterwards.


@pytest.mark.parametrize("half_open", [False, True])
async def test_a_call_is_transferred_over_the_connection_that_it_has_now(
    start_runtime: Callable[..., Any], half_open: bool
) -> None:
    asked: list[Any] = []

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append((request.url.path, json.loads(request.content)))
        return httpx.Response(202, json={"message": "call transferred"})

    ended: list[str] = []

    async def handler(stream: Stream) -> None:
        async for event in stream.controls():
            if isinstance(event, Reconnected):
                await stream.transfer("https://voice.example.com/next")
        ended.append(stream.end_reason)

    runtime = await start_runtime(Route(handler), reconnect_seconds=5.0)
    async with PlivoClient("MA1", "token", transport=httpx.MockTransport(respond)) as client:
        runtime.call_control = RestCallControl(client)
        link = enter(runtime)
        link.bring(MEDIA)
        if half_open:
            await asyncio.sleep(2)
        else:
            link.call.lost("reset")
        second = enter(runtime)
        await asyncio.sleep(0.1)
    ((path, body),) = asked
    assert path == f"/v1/Account/MA1/Call/{CALL_ID}/"
    assert body == {"legs": "aleg", "aleg_url": "https://voice.example.com/next"}
    assert second.closed == (1000, "closed by the handler")
    assert link.closed is None
    assert ended == ["closed by the handler"]
    second.call.lost("gone")
    assert not runtime.calls


# Signatures.


def ask(nonce: str) -> HandshakeRequest:
    signed = sign_upgrade("wss://media.test/stream", TOKEN, nonce=nonce)
    headers = [("host", "media.test"), *((k.lower(), v) for k, v in signed.items())]
    return HandshakeRequest("/stream", headers=headers, secure=True)


async def signed_call(start_runtime: Callable[..., Any]) -> Link:
    runtime = await start_runtime(Route(listen), reconnect_seconds=5.0, auth_token=TOKEN)
    return signed_link(runtime, "12345")


def signed_link(runtime: Any, nonce: str) -> Link:
    link = Link()
    accepted = examine(runtime, ask(nonce))
    assert isinstance(accepted, AcceptedStream), accepted
    link.call = ServerCall(runtime, link, accepted)
    link.runtime = runtime
    link.bring(START)
    return link


def refusal(runtime: Any, nonce: str) -> int | None:
    decision = examine(runtime, ask(nonce))
    return decision.status if isinstance(decision, Refused) else None


async def test_the_same_signature_is_good_while_the_stream_is_lost_and_only_then(
    start_runtime: Callable[..., Any],
) -> None:
    link = await signed_call(start_runtime)
    call = link.call
    assert refusal(link.runtime, "12345") == 403
    call.lost("reset")
    again = signed_link(link.runtime, "12345")
    assert again.call is call
    assert refusal(link.runtime, "12345") == 403
    again.bring(MEDIA)
    call.closing("Plivo closed the socket (1000)")
    call.lost("gone")
    assert refusal(link.runtime, "12345") == 403


async def test_the_same_signature_is_used_up_after_the_grace(
    start_runtime: Callable[..., Any],
) -> None:
    link = await signed_call(start_runtime)
    link.call.lost("reset")
    await asyncio.sleep(6.5)
    assert refusal(link.runtime, "12345") == 403


async def test_the_same_signature_is_good_while_its_connection_is_silent_and_only_then(
    start_runtime: Callable[..., Any],
) -> None:
    link = await signed_call(start_runtime)
    await asyncio.sleep(0.7)
    assert refusal(link.runtime, "12345") == 403
    await asyncio.sleep(1.3)
    link.bring(MEDIA)
    assert refusal(link.runtime, "12345") == 403
    await asyncio.sleep(2.0)
    again = signed_link(link.runtime, "12345")
    assert again.call is link.call
    assert refusal(link.runtime, "12345") == 403
    await asyncio.sleep(0.6)
    assert refusal(link.runtime, "12345") == 403


async def test_a_repeated_signature_starts_nothing_if_the_stream_is_heard_from_meanwhile(
    start_runtime: Callable[..., Any],
) -> None:
    link = await signed_call(start_runtime)
    await asyncio.sleep(2.0)
    second = Link()
    accepted = examine(link.runtime, ask("12345"))
    assert isinstance(accepted, AcceptedStream)
    second.call = ServerCall(link.runtime, second, accepted)
    link.bring(MEDIA)
    second.bring(START)
    assert second.closed == (1008, "a stream was opened with this signature before")
    assert second.call.stream is None
    assert not link.aborted
    second.call.lost("gone")
    assert link.runtime.calls == {link.call}


async def test_a_new_signature_does_not_free_the_old_one(
    start_runtime: Callable[..., Any],
) -> None:
    link = await signed_call(start_runtime)
    link.call.lost("reset")
    assert signed_link(link.runtime, "67890").call is link.call
    assert refusal(link.runtime, "12345") == 403
    assert refusal(link.runtime, "67890") == 403


@in_virtual_time
async def test_a_call_with_a_token_is_not_taken_over_without_one() -> None:
    async with joined(listen, caller="+14155550100", called="+14155550199") as line:
        call_id, call = line.stream.call_id, line.call
        call.lost("reset")
        link = Link()
        accepted = examine(line.runtime, HandshakeRequest("/stream"))
        assert isinstance(accepted, AcceptedStream)
        link.call = ServerCall(line.runtime, link, accepted)
        link.bring(START.replace(CALL_ID, call_id))
        assert link.call is not call
        link.call.lost("gone")
        await asyncio.sleep(7)


class ToldNonces(Alone):
    def __init__(self) -> None:
        self.nonces: list[tuple[str, str]] = []

    def used(self, nonce: str) -> None:
        self.nonces.append(("used", nonce))

    def released(self, nonce: str) -> None:
        self.nonces.append(("released", nonce))


async def test_the_neighbours_know_which_signature_is_good_again(
    start_runtime: Callable[..., Any],
) -> None:
    link = await signed_call(start_runtime)
    link.runtime.neighbours = told = ToldNonces()
    link.call.lost("reset")
    assert told.nonces == [("released", "12345")]
    signed_link(link.runtime, "12345")
    assert told.nonces[1:] == [("used", "12345")] * (len(told.nonces) - 1)
    assert len(told.nonces) > 1


async def test_the_neighbours_know_the_signature_of_a_call_that_is_over(
    start_runtime: Callable[..., Any],
) -> None:
    link = await signed_call(start_runtime)
    link.runtime.neighbours = told = ToldNonces()
    link.call.closing("Plivo closed the socket (1000)")
    link.call.lost("gone")
    await link.call.finished()
    await asyncio.sleep(0)
    assert told.nonces == [("used", "12345")]


async def test_with_resumption_a_lost_stream_is_known_until_a_later_one_ends_as_it_should(
    start_runtime: Callable[..., Any],
) -> None:
    runtime = await start_runtime(Route(listen), resume_calls=1)
    for reason in ("the connection was lost", "the connection was lost: reset"):
        enter(runtime).call.lost(reason)
        await asyncio.sleep(0.01)
    previous = runtime.lost_streams.previous(CALL_ID)
    assert previous is not None
    link = enter(runtime)
    link.call.closing("Plivo closed the socket (1000)")
    link.call.lost("gone")
    await asyncio.sleep(0.01)
    assert runtime.lost_streams.previous(CALL_ID) is None
