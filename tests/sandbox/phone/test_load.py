"""Loads call a small server of their own in virtual time."""

import asyncio
import json
from collections.abc import Callable
from http import HTTPStatus
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets import Request, Response, ServerConnection

from audiocodecs import L16_16K, MULAW_8K, AudioError, AudioFormat
from mediaserver.protocol import ClearAudio, Dtmf, Media, PlayAudio, Start, decode_event
from mediaserver.protocol import encode_command as encode
from mediaserver.sandbox import CallEnded, LoadReport, Phone, Spread, load
from mediaserver.sandbox.phone.load import _spread
from mediaserver.testing import run_virtual


TONE = (9000 * np.sin(np.arange(8000) * 0.7)).astype(np.int16)
TICK = 0.02


@pytest.fixture
def loaded(serving: Callable[..., Any]) -> Callable[..., LoadReport]:
    """Return the report of a load on a server that runs a handler for each connection."""

    async def scenario(
        handler: Callable[..., Any], refuse: Callable[..., Any] | None, options: dict[str, Any]
    ) -> LoadReport:
        async with serving(handler, process_request=refuse) as url:
            return await load(url, **options)

    def run(
        handler: Callable[..., Any], *, refuse: Callable[..., Any] | None = None, **options: Any
    ) -> LoadReport:
        return run_virtual(scenario(handler, refuse, options))

    return run


def speech(seconds: float, format: AudioFormat = MULAW_8K) -> str:
    samples = np.resize(TONE, round(seconds * format.rate))
    return encode(PlayAudio(format.encode(samples), format)).decode()


async def silent(connection: ServerConnection) -> None:
    async for _ in connection:
        pass


async def talking(connection: ServerConnection) -> None:
    await connection.send(speech(1.0))
    await silent(connection)


def test_every_call_is_made_and_lasts_its_time(loaded: Callable[..., LoadReport]) -> None:
    report = loaded(talking, calls=20, seconds=2.0, ramp=100.0)
    assert (report.made, report.most_at_once, report.failed, report.cut) == (20, 20, {}, {})
    assert report.ok
    assert report.audio_played == pytest.approx(20.0)
    assert report.elapsed == pytest.approx(2.2, abs=TICK)
    # A frame every 20 ms, and the start.
    assert report.messages_sent == pytest.approx(20 * 101, abs=20)


def test_calls_of_a_slow_ramp_are_not_all_up_together(loaded: Callable[..., LoadReport]) -> None:
    report = loaded(silent, calls=6, seconds=0.9, ramp=2.0)
    assert report.made == 6
    assert report.most_at_once == 2
    assert report.elapsed == pytest.approx(3.4, abs=2 * TICK)


@given(st.integers(1, 300), st.floats(0.5, 1000))
def test_calls_are_dialled_at_points_spread_evenly_over_a_frame(calls: int, ramp: float) -> None:
    offsets = _spread(calls, ramp)
    phases = sorted(offset % TICK for offset in offsets)
    steps = {round((after - before) / TICK, 6) for before, after in pairwise(phases)}
    assert all(step == pytest.approx(1 / calls, abs=1e-5) for step in steps)
    assert all(
        offset == pytest.approx(call / ramp, abs=TICK) for call, offset in enumerate(offsets)
    )


def test_the_first_half_of_a_ramp_is_spread_over_the_frame_too() -> None:
    phases = sorted(offset % TICK for offset in _spread(200, 50.0)[:100])
    assert max(after - before for before, after in pairwise(phases)) < 2 * TICK / 100


def test_frames_leave_spread_over_the_20_ms(loaded: Callable[..., LoadReport]) -> None:
    arrivals = {}

    async def handler(connection: ServerConnection) -> None:
        async for message in connection:
            if isinstance(decode_event(message), Media):
                arrivals[connection] = asyncio.get_running_loop().time() % TICK
                return

    loaded(handler, calls=10, seconds=0.5, ramp=1000.0)
    phases = sorted(arrivals.values())
    gaps = [after - before for before, after in pairwise(phases)]
    assert len(phases) == 10
    assert max(gaps) == pytest.approx(TICK / 10, rel=0.05)


