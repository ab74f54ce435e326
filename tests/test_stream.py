import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from itertools import groupby
from typing import Any

import numpy as np
import pytest
import structlog

from audiocodecs import L16_16K, L16_24K, MULAW_8K, AudioError, AudioFormat, Samples, Wav, resample
from mediaserver import Stream, StreamCounters
from mediaserver.call import Frame, Heard, StreamEndedError, Turn, Usage
from mediaserver.protocol import ProtocolError
from mediaserver.routes import Route, Routes
from mediaserver.sandbox import CallReport, Misbehaviour, Phone, StreamIdentity
from mediaserver.settings import Settings
from mediaserver.stream import CallControlError
from mediaserver.testing import joined, run_virtual
from tests.idle_call import called, idle_call, listen, now, tone


pytestmark = pytest.mark.usefixtures("nothing_blocks")


@pytest.fixture
def capture_logs() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as logs:
        yield logs


# What a stream knows.


def test_a_stream_knows_its_ids() -> None:
    identity = StreamIdentity.new()

    async def test(stream: Stream, phone: Phone) -> None:
        assert stream.call_id == identity.call_id
        assert stream.stream_id == identity.stream_id
        assert stream.account_id == identity.account_id

    called(test, identity=identity)


@pytest.mark.parametrize("format", [MULAW_8K, L16_16K, L16_24K], ids=str)
def test_a_stream_knows_its_format(format: AudioFormat) -> None:
    async def test(stream: Stream, phone: Phone) -> AudioFormat:
        return stream.format

    assert called(test, format=format) == format


def test_a_stream_knows_its_path_and_the_parameters_in_it() -> None:
    async def test(stream: Stream, phone: Phone) -> tuple[str, dict[str, object]]:
        return stream.path, dict(stream.path_params)

    async def keep(stream: Stream) -> None:
        seen.append((stream.path, dict(stream.path_params)))

    seen: list[object] = []

    async def call() -> None:
        async with joined(Routes(Route(keep, "/t/{tenant}")), path="/t/acme/?language=de") as line:
            await line.phone.wait_closed()

    run_virtual(call())
    assert seen == [("/t/acme", {"tenant": "acme"})]
    assert called(test) == ("/stream", {})


def test_a_stream_knows_its_extra_headers_and_query() -> None:
    async def test(stream: Stream, phone: Phone) -> tuple[dict[str, str], dict[str, str], str]:
        return stream.extra_headers, dict(stream.query), stream.path

    extra, query, path = called(test, extra_headers={"order": "17"}, path="/stream?language=de")
    assert extra == {"order": "17"}
    assert query == {"language": "de"}
    assert path == "/stream"


def test_caller_and_called_are_unknown_unless_the_webhook_told() -> None:
    async def test(stream: Stream, phone: Phone) -> Any:
        return stream.caller, stream.called

    assert called(test) == (None, None)


def test_a_streams_repr_says_whether_it_is_live() -> None:
    async def test(stream: Stream, phone: Phone) -> tuple[str, str, str]:
        live = repr(stream)
        await phone.hang_up()
        await asyncio.sleep(0)
        return live, repr(stream), stream.end_reason

    live, ended, reason = called(test)
    assert live.endswith("audio/x-mulaw;rate=8000, live>")
    assert reason
    assert ended.endswith(f"ended: {reason}>")


# Playing.


def test_playing_a_frame_sends_its_bytes() -> None:
    async def test(stream: Stream, phone: Phone) -> tuple[bytes, CallReport]:
        audio = MULAW_8K.encode(tone(0.2))
        await (await stream.play(Frame(audio, MULAW_8K))).heard()
        return audio, phone.report()

    audio, report = called(test)
    played = report.recording[:, 1]
    assert np.array_equal(np.trim_zeros(played), np.trim_zeros(MULAW_8K.decode(audio)))


@pytest.mark.parametrize(
    ("audio", "how"),
    [
        (tone(2.5), {}),
        (tone(2.5, 24000), {"rate": 24000}),
        (MULAW_8K.encode(tone(2.5)), {}),
        (bytearray(MULAW_8K.encode(tone(2.5))), {}),
        (L16_16K.encode(tone(2.5, 16000)), {"format": L16_16K}),
        (Frame(L16_24K.encode(tone(2.5, 24000)), L16_24K), {}),
    ],
    ids=["samples", "24k", "bytes", "bytearray", "l16 bytes", "l16 frame"],
)
def test_everything_that_is_audio_can_be_played(
    audio: Frame | Samples | bytearray | bytes, how: dict[str, AudioFormat] | dict[str, int]
) -> None:
    async def test(stream: Stream, phone: Phone) -> tuple[Heard, CallReport]:
        playback = await stream.play(audio, **how)
        heard = await playback.heard()
        return heard, phone.report()

    heard, report = called(test)
    assert heard.confirmed
    # Resampling delays by 2.5 ms, and the end of a clip is flushed.
    assert heard.seconds == report.audio_played == pytest.approx(2.5, abs=0.0026)