def test_calls_not_taken_are_counted_by_reason(loaded: Callable[..., LoadReport]) -> None:
    requests = []

    def refuse(connection: ServerConnection, request: Request) -> Response | None:
        requests.append(request)
        if len(requests) > 2:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "full\n")
        return None

    report = loaded(silent, refuse=refuse, calls=5, seconds=0.5, ramp=10.0)
    assert (report.made, report.failed) == (2, {"HTTP 503: full": 3})
    assert not report.ok


def test_a_server_that_is_not_there_is_a_failure_of_every_call() -> None:
    report = run_virtual(load("ws://127.0.0.1:1/stream", calls=3, seconds=0.1))
    assert (report.made, sum(report.failed.values())) == (0, 3)
    assert report.connect is None
    assert report.sender_lateness is None
    assert not report.generator_limits


def test_calls_cut_are_counted_by_how_they_ended(loaded: Callable[..., LoadReport]) -> None:
    async def handler(connection: ServerConnection) -> None:
        event = decode_event(await connection.recv())
        assert isinstance(event, Start)
        await connection.recv()
        if len(ended) % 2:
            connection.transport.abort()
        else:
            await connection.close(1011, "the handler failed")
        ended.append(connection)

    ended: list[Any] = []
    report = loaded(handler, calls=4, seconds=1.0)
    assert report.cut == {"server, code 1011: the handler failed": 2, "lost, code 1006": 2}
    assert report.made == 4
    assert not report.ok


def test_reasons_without_number_are_kept_within_bounds(loaded: Callable[..., LoadReport]) -> None:
    async def handler(connection: ServerConnection) -> None:
        for number in range(90):
            await connection.send(f'{{"event":"{id(connection)}-{number}"}}')
        await silent(connection)

    report = loaded(handler, calls=3, seconds=0.5)
    assert len(report.errors) <= 101
    assert report.errors["others"] >= 150
    assert sum(report.errors.values()) == 270


def test_gaps_are_counted_and_related_to_the_length_of_a_call(
    loaded: Callable[..., LoadReport],
) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send(speech(0.1))
        await asyncio.sleep(0.2)
        await connection.send(speech(0.1))
        await silent(connection)

    report = loaded(handler, calls=3, seconds=2.0)
    assert report.gap_count == 3
    assert report.gap_seconds == pytest.approx(3 * 0.1, abs=3 * TICK)
    assert report.gaps
    assert report.first_audio
    assert report.gaps.p50 == pytest.approx(60_000 * report.gap_seconds / 3 / 2.0, rel=0.3)
    assert report.first_audio.count == 3


def test_longer_silences_can_be_gaps_too(loaded: Callable[..., LoadReport]) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send(speech(0.1))
        await asyncio.sleep(1.0)
        await connection.send(speech(0.1))
        await silent(connection)

    paused = loaded(handler, calls=1, seconds=2.0)
    assert (paused.gap_count, paused.pause_count) == (0, 1)
    gone = loaded(handler, calls=1, seconds=2.0, gap_threshold=60.0)
    assert (gone.gap_count, gone.pause_count) == (1, 0)


def test_a_dropout_of_one_call_shows_among_the_pauses(loaded: Callable[..., LoadReport]) -> None:
    async def handler(connection: ServerConnection) -> None:
        connections.append(connection)
        await connection.send(speech(0.1))
        await asyncio.sleep(1.0 if len(connections) == 1 else 0.7)
        await connection.send(speech(0.1))
        await silent(connection)

    connections: list[Any] = []
    report = loaded(handler, calls=3, seconds=2.0)
    assert (report.gap_count, report.pause_count) == (0, 3)
    assert report.longest_pause == pytest.approx(0.9, abs=TICK)
    assert report.pause_seconds == pytest.approx(0.9 + 2 * 0.6, abs=3 * TICK)


def test_callers_say_their_audio_over_and_over_and_replies_are_timed(
    loaded: Callable[..., LoadReport],
) -> None:
    audio = np.concatenate([TONE, np.zeros(8000, np.int16)])

    async def handler(connection: ServerConnection) -> None:
        """Answer the end of every utterance after 0.3 s."""
        heard = 0
        async for message in connection:
            event = decode_event(message)
            if isinstance(event, Media) and len(set(event.payload)) > 10:
                heard += 1
                if heard % 50 == 0:
                    await asyncio.sleep(0.3)
                    await connection.send(speech(0.2))

    report = loaded(handler, calls=2, seconds=5.2, audio=audio)
    assert report.replies
    assert report.replies.count == 4
    assert report.replies.p50 == pytest.approx(0.3, abs=3 * TICK)
    assert report.unanswered == 2


def test_audio_of_another_rate_is_resampled(loaded: Callable[..., LoadReport]) -> None:
    payloads: list[Any] = []

    async def handler(connection: ServerConnection) -> None:
        events = [decode_event(message) async for message in connection]
        payloads.extend(event.payload for event in events if isinstance(event, Media))

    tone = np.resize(TONE, 24_000)
    loaded(handler, calls=1, seconds=0.5, audio=tone, audio_rate=24_000, format=L16_16K)
    assert {len(payload) for payload in payloads} == {640}
    assert any(payloads[5])


def test_empty_audio_is_silence(loaded: Callable[..., LoadReport]) -> None:
    report = loaded(silent, calls=1, seconds=0.1, audio=np.zeros(0, np.int16))
    assert report.ok


def test_callers_can_be_given_something_to_do(loaded: Callable[..., LoadReport]) -> None:
    async def handler(connection: ServerConnection) -> None:
        for _ in range(10):
            await connection.send(speech(1.0))
        async for message in connection:
            event = decode_event(message)
            if isinstance(event, Dtmf):
                await asyncio.sleep(0.1)
                await connection.send(encode(ClearAudio(event.stream_id)).decode())

    async def caller(phone: Phone) -> None:
        await phone.wait_until(0.5)
        phone.press("1")

    report = loaded(handler, calls=3, seconds=1.0, caller=caller)
    assert report.interrupts
    assert report.interrupts.count == 3
    assert report.interrupts.max == pytest.approx(0.1, abs=2 * TICK)
    assert report.audio_cleared == pytest.approx(3 * 9.4, abs=0.2)


def test_an_agent_that_talks_on_after_a_key_is_counted(loaded: Callable[..., LoadReport]) -> None:
    async def handler(connection: ServerConnection) -> None:
        for _ in range(10):
            await connection.send(speech(1.0))
        await silent(connection)

    async def caller(phone: Phone) -> None:
        await phone.wait_until(0.5)
        phone.press("1")

    report = loaded(handler, calls=2, seconds=1.0, caller=caller)
    assert (report.interrupts, report.uninterrupted, report.interrupted) == (None, 2, False)


def test_a_caller_is_cancelled_when_its_time_is_up_or_its_call_over(
    loaded: Callable[..., LoadReport],
) -> None:
    cancelled = []

    async def handler(connection: ServerConnection) -> None:
        await asyncio.sleep(0.3)

    async def caller(phone: Phone) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(phone)
            raise

    loaded(silent, calls=2, seconds=0.2, caller=caller)
    loaded(handler, calls=2, seconds=5.0, caller=caller)
    assert len(cancelled) == 4


def test_a_caller_may_hang_up(loaded: Callable[..., LoadReport]) -> None:
    async def caller(phone: Phone) -> None:
        await phone.wait_until(0.2)
        await phone.hang_up()

    report = loaded(silent, calls=2, seconds=5.0, caller=caller)
    assert report.ok
    assert report.elapsed < 1.0


def test_a_caller_may_find_that_its_call_has_ended(loaded: Callable[..., LoadReport]) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.recv()

    async def caller(phone: Phone) -> None:
        with pytest.raises(CallEnded):
            await phone.wait_until(60.0)
        phone.press("1")

    report = loaded(handler, calls=1, seconds=5.0, caller=caller)
    assert sum(report.cut.values()) == 1


def test_a_caller_that_fails_ends_all_calls_and_says_why(loaded: Callable[..., LoadReport]) -> None:
    open_connections = set()

    async def handler(connection: ServerConnection) -> None:
        open_connections.add(connection)
        await silent(connection)
        open_connections.discard(connection)

    async def caller(phone: Phone) -> None:
        raise KeyError("no such greeting")

    with pytest.raises(ExceptionGroup) as caught:
        loaded(handler, calls=3, seconds=0.2, caller=caller)
    assert caught.group_contains(KeyError, match="no such greeting")
    assert not open_connections