def test_what_is_no_audio_is_refused() -> None:
    text: Any = "hello"

    async def test(stream: Stream, phone: Phone) -> None:
        with pytest.raises(AudioError, match="cannot play str"):
            await stream.play(text)

    called(test)


def test_a_buffer_may_be_used_again_after_it_was_played() -> None:
    async def test(stream: Stream, phone: Phone) -> float:
        buffer = bytearray(MULAW_8K.encode(tone(5)))
        playback = await stream.play(buffer)
        buffer[:] = b""
        await playback.heard()
        return phone.report().audio_played

    assert called(test) == 5.0


def test_play_returns_at_once_while_there_is_room() -> None:
    async def test(stream: Stream, phone: Phone) -> float:
        for _ in range(20):
            await stream.play(tone(0.1))
        return now()

    assert called(test) < 0.02


def test_play_waits_above_the_high_water_mark_and_goes_on_below_the_low() -> None:
    async def test(stream: Stream, phone: Phone) -> tuple[float, float]:
        await stream.play(tone(3.6))
        await stream.play(tone(0.1))
        return now(), stream.unheard

    waited, unheard = called(test)
    # 3.6 s less a lead of 0.6 are queued; the low-water mark is 1 s.
    assert waited == pytest.approx(2.0, abs=0.15)
    assert unheard == pytest.approx(1.7, abs=0.15)


def test_an_interruption_wakes_a_waiting_play_and_its_audio_is_dropped() -> None:
    async def test(stream: Stream, phone: Phone) -> tuple[float, Heard, bool, float]:
        await stream.play(tone(10))
        waiting = asyncio.create_task(stream.play(tone(1)))
        await phone.wait_until(0.5)
        stream.interrupt()
        playback = await waiting
        return now(), await playback.heard(), playback.interrupted, stream.unheard

    woken, heard, interrupted, unheard = called(test)
    assert woken == pytest.approx(0.5, abs=0.02)
    assert heard == Heard(0.0, interrupted=True, confirmed=False)
    assert interrupted
    assert unheard == 0


@pytest.mark.parametrize(
    "audio", [tone(0.02), Frame(b"\xff" * 160, MULAW_8K)], ids=["array", "frame"]
)
def test_a_waiting_play_raises_when_the_call_ends(audio: Frame | Samples) -> None:
    async def test(stream: Stream, phone: Phone) -> None:
        await stream.play(tone(10))
        waiting = asyncio.create_task(stream.play(audio))
        await phone.wait_until(0.5)
        await phone.hang_up()
        with pytest.raises(StreamEndedError, match="nothing was played"):
            await waiting

    called(test)


def test_a_play_that_is_cancelled_while_it_waits_plays_nothing() -> None:
    async def test(stream: Stream, phone: Phone) -> float:
        await stream.play(tone(3))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stream.play(tone(1)), 0.1)
        return stream.unheard

    assert called(test) == pytest.approx(2.9, abs=0.02)


def test_playing_to_a_stream_that_has_ended_is_refused() -> None:
    async def test(stream: Stream, phone: Phone) -> None:
        await phone.hang_up()
        await asyncio.sleep(0)
        with pytest.raises(StreamEndedError, match="has ended"):
            await stream.play(tone(1))

    called(test)


@pytest.mark.parametrize(
    "audio", [tone(0.02), Frame(b"\xff" * 160, MULAW_8K)], ids=["array", "frame"]
)
def test_audio_of_an_older_generation_is_dropped(audio: Frame | Samples) -> None:
    async def test(stream: Stream, phone: Phone) -> Any:
        generation = stream.generation
        stream.interrupt()
        playback = await stream.play(audio, generation=generation)
        return playback.interrupted, stream.counters.audio_out

    assert called(test) == (True, 0)


def test_audio_of_this_generation_is_played() -> None:
    async def test(stream: Stream, phone: Phone) -> float:
        stream.interrupt()
        await stream.play(tone(0.1), generation=stream.generation)
        return stream.counters.audio_out

    assert called(test) == 0.1


def test_an_interruption_forgets_the_resamplers_tail_whatever_is_played_next() -> None:
    async def test(stream: Stream, phone: Phone) -> Samples:
        await stream.play(tone(3, 24000), rate=24000)
        await phone.wait_until(0.5)
        stream.interrupt()
        cut = round(phone.time * 8000) + 160
        await stream.play(Frame(b"\xff" * 1600, MULAW_8K))
        playback = await stream.play(np.zeros(24000, np.int16), rate=24000)
        await playback.heard()
        recording = phone.report().recording
        assert recording is not None
        return recording[cut:, 1]

    assert not called(test).any()