def test_cancelling_hangs_up_every_call(serving: Callable[..., Any]) -> None:
    codes = []

    async def handler(connection: ServerConnection) -> None:
        await silent(connection)
        codes.append(connection.close_code)

    async def scenario() -> None:
        async with serving(handler) as url:
            task = asyncio.create_task(load(url, calls=3, seconds=60.0))
            await asyncio.sleep(1.0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run_virtual(scenario())
    assert codes == [1000, 1000, 1000]


def test_a_load_that_is_broken_off_reports_what_there_was(
    loaded: Callable[..., LoadReport],
) -> None:
    async def caller(phone: Phone) -> None:
        await phone.wait_until(1.2)
        broken_off.set()

    broken_off = asyncio.Event()
    report = loaded(silent, calls=9, seconds=60.0, ramp=2.0, caller=caller, until=broken_off)
    assert (report.interrupted, report.made, report.ok) == (True, 3, True)
    assert report.elapsed == pytest.approx(1.2, abs=0.1)
    assert report.mute == 3


def test_progress_is_told_once_a_second_and_at_the_end(loaded: Callable[..., LoadReport]) -> None:
    seen: list[Any] = []
    loaded(silent, calls=4, seconds=2.0, ramp=2.0, on_progress=seen.append)
    assert [round(each.elapsed) for each in seen[:-1]] == [0, 1, 2, 3]
    assert [each.live for each in seen] == [0, 2, 4, 2, 0]
    assert (seen[-1].calls, seen[-1].dialled, seen[-1].finished) == (4, 4, 4)
    assert all(each.failed == each.cut == 0 for each in seen)


def test_each_call_is_reported_and_keeps_no_audio(loaded: Callable[..., LoadReport]) -> None:
    reports: list[Any] = []
    loaded(talking, calls=3, seconds=0.5, on_report=reports.append)
    assert len({report.call_id for report in reports}) == 3
    assert all(report.recording is None for report in reports)


def test_the_report_is_plain_json(loaded: Callable[..., LoadReport]) -> None:
    report = loaded(talking, calls=3, seconds=0.5)
    document = json.loads(report.to_json())
    assert document == report.to_dict()
    assert document["first_audio"].keys() == {"count", "p50", "p99", "max"}
    assert document["format"] == "audio/x-mulaw;rate=8000"
    assert document["ok"] is True


@pytest.mark.parametrize(
    ("busy", "lateness", "limits"),
    [(0.5, 0.01, False), (0.9, 0.0, True), (0.1, 0.03, True)],
)
def test_a_generator_that_is_busy_or_late_may_be_the_limit(
    busy: float, lateness: float, limits: bool
) -> None:
    spread = Spread.of([lateness])
    report = LoadReport("ws://x", "", 1, 1.0, 1.0, sender_lateness=spread, generator_busy=busy)
    assert report.generator_limits is limits


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"calls": 0}, "at least 1 call, not 0"),
        ({"seconds": 0.0}, "positive number, not 0.0"),
        ({"seconds": float("inf")}, "positive number, not inf"),
        ({"ramp": -1.0}, "calls per second, not -1.0"),
        ({"ramp": float("nan")}, "calls per second, not nan"),
        ({"format": AudioFormat.parse("audio/x-alaw;rate=8000")}, "a Plivo stream cannot be"),
    ],
)
async def test_senseless_arguments_are_refused(
    wrong: dict[str, AudioFormat] | dict[str, float] | dict[str, int], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        await load("ws://127.0.0.1:1/", **({"calls": 1, "seconds": 1.0} | wrong))


async def test_audio_of_an_unknown_rate_is_refused_before_calling() -> None:
    with pytest.raises(AudioError):
        await load("ws://127.0.0.1:1/", calls=1, seconds=1.0, audio=TONE, audio_rate=4_000)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300))
def test_a_spread_holds_values_that_occur(values: list[float]) -> None:
    spread = Spread.of(values)
    assert spread
    assert spread.count == len(values)
    assert {spread.p50, spread.p99, spread.max} <= set(values)
    assert spread.p50 <= spread.p99 <= spread.max == max(values)
    assert sum(value <= spread.p50 for value in values) * 2 >= len(values)
    assert sum(value <= spread.p99 for value in values) * 100 >= 99 * len(values)


def test_there_is_no_spread_of_nothing() -> None:
    assert Spread.of([]) is None