def test_an_interruption_reaches_audio_that_is_still_being_converted() -> None:
    async def test(stream: Stream, phone: Phone) -> Any:
        converting = asyncio.create_task(stream.play(tone(60, 24000), rate=24000))
        await asyncio.sleep(0)
        stream.interrupt()
        playback = await converting
        return playback.interrupted, stream.counters.audio_out

    assert called(test) == (True, 0)


def test_the_end_of_the_call_reaches_audio_that_is_still_being_converted() -> None:
    async def test(stream: Stream, phone: Phone) -> None:
        converting = asyncio.create_task(stream.play(tone(60, 24000), rate=24000))
        await asyncio.sleep(0)
        stream.close()
        with pytest.raises(StreamEndedError):
            await converting

    called(test)


# Saying.


async def pieces(*seconds: Any, rate: int = 8000) -> AsyncIterator[Any]:
    for each in seconds:
        yield tone(each, rate)


def test_say_plays_what_is_still_being_made() -> None:
    async def test(stream: Stream, phone: Phone) -> tuple[Heard, CallReport]:
        playback = await stream.say(pieces(0.5, 0.5, 0.5))
        return await playback.heard(), phone.report()

    heard, report = called(test)
    assert heard == Heard(1.5, interrupted=False, confirmed=True)
    assert report.audio_played == 1.5


def test_say_of_nothing_is_heard_at_once() -> None:
    async def test(stream: Stream, phone: Phone) -> Heard:
        playback = await stream.say(pieces())
        return await playback.heard()

    assert called(test).seconds == 0


def test_say_takes_any_async_iterable() -> None:
    class Speech:
        def __init__(self) -> None:
            self.left = 3

        def __aiter__(self) -> Any:
            return self

        async def __anext__(self) -> Samples:
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return tone(0.1)

    async def test(stream: Stream, phone: Phone) -> Heard:
        return await (await stream.say(Speech())).heard()

    assert called(test).seconds == pytest.approx(0.3)


def test_say_holds_a_producer_back_that_is_faster_than_the_call() -> None:
    made = []

    async def fast() -> AsyncIterator[Any]:
        for _ in range(100):
            made.append(now())
            yield tone(0.1)

    async def test(stream: Stream, phone: Phone) -> None:
        await stream.say(fast())

    called(test)
    assert made[20] < 0.1
    assert made[-1] == pytest.approx(10 - 2.6, abs=1.2)


def test_say_returns_when_the_last_is_queued() -> None:
    async def test(stream: Stream, phone: Phone) -> float:
        await stream.say(pieces(1.0))
        return now()

    assert called(test) < 0.02


def test_say_resamples_as_one_and_flushes_the_end() -> None:
    async def test(stream: Stream, phone: Phone) -> Heard:
        playback = await stream.say(pieces(*[0.1] * 10, rate=24000), rate=24000)
        return await playback.heard()

    # All of it and the filter's delay.
    assert 1.0 < called(test).seconds < 1.005


def test_say_takes_bytes_of_a_format() -> None:
    async def speech() -> AsyncIterator[Any]:
        yield L16_16K.encode(tone(0.5, 16000))

    async def test(stream: Stream, phone: Phone) -> Heard:
        return await (await stream.say(speech(), format=L16_16K)).heard()

    assert called(test).seconds == pytest.approx(0.5, abs=0.005)


def test_an_interruption_ends_say_and_closes_its_iterator() -> None:
    closed = []

    async def speech() -> AsyncIterator[Any]:
        try:
            while True:
                yield tone(0.1)
                await asyncio.sleep(0.05)
        finally:
            closed.append(now())

    async def test(stream: Stream, phone: Phone) -> tuple[Heard, float]:
        saying = asyncio.create_task(stream.say(speech()))
        await phone.wait_until(1.0)
        stream.interrupt()
        playback = await saying
        return await playback.heard(), now()

    heard, ended = called(test)
    assert heard.interrupted
    assert heard.seconds == pytest.approx(1.0, abs=0.03)
    assert closed == [pytest.approx(1.0, abs=0.02)]
    assert ended == pytest.approx(1.0, abs=0.02)


def test_an_interruption_before_the_first_piece_ends_say() -> None:
    async def silent() -> AsyncIterator[Any]:
        await asyncio.sleep(3600)
        yield tone(1)

    async def test(stream: Stream, phone: Phone) -> tuple[Heard, float]:
        saying = asyncio.create_task(stream.say(silent()))
        await phone.wait_until(0.5)
        stream.interrupt()
        return await (await saying).heard(), now()

    heard, ended = called(test)
    assert heard == Heard(0.0, interrupted=True, confirmed=False)
    assert ended < 0.6


def test_an_iterator_that_will_not_be_cancelled_is_not_played() -> None:
    async def stubborn() -> AsyncIterator[Any]:
        yield tone(0.1)
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            yield tone(5)

    async def test(stream: Stream, phone: Phone) -> tuple[Heard, CallReport]:
        saying = asyncio.create_task(stream.say(stubborn()))
        await phone.wait_until(1.0)
        stream.interrupt()
        heard = await (await saying).heard()
        return heard, phone.report()

    heard, report = called(test)
    assert heard == Heard(heard.seconds, interrupted=True, confirmed=False)
    assert heard.seconds == pytest.approx(0.1)
    assert report.audio_received == pytest.approx(0.1)


def test_an_iterator_that_interrupts_the_stream_itself_ends_say() -> None:
    async def test(stream: Stream, phone: Phone) -> Heard:
        async def speech() -> AsyncIterator[Any]:
            yield tone(1)
            stream.interrupt()
            yield tone(1)

        return await (await stream.say(speech())).heard()

    assert called(test).interrupted


def test_an_exception_in_the_iterator_comes_out_of_say() -> None:
    async def failing() -> AsyncIterator[Any]:
        yield tone(0.1)
        raise ValueError("the speech service is down")

    async def test(stream: Stream, phone: Phone) -> CallReport:
        with pytest.raises(ValueError, match="the speech service is down"):
            await stream.say(failing())
        await phone.wait_until(1.0)
        return phone.report()

    assert called(test).audio_played == pytest.approx(0.1)


def test_an_iterator_that_was_cancelled_itself_cancels_say() -> None:
    async def cancelled() -> AsyncIterator[Any]:
        yield tone(0.1)
        raise asyncio.CancelledError

    async def test(stream: Stream, phone: Phone) -> bool:
        saying = asyncio.create_task(stream.say(cancelled()))
        await asyncio.wait([saying])
        return saying.cancelled()

    assert called(test)


def test_cancelling_say_closes_its_iterator() -> None:
    closed = []

    async def speech() -> AsyncIterator[Any]:
        try:
            yield tone(0.1)
            await asyncio.sleep(3600)
        finally:
            closed.append(now())

    async def test(stream: Stream, phone: Phone) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stream.say(speech()), 0.5)

    called(test)
    assert closed == [pytest.approx(0.5)]


def test_say_ends_with_the_call() -> None:
    async def endless() -> AsyncIterator[Any]:
        while True:
            yield tone(0.5)

    async def test(stream: Stream, phone: Phone) -> None:
        saying = asyncio.create_task(stream.say(endless()))
        await phone.wait_until(0.5)
        await phone.hang_up()
        with pytest.raises(StreamEndedError):
            await saying

    called(test)


def test_saying_to_a_stream_that_has_ended_is_refused() -> None:
    async def test(stream: Stream, phone: Phone) -> None:
        await phone.hang_up()
        await asyncio.sleep(0)
        with pytest.raises(StreamEndedError):
            await stream.say(pieces(1))

    called(test)


def test_running_dry_within_say_is_the_producers_gap_however_long() -> None:
    async def thinking() -> AsyncIterator[Any]:
        yield tone(0.5)
        await asyncio.sleep(3.0)
        yield tone(0.5)

    async def test(stream: Stream, phone: Phone) -> StreamCounters:
        await stream.say(thinking())
        return stream.counters

    counters = called(test)
    assert counters.producer_gap_seconds == pytest.approx(2.5, abs=0.01)
    assert counters.underruns == 0


# Pausing, checkpoints.


def test_pause_and_resume() -> None:
    async def test(stream: Stream, phone: Phone) -> tuple[bool, bool, Heard, float]:
        playback = await stream.play(tone(2))
        await phone.wait_until(1.0)
        stream.pause()
        paused = stream.paused
        await phone.wait_until(3.0)
        stream.resume()
        heard = await playback.heard()
        return paused, stream.paused, heard, now()

    paused, resumed, heard, ended = called(test)
    assert (paused, resumed) == (True, False)
    assert heard == Heard(2.0, interrupted=False, confirmed=True)
    assert ended == pytest.approx(4.0, abs=0.06)


def test_a_bad_checkpoint_is_refused() -> None:
    async def test(stream: Stream, phone: Phone) -> None:
        with pytest.raises(ProtocolError):
            stream.checkpoint("")

    called(test)


def test_every_interruption_changes_the_generation() -> None:
    async def test(stream: Stream, phone: Phone) -> tuple[int, int]:
        before = stream.generation
        stream.interrupt()
        return before, stream.generation

    before, after = called(test)
    assert before != after


# The call.


def test_digits_are_sent() -> None:
    async def test(stream: Stream, phone: Phone) -> list[str]:
        stream.send_dtmf("12#")
        await phone.wait_until(0.1)
        return [key.digit for key in phone.report().dtmf_received]

    assert called(test) == ["1", "2", "#"]


def test_hanging_up_without_credentials_ends_the_stream() -> None:
    async def test(stream: Stream, phone: Phone) -> CallReport:
        await stream.hang_up()
        await phone.wait_closed()
        return phone.report()

    report = called(test)
    assert report.ended_by == "server"
    assert report.close_code == 1000


def test_transferring_without_credentials_is_refused() -> None:
    async def test(stream: Stream, phone: Phone) -> bool:
        with pytest.raises(CallControlError, match="has no credentials"):
            await stream.transfer("https://example.com/answer.xml")
        return stream.ended

    assert not called(test)


def test_close_ends_the_stream() -> None:
    async def test(stream: Stream, phone: Phone) -> tuple[str, CallReport]:
        stream.close()
        await phone.wait_closed()
        return stream.end_reason, phone.report()

    reason, report = called(test)
    assert reason == "closed by the handler"
    assert report.ended_by == "server"


def test_counters_are_those_of_this_stream() -> None:
    async def test(stream: Stream, phone: Phone) -> StreamCounters:
        await phone.wait_until(1.0)
        return stream.counters

    assert called(test).frames_in == pytest.approx(50, abs=2)


def test_a_dropped_line_ends_the_stream() -> None:
    async def test(stream: Stream, phone: Phone) -> bool:
        await phone.wait_closed()
        await asyncio.sleep(0.02)
        return stream.ended

    settings = Settings.model_construct(reconnect_seconds=0.0)
    assert called(test, misbehaviour=Misbehaviour(drop=0.5), settings=settings)


async def test_run_blocking_runs_in_a_thread_and_leaves_the_loop_free() -> None:
    """In real time: threads have no place in virtual time."""
    loop, asked, answered = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def blocking(first: Any, *, second: Any) -> Any:
        loop.call_soon_threadsafe(asked.set)
        assert answered.wait(60)
        return first, second, threading.current_thread()

    async with idle_call() as line:
        work = asyncio.create_task(line.stream.run_blocking(blocking, 1, second=2))
        await asked.wait()
        answered.set()
        first, second, thread = await work
    assert (first, second) == (1, 2)
    assert thread is not threading.current_thread()


async def test_an_exception_in_run_blocking_comes_out() -> None:
    def failing() -> None:
        raise ZeroDivisionError

    async with idle_call() as line:
        with pytest.raises(ZeroDivisionError):
            await line.stream.run_blocking(failing)


def test_a_clip_at_another_rate_is_heard_to_its_last_sample() -> None:
    async def test(stream: Stream, phone: Phone) -> float:
        playback = await stream.play(tone(1.5, 24_000), rate=24_000)
        return (await playback.heard()).seconds

    assert called(test) == pytest.approx(1.5, abs=0.0001 + 0.0026)


def test_pieces_that_come_while_a_clip_is_converted_are_heard_after_it() -> None:
    async def test(stream: Stream, phone: Phone) -> tuple[float, float, float]:
        clip = asyncio.create_task(stream.play(tone(3, 24_000), rate=24_000))
        await asyncio.sleep(0)
        piece = await stream.play(tone(0.1, 24_000), rate=24_000)
        heard = await piece.heard()
        begins, first = piece.begins_at, (await clip).begins_at
        assert begins is not None
        assert first is not None
        return heard.seconds, (await (await clip).heard()).seconds, begins - first

    piece, clip, between = called(test)
    assert piece == pytest.approx(0.1, abs=0.003)
    assert between == pytest.approx(clip, abs=0.01) == pytest.approx(3, abs=0.003)


# One at a time.


LETTERS = {"a": 1000, "b": 5000, "c": 9000}


async def letters(letter: str, seconds: float = 1.0, every: float = 0.05) -> AsyncIterator[Any]:
    for _ in range(round(seconds / 0.1)):
        await asyncio.sleep(every)
        yield np.full(800, LETTERS[letter], np.int16)


def heard_letters(phone: Phone) -> str:
    """Return the letters that the caller heard, each once for every 0.1 s."""
    recording = phone.report().recording
    assert recording is not None
    heard = recording[:, 1].astype(int)
    names = np.full(len(heard), " ")
    for letter, level in LETTERS.items():
        names[np.abs(heard - level) < 0.05 * level] = letter
    runs = ((letter, len(list(run))) for letter, run in groupby(names.tolist()))
    return "".join(letter * round(length / 800) for letter, length in runs if letter != " ")


def test_two_says_at_once_are_heard_whole_in_the_order_of_the_calls() -> None:
    async def test(stream: Stream, phone: Phone) -> str:
        a = asyncio.create_task(stream.say(letters("a")))
        await asyncio.sleep(0.2)
        b = asyncio.create_task(stream.say(letters("b")))
        c = asyncio.create_task(stream.say(letters("c")))
        for each in (c, b, a):
            await (await each).heard()
        return heard_letters(phone)

    assert called(test) == "a" * 10 + "b" * 10 + "c" * 10


@pytest.mark.parametrize(
    "audio",
    [
        np.full(1600, LETTERS["b"], np.int16),
        Frame(MULAW_8K.encode(np.full(1600, LETTERS["b"], np.int16)), MULAW_8K),
        Wav(np.full(1600, LETTERS["b"], np.int16), 8000),
    ],
    ids=["samples", "frame", "wav"],
)
def test_a_play_during_a_say_is_heard_after_it(audio: Any) -> None:
    async def test(stream: Stream, phone: Phone) -> str:
        saying = asyncio.create_task(stream.say(letters("a")))
        await asyncio.sleep(0.2)
        await (await stream.play(audio)).heard()
        await saying
        return heard_letters(phone)

    assert called(test) == "a" * 10 + "bb"


def test_plays_that_wait_for_room_keep_their_order() -> None:
    async def test(stream: Stream, phone: Phone) -> str:
        await stream.play(np.full(24_000, LETTERS["a"], np.int16))
        b = asyncio.create_task(stream.play(np.full(80_000, LETTERS["b"], np.int16)))
        await asyncio.sleep(1.9)
        c = asyncio.create_task(stream.play(np.full(800, LETTERS["c"], np.int16)))
        await (await c).heard()
        await b
        return heard_letters(phone)

    assert called(test) == "a" * 30 + "b" * 100 + "c"


def test_an_interruption_drops_what_is_said_and_what_waits() -> None:
    closed = []

    async def waiting() -> AsyncIterator[Any]:
        closed.append("begun")
        yield tone(1)

    async def test(stream: Stream, phone: Phone) -> tuple[list[Heard], str]:
        said = waiting()
        tasks = [
            asyncio.create_task(stream.say(letters("a"))),
            asyncio.create_task(stream.say(said)),
            asyncio.create_task(stream.play(tone(0.1))),
        ]
        await phone.wait_until(0.5)
        stream.interrupt()
        heard = [await (await each).heard() for each in tasks]
        with pytest.raises(StopAsyncIteration):
            await anext(said)  # it is closed
        after = await stream.play(np.full(800, LETTERS["c"], np.int16))
        await after.heard()
        return heard, heard_letters(phone)

    heard, letters_heard = called(test)
    assert [each.interrupted for each in heard] == [True, True, True]
    assert [each.seconds for each in heard[1:]] == [0.0, 0.0]
    assert closed == []
    assert letters_heard[-1] == "c"
    assert set(letters_heard[:-1]) == {"a"}


def test_a_producer_that_stands_still_keeps_nobody_out_after_an_interruption() -> None:
    async def stuck() -> AsyncIterator[Any]:
        yield np.full(800, LETTERS["a"], np.int16)
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(3600)  # its end does not come either

    async def test(stream: Stream, phone: Phone) -> tuple[float, str]:
        saying = asyncio.create_task(stream.say(stuck()))
        await asyncio.sleep(0.5)
        waiting = asyncio.create_task(stream.play(tone(0.1)))
        await asyncio.sleep(0.5)
        stream.interrupt()
        assert (await (await waiting).heard()).seconds == 0
        await (await stream.say(letters("b", 0.5))).heard()
        saying.cancel()
        return now(), heard_letters(phone)

    ended, heard = called(test)
    assert ended < 3
    assert heard == "abbbbb"


def test_one_that_is_cancelled_while_it_waits_leaves_its_place() -> None:
    async def test(stream: Stream, phone: Phone) -> str:
        saying = asyncio.create_task(stream.say(letters("a")))
        await asyncio.sleep(0.1)
        given_up = asyncio.create_task(stream.say(letters("b")))
        last = asyncio.create_task(stream.say(letters("c")))
        await asyncio.sleep(0.1)
        given_up.cancel()
        await (await last).heard()
        await saying
        return heard_letters(phone)

    assert called(test) == "a" * 10 + "c" * 10


def test_one_that_is_cancelled_while_it_speaks_lets_the_next_begin() -> None:
    async def test(stream: Stream, phone: Phone) -> str:
        saying = asyncio.create_task(stream.say(letters("a", 30)))
        await asyncio.sleep(0.5)
        following = asyncio.create_task(stream.say(letters("c", 0.5)))
        await asyncio.sleep(0.1)
        saying.cancel()
        await (await following).heard()
        return heard_letters(phone)

    heard = called(test)
    assert heard == "a" * (len(heard) - 5) + "ccccc"


def test_an_iterator_may_play_within_its_own_utterance() -> None:
    async def speech(stream: Stream) -> AsyncIterator[Any]:
        yield np.full(800, LETTERS["a"], np.int16)
        async with asyncio.timeout(5):
            await asyncio.wait_for(stream.play(np.full(800, LETTERS["b"], np.int16)), 5)
            await stream.say(letters("c", 0.2))
        yield np.full(800, LETTERS["a"], np.int16)

    async def test(stream: Stream, phone: Phone) -> str:
        saying = asyncio.create_task(stream.say(speech(stream)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await (await stream.play(np.full(800, LETTERS["b"], np.int16))).heard()
        await saying
        return heard_letters(phone)

    assert called(test) == "abccab"


def test_what_waits_ends_with_the_call() -> None:
    async def stuck() -> AsyncIterator[Any]:
        await asyncio.sleep(3600)
        yield tone(1)

    async def test(stream: Stream, phone: Phone) -> float:
        tasks = [
            asyncio.create_task(stream.say(stuck())),
            asyncio.create_task(stream.say(letters("b"))),
            asyncio.create_task(stream.play(tone(0.1))),
        ]
        await asyncio.sleep(0.5)
        stream.close()
        for each in tasks[1:]:
            with pytest.raises(StreamEndedError):
                await each
        tasks[0].cancel()
        return now()

    assert called(test) == pytest.approx(0.5, abs=0.1)


def test_an_utterance_consists_of_what_is_played_with_it() -> None:
    async def test(stream: Stream, phone: Phone) -> str:
        utterance = await stream.begin_utterance()
        other = asyncio.create_task(stream.play(np.full(800, LETTERS["b"], np.int16)))
        for _ in range(3):
            await stream.play(np.full(800, LETTERS["a"], np.int16), utterance=utterance)
            await asyncio.sleep(0.05)
        stream.end_utterance(utterance)
        await (await other).heard()
        late = await stream.play(np.full(800, LETTERS["c"], np.int16), utterance=utterance)
        await late.heard()
        return heard_letters(phone)

    assert called(test) == "aaabc"


def test_audio_that_cannot_be_played_is_refused_before_its_turn() -> None:
    async def test(stream: Stream, phone: Phone) -> float:
        utterance = await stream.begin_utterance()
        with pytest.raises(AudioError, match="cannot play str"):
            await stream.play("hello.wav")  # type: ignore[arg-type]
        stream.end_utterance(utterance)
        return now()

    assert called(test) == pytest.approx(0, abs=0.05)


def test_no_utterance_begins_once_the_stream_has_ended() -> None:
    async def test(stream: Stream, phone: Phone) -> None:
        stream.close()
        with pytest.raises(StreamEndedError):
            await stream.begin_utterance()

    called(test)


class Body:
    """Audio that a service sends; the connection is given back when it is closed."""

    def __init__(self) -> None:
        self.closed = False

    def __aiter__(self) -> "Body":
        return self

    async def __anext__(self) -> Samples:
        await asyncio.sleep(0.1)
        return tone(0.1)

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    "how", ["cancelled", "interrupted", "ended", "interrupted at once", "ended before"]
)
def test_a_say_that_is_not_heard_closes_its_iterator(how: str) -> None:
    async def test(stream: Stream, phone: Phone) -> bool:
        body = Body()
        if how == "ended before":
            stream.close()
        elif how != "interrupted at once":
            await stream.begin_utterance()
        saying = asyncio.create_task(stream.say(body))
        await asyncio.sleep(0)
        if how == "cancelled":
            saying.cancel()
        elif how.startswith("interrupted"):
            stream.interrupt()
        elif how == "ended":
            stream.close()
        await asyncio.wait([saying])
        if not saying.cancelled():
            saying.exception()
        return body.closed

    assert called(test)


# Pieces that were cut anywhere.


def heard_of(phone: Phone, count: int) -> Samples:
    recording = phone.report().recording
    assert recording is not None
    heard: Samples = recording[:, 1]
    first = int(np.flatnonzero(heard)[0])
    return heard[first : first + count]


@pytest.mark.parametrize("size", [1, 333, 4063])
@pytest.mark.parametrize("how", ["say", "play", "frames", "frames of another format"])
def test_audio_cut_within_samples_is_heard_as_it_was(size: int, how: str) -> None:
    format = L16_24K if how == "frames of another format" else L16_16K
    samples = (1 + np.arange(16_00 if size == 1 else 16_000) % 20_000).astype(np.int16)
    audio = format.encode(samples) + b"\x7f"
    cut = [audio[i : i + size] for i in range(0, len(audio), size)]

    async def speech() -> AsyncIterator[Any]:
        for piece in cut:
            yield Frame(piece, format) if how.startswith("frames") else piece

    async def test(stream: Stream, phone: Phone) -> Samples:
        if how == "play":
            for piece in cut:
                playback = await stream.play(piece)
        else:
            playback = await stream.say(speech())
        await playback.heard()
        return heard_of(phone, len(samples))

    heard = called(test, format=L16_16K)
    if format is L16_16K:
        assert np.array_equal(heard, samples)
    else:
        expected = resample(samples, 24_000, 16_000)
        assert len(heard) >= len(expected)


def test_a_lone_byte_does_not_shift_the_next_utterance() -> None:
    async def test(stream: Stream, phone: Phone) -> Samples:
        await (await stream.play(L16_16K.encode(tone(0.2, 16000)) + b"\x7f")).heard()
        await (await stream.play(L16_16K.encode(np.full(1600, 77, np.int16)))).heard()
        recording = phone.report().recording
        assert recording is not None
        return recording[:, 1]

    assert np.count_nonzero(called(test, format=L16_16K) == 77) >= 1600


def test_pieces_of_an_utterance_may_come_late_wherever_they_are_cut() -> None:
    samples = (1 + np.arange(1600)).astype(np.int16)
    audio = L16_16K.encode(samples)

    async def test(stream: Stream, phone: Phone) -> Samples:
        utterance = await stream.begin_utterance()
        for piece in (audio[:1601], audio[1601:]):
            playback = await stream.play(piece, utterance=utterance)
            await playback.heard()
        stream.end_utterance(utterance)
        recording = phone.report().recording
        assert recording is not None
        heard: Samples = recording[:, 1][recording[:, 1] != 0]
        return heard

    assert np.array_equal(called(test, format=L16_16K), samples)


def test_half_a_sample_of_an_utterance_does_not_shift_what_follows_it() -> None:
    async def test(stream: Stream, phone: Phone) -> Samples:
        utterance = await stream.begin_utterance()
        await stream.play(bytes(1601), utterance=utterance)
        stream.end_utterance(utterance)
        playback = await stream.play(L16_16K.encode(np.full(800, 77, np.int16)))
        await playback.heard()
        recording = phone.report().recording
        assert recording is not None
        return recording[:, 1]

    assert np.count_nonzero(called(test, format=L16_16K) == 77) == 800


@pytest.mark.parametrize(
    ("audio", "said"),
    [
        ("hello", "not str: a text_to_speech service makes audio of text"),
        (b"\xff", "not bytes: play takes audio that is complete"),
        (tone(0.1), "not ndarray: play takes"),
        (Wav(tone(0.1), 8000), "not Wav: play takes"),
        (Frame(b"\xff", MULAW_8K), "not Frame: play takes"),
        ([tone(0.1)], "not list: an async generator yields"),
        (letters, "not function: call the function"),
        (None, "not NoneType: "),
    ],
)
def test_say_tells_what_it_takes(audio: Any, said: str) -> None:
    async def test(stream: Stream, phone: Phone) -> None:
        with pytest.raises(TypeError, match=f"say takes an async iterator .*, {said}"):
            await stream.say(audio)

    called(test)


def test_a_wav_is_played_at_its_own_rate() -> None:
    async def test(stream: Stream, phone: Phone) -> float:
        return (await (await stream.play(Wav(tone(1.5, 11025), 11025))).heard()).seconds

    assert called(test) == pytest.approx(1.5, abs=0.006)


@pytest.mark.parametrize("rate", [8000, 9600, 11025, 11127, 12000, 32000, 37_800, 47_999, 96_000])
@pytest.mark.parametrize("how", ["play", "say"])
def test_audio_of_any_rate_is_heard_to_its_end(rate: int, how: str) -> None:
    async def test(stream: Stream, phone: Phone) -> float:
        if how == "play":
            playback = await stream.play(tone(0.3, rate), rate=rate)
        else:
            playback = await stream.say(pieces(0.1, 0.1, 0.1, rate=rate), rate=rate)
        return (await playback.heard()).seconds

    assert called(test) == pytest.approx(0.3, abs=0.005)


# Turns, and when audio is heard.


def test_a_turn_is_an_event_counted_and_logged_without_its_words(capture_logs: list[Any]) -> None:
    async def test(stream: Stream, phone: Phone) -> None:
        turn = Turn(
            number=2,
            caller="my secret",
            agent="is safe",
            audio_heard=1.25,
            usage=Usage(tokens_in=80, characters=7),
        )
        stream.report(turn)
        stream.count_barge_in(confirmed=True)
        stream.count_failure("speech")
        assert await anext(stream.controls()) is turn
        assert stream.counters.turns.turns == 1
        assert stream.counters.turns.barge_ins["confirmed"] == 1
        assert stream.counters.turns.failures == {"speech": 1}

    called(test)
    (line,) = [entry for entry in capture_logs if entry["event"] == "turn"]
    assert (line["number"], line["audio_heard"], line["tokens_in"]) == (2, 1.25, 80)
    assert line["call"]
    assert line["stream"]
    assert "secret" not in str(line)
    assert "safe" not in str(line)


def test_a_turn_reported_at_the_end_is_counted() -> None:
    async def handler(stream: Stream) -> None:
        await listen(stream)
        stream.report(Turn(number=1))

    async def main() -> int:
        async with joined(handler) as line:
            pass
        return line.runtime.stream_totals().turns.turns

    assert run_virtual(main()) == 1


def test_one_at_a_time_listens_in() -> None:
    async def test(stream: Stream, phone: Phone) -> None:
        first: Any = object()
        second: Any = object()
        stream.tap = None
        stream.tap = first
        with pytest.raises(RuntimeError, match="already has a tap"):
            stream.tap = second
        stream.tap = None
        assert stream.tap is None

    called(test)
