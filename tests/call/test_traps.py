"""What goes wrong in other media servers, one test for each, with where it was reported.

Those about the sender's own reckoning run on a clock moved by hand. Those about what a caller hears
run as a whole call in virtual time, and the phone is the judge.
"""

import asyncio
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import numpy as np
import pytest

from audiocodecs import L16_24K, MULAW_8K, AudioFormat, Samples
from mediaserver import Heard, Playback, Stream, StreamCounters
from mediaserver.call import Frame
from mediaserver.handler import Handler
from mediaserver.sandbox import CallReport, Misbehaviour
from mediaserver.settings import Settings
from mediaserver.testing import JoinedCall, joined, run_virtual, stall


GRID = 0.02
"""The phone plays in steps of this many seconds."""


def tone(seconds: float, rate: int = 8000, level: int = 8000) -> Samples:
    times = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * 440 * times)).astype(np.int16)


async def listen(stream: Stream) -> None:
    """The handler of a call whose agent's part is done by the test."""
    async for _ in stream.audio():
        pass


async def stalling(seconds: float, *, every: float) -> None:
    while True:
        await asyncio.sleep(every)
        stall(seconds)


def now() -> float:
    return asyncio.get_running_loop().time()


# A. Outgoing audio choppy, gapped, drifting.


def test_parallel_calls_do_not_pause_each_others_audio() -> None:
    """https://github.com/pipecat-ai/pipecat/issues/3092"""

    async def main() -> list[list[Any]]:
        async with AsyncExitStack() as stack:
            lines = [await stack.enter_async_context(joined(listen)) for _ in range(12)]
            playbacks = [await line.stream.play(tone(8), rate=8000) for line in lines]
            heard = await asyncio.gather(*(playback.heard() for playback in playbacks))
            assert all(each.confirmed for each in heard)
            return [line.phone.report().gaps for line in lines]

    assert run_virtual(main()) == [[]] * 12


def test_a_producer_that_hesitates_longer_than_the_lead_leaves_no_hole() -> None:
    """https://github.com/pipecat-ai/pipecat/issues/3222"""

    async def hesitating() -> AsyncIterator[Any]:
        for _ in range(20):
            yield tone(0.5)
        await asyncio.sleep(1.2)
        for _ in range(5):
            yield tone(0.5)

    async def main() -> tuple[CallReport, StreamCounters]:
        async with joined(listen) as line:
            playback = await line.stream.say(hesitating())
            await playback.heard()
            return line.phone.report(), line.stream.counters

    report, counters = run_virtual(main())
    assert report.gaps == []
    assert counters.producer_gaps == counters.underruns == 0


def test_a_producer_that_runs_dry_is_told_from_a_sender_that_does() -> None:
    """https://github.com/pipecat-ai/pipecat/issues/3315"""

    async def halting() -> AsyncIterator[Any]:
        for _ in range(3):
            yield tone(0.5)
            await asyncio.sleep(0.7)

    async def main() -> tuple[CallReport, StreamCounters]:
        async with joined(listen) as line:
            playback = await line.stream.say(halting())
            await playback.heard()
            return line.phone.report(), line.stream.counters

    report, counters = run_virtual(main())
    assert report.gap_seconds == pytest.approx(counters.producer_gap_seconds, abs=2 * GRID)
    assert counters.producer_gap_seconds == pytest.approx(0.4, abs=0.01)
    assert counters.underruns == 0


def test_pacing_at_the_rate_of_play_does_not_starve_the_carrier(bench: Any) -> None:
    """It always has some hundred milliseconds in hand, until the audio itself comes to its end.

    https://github.com/pipecat-ai/pipecat/pull/4855
    https://github.com/openclaw/openclaw/pull/125620
    https://github.com/Vonage/vonage-python-sdk/issues/70
    """
    bench.playout.play(bench.audio(30.0))
    for _ in range(290):
        bench.run(0.1)
        assert bench.carrier.unplayed > 0.4


def test_a_resampler_that_buffers_does_not_drain_the_audio_early() -> None:
    """https://github.com/pipecat-ai/pipecat/issues/5592"""

    async def main() -> tuple[Heard, float, CallReport]:
        async with joined(listen) as line:
            for piece in np.split(tone(5, rate=24000), 500):
                playback = await line.stream.play(piece, rate=24000)
            heard = await playback.heard()
            return heard, now(), line.phone.report()

    heard, ended, report = run_virtual(main())
    assert heard.confirmed
    assert ended == pytest.approx(5.0, abs=0.06)
    assert report.audio_played == pytest.approx(5.0, abs=0.01)
    assert report.gaps == []


@pytest.mark.parametrize("tick", [0.101, 0.117, 0.149])
def test_lateness_of_ticks_does_not_add_up(bench: Any, tick: float) -> None:
    """https://github.com/openclaw/openclaw/pull/146078, .../issues/119070"""
    bench.playout.play(bench.audio(60.0))
    bench.run(60.0, tick=tick)
    assert len(bench.carrier.heard) == 60 * 8000
    assert bench.carrier.gaps == []


def test_one_utterance_after_the_other_does_not_drift() -> None:
    """https://github.com/streamplace/streamplace/pull/1236"""

    async def main() -> float:
        async with joined(listen) as line:
            for _ in range(40):
                playback = await line.stream.play(tone(0.5))
            await playback.heard()
            return now()

    assert run_virtual(main()) == pytest.approx(20.0, abs=2 * GRID)


@pytest.mark.parametrize("stalled", [0.010, 0.015, 0.025])
def test_a_loop_that_stalls_at_every_step_does_not_slow_the_audio(stalled: float) -> None:
    """https://github.com/eigger/hass-sip/pull/46"""

    async def main() -> CallReport:
        async with joined(listen) as line:
            stalls = asyncio.create_task(stalling(stalled, every=0.02))
            playback = await line.stream.play(tone(20))
            await playback.heard()
            stalls.cancel()
            return line.phone.report()

    report = run_virtual(main())
    assert report.gaps == []
    assert report.audio_played == 20.0


def test_a_loop_that_stalls_once_a_second_through_a_monologue_is_not_heard() -> None:
    """https://github.com/hkjarral/AVA-AI-Voice-Agent-for-Asterisk/issues/217"""

    async def main() -> tuple[Heard, CallReport, int]:
        async with joined(listen) as line:
            stalls = asyncio.create_task(stalling(0.15, every=1))
            playback = await line.stream.play(tone(60))
            heard = await playback.heard()
            stalls.cancel()
            return heard, line.phone.report(), line.stream.counters.underruns

    heard, report, underruns = run_virtual(main())
    assert report.gaps == []
    assert underruns == 0
    assert heard.seconds == report.audio_played == 60.0


def test_a_socket_blocked_now_and_then_through_a_monologue_is_not_heard() -> None:
    """https://github.com/livekit/sip/issues/348"""

    async def blocking(line: JoinedCall) -> None:
        """The server can write nothing for 400 ms every 10 s."""
        while True:
            await asyncio.sleep(10)
            line.call.block()
            await asyncio.sleep(0.4)
            line.call.unblock()

    async def main() -> tuple[CallReport, int]:
        async with joined(listen) as line:
            blocks = asyncio.create_task(blocking(line))
            playback = await line.stream.play(tone(60))
            await playback.heard()
            blocks.cancel()
            return line.phone.report(), line.stream.counters.underruns

    report, underruns = run_virtual(main())
    assert report.gaps == []
    assert underruns == 0


def test_tiny_pieces_are_neither_sent_one_by_one_nor_all_at_once(bench: Any) -> None:
    """https://github.com/openai/openai-agents-python/pull/1926"""
    for _ in range(2000):
        bench.playout.play(bench.audio(0.005))
    assert bench.carrier.unplayed <= 0.6
    sent = len(bench.payloads)
    bench.run(9.9)
    assert len(bench.payloads) - sent <= 9.4 / 0.1


def test_short_frames_do_not_press_on_the_event_loop(bench: Any) -> None:
    """https://github.com/livekit/agents/pull/2610"""
    for _ in range(3000):
        bench.playout.play(bench.audio(0.01))
    assert bench.ticks_wanted > 0
    messages = len(bench.messages)
    bench.run(10.0, tick=0.1)
    assert len(bench.messages) - messages <= 100


def test_a_long_reply_is_not_copied_for_each_message(bench: Any) -> None:
    """https://github.com/openclaw/openclaw/issues/117162"""
    bench.tap = lambda message: None
    bench.carrier.receive = bench.tap
    reply = bytes(8000 * 600)
    bench.playout.play(reply)
    tracemalloc.start()
    try:
        bench.run(30.0, acknowledge=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(reply) / 20


def test_after_a_long_stall_there_is_no_burst_beyond_the_lead(bench: Any) -> None:
    """https://github.com/bluejay-ai-dev/mivas-bench/pull/28"""
    bench.playout.play(bench.audio(30.0))
    bench.run(1.0)
    bench.clock.now += 5.0
    bench.playout.tick()
    assert bench.carrier.unplayed <= 0.6
    bench.run(30.0)
    assert bench.carrier.heard == bench.audio(30.0)
    assert len(bench.carrier.gaps) == bench.counters.underruns == 1


def test_the_wall_clock_may_jump(monkeypatch: pytest.MonkeyPatch) -> None:
    """https://github.com/GetStream/stream-py/pull/272"""
    real, calls = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: real() + 3600 * (-1) ** next(calls))

    async def main() -> CallReport:
        async with joined(listen) as line:
            playback = await line.stream.play(tone(5))
            await playback.heard()
            return line.phone.report()

    assert run_virtual(main()).gaps == []


def test_short_pieces_are_resampled_as_one() -> None:
    """https://github.com/GetStream/stream-py/pull/272"""

    async def recording(pieces: list[Samples]) -> Samples:
        async with joined(listen) as line:
            for piece in pieces:
                playback = await line.stream.play(piece, rate=24000)
            await playback.heard()
            played = line.phone.recording()[:, 1]
            return np.trim_zeros(played)

    speech = tone(2, rate=24000)
    whole = run_virtual(recording([speech]))
    in_pieces = run_virtual(recording(np.split(speech, 200)))
    # Only of what is played in one piece is it known that nothing follows: 2.5 ms more come out.
    assert len(whole) - len(in_pieces) == 20
    assert np.array_equal(whole[:-20], in_pieces)


def test_a_backlog_of_received_audio_does_not_become_latency() -> None:
    """https://github.com/asterisk/asterisk/issues/2115"""

    async def main() -> list[float]:
        async def late(stream: Stream) -> None:
            await asyncio.sleep(3)
            async for frame in stream.audio():
                assert frame.chunk is not None
                ages.append(now() - frame.chunk * 0.02)
                if len(ages) > 100:
                    return

        ages: list[Any] = []
        async with joined(late) as line:
            await line.phone.wait_closed()
        return ages

    ages = run_virtual(main())
    assert ages[0] <= 1.0 + 2 * GRID
    assert ages[-1] <= 2 * GRID


def test_a_backlog_of_sent_audio_does_not_become_latency(bench: Any) -> None:
    """https://github.com/asterisk/asterisk/issues/2115"""
    for _ in range(500):
        bench.playout.play(bench.audio(0.02))
        bench.run(0.02, tick=0.02)
    bench.playout.blocked = True
    for _ in range(20):
        bench.playout.play(bench.audio(0.02))
        bench.run(0.02, tick=0.02)
    bench.playout.unblock()
    assert bench.carrier.unplayed <= 0.4 + 1e-9


# B. Barge-in.


def test_an_interruption_clears_what_the_carrier_holds(bench: Any) -> None:
    """https://github.com/pipecat-ai/pipecat/issues/366"""
    bench.playout.play(bench.audio(5.0))
    bench.playout.interrupt()
    assert bench.kinds[-1] == "clearAudio"


@pytest.mark.parametrize("format", [MULAW_8K, L16_24K], ids=str)
def test_an_interruption_is_silence_at_the_ear_at_once(format: AudioFormat) -> None:
    """https://github.com/cloudflare/agents/issues/2261"""

    class Agent(Handler):
        async def on_start(self) -> None:
            await self.stream.play(tone(10), rate=8000)

        async def on_dtmf(self, digit: str) -> None:
            self.stream.interrupt()

    async def main() -> CallReport:
        async with joined(Agent, format=format) as line:
            await line.phone.wait_until(3.0)
            line.phone.press("1")
            await line.phone.wait_until(5.0)
            return line.phone.report()

    (interrupt,) = run_virtual(main()).interrupts
    assert interrupt.seconds is not None
    assert interrupt.seconds <= GRID + 0.005


def test_an_interruption_counts_when_everything_was_sent(bench: Any) -> None:
    """https://github.com/openai/openai-agents-js/issues/1173"""
    bench.playout.play(bench.audio(0.5))
    assert bench.playout.backlog == 0
    bench.run(0.2)
    assert bench.playout.interrupt() == pytest.approx(0.3)
    assert bench.carrier.unplayed == 0


def test_an_interruption_counts_when_everything_should_have_been_heard(bench: Any) -> None:
    """https://github.com/jambonz/jambonz-feature-server/issues/1179"""
    bench.playout.play(bench.audio(0.5))
    bench.run(1.0)
    bench.playout.interrupt()
    assert bench.kinds[-1] == "clearAudio"


def test_a_turn_is_not_over_when_its_last_audio_was_made() -> None:
    """https://github.com/elizaOS/eliza/pull/19407"""

    async def speech() -> AsyncIterator[Any]:
        yield tone(1.5)

    async def main() -> tuple[float, float, Heard, CallReport]:
        async with joined(listen) as line:
            playback = await line.stream.say(speech())
            said = now()
            await line.phone.wait_until(1.0)
            unheard = line.stream.interrupt()
            heard = await playback.heard()
            await line.phone.wait_until(2.0)
            return said, unheard, heard, line.phone.report()

    said, unheard, heard, report = run_virtual(main())
    assert said < 0.1
    assert unheard == pytest.approx(0.5, abs=2 * GRID)
    assert heard.interrupted
    assert report.audio_played == pytest.approx(1.0, abs=2 * GRID)


async def heard_after_an_interruption(speak: Callable[..., Any]) -> Samples:
    """Return what is heard of silence that is spoken right after an interrupted, loud tone."""
    async with joined(listen) as line:
        loud = asyncio.create_task(speak(line.stream, tone(3, rate=24000, level=30000)))
        await line.phone.wait_until(0.5)
        line.stream.interrupt()
        await loud
        cut = round(line.phone.time * 8000) + 160
        playback = await speak(line.stream, np.zeros(24000, np.int16))
        await playback.heard()
        report = line.phone.report()
        assert report.audio_played > 1.4
        return line.phone.recording()[cut:, 1]


def test_the_resamplers_tail_does_not_leak_into_the_next_turn() -> None:
    """https://github.com/timbal-ai/timbal/pull/112"""

    async def play(stream: Stream, samples: Samples) -> Playback:
        return await stream.play(samples, rate=24000)

    assert not run_virtual(heard_after_an_interruption(play)).any()


def test_the_tail_of_streamed_speech_does_not_leak_into_the_next_turn() -> None:
    """https://github.com/Project-N-E-K-O/N.E.K.O/pull/1435"""

    async def pieces(samples: Samples) -> AsyncIterator[Any]:
        for piece in np.array_split(samples, 300):
            yield piece

    async def say(stream: Stream, samples: Samples) -> Playback:
        return await stream.say(pieces(samples), rate=24000)

    assert not run_virtual(heard_after_an_interruption(say)).any()


def test_noise_clears_nothing_unless_the_handler_decides_so() -> None:
    """What others cleared at any sound.

    https://github.com/vellum-ai/vellum-assistant/pull/37061
    https://github.com/livekit/agents/issues/5001
    """

    async def main() -> tuple[Heard, CallReport]:
        async with joined(listen, audio=tone(3), audio_rate=8000) as line:
            playback = await line.stream.play(tone(3))
            heard = await playback.heard()
            return heard, line.phone.report()

    heard, report = run_virtual(main())
    assert not heard.interrupted
    assert report.audio_cleared == 0
    assert report.audio_played == 3.0


def test_minutes_of_audio_are_not_buffered_at_the_carrier(bench: Any) -> None:
    """https://github.com/pipecat-ai/pipecat/issues/4151"""
    bench.playout.play(bench.audio(300.0))
    for _ in range(50):
        bench.run(0.1)
        assert bench.carrier.unplayed <= 0.6
    bench.playout.interrupt()
    bench.run(10.0)
    assert len(bench.carrier.heard) == 5.0 * 8000


def test_there_is_no_burst_after_an_interruption(bench: Any) -> None:
    """https://github.com/pipecat-ai/pipecat/issues/3077"""
    bench.playout.play(bench.audio(10.0))
    bench.run(1.0)
    bench.playout.interrupt()
    bench.playout.play(bench.audio(10.0))
    assert bench.carrier.unplayed <= 0.6


def test_after_a_false_interruption_speech_goes_on_where_it_stopped() -> None:
    """What others dropped, or began anew.

    https://github.com/livekit/agents/issues/4039
    https://github.com/HumeAI/hume-react-sdk/pull/438
    """
    spoken = (1000 + np.arange(16_000) // 80).astype(np.int16) * 40

    async def main() -> tuple[Heard, CallReport]:
        async with joined(listen) as line:
            playback = await line.stream.play(spoken)
            await line.phone.wait_until(1.0)
            line.stream.pause()
            await line.phone.wait_until(1.5)
            line.stream.resume()
            heard = await playback.heard()
            return heard, line.phone.report()

    heard, report = run_virtual(main())
    assert heard.seconds == 2.0
    assert not heard.interrupted
    # All of it, and what was heard twice or not at all is less than the reckoning's error.
    assert report.audio_played == pytest.approx(2.0, abs=0.06)
    assert report.recording is not None
    speech = report.recording[:, 1]
    assert set(np.unique(speech[speech != 0])) == set(MULAW_8K.decode(MULAW_8K.encode(spoken)))


def test_audio_that_arrives_late_for_an_interrupted_turn_is_dropped() -> None:
    """https://github.com/openai/openai-agents-js/pull/1343"""

    async def main() -> tuple[Heard, CallReport]:
        async with joined(listen) as line:
            asked = line.stream.generation
            line.stream.interrupt()
            playback = await line.stream.play(tone(1), generation=asked)
            heard = await playback.heard()
            await line.phone.wait_until(2.0)
            return heard, line.phone.report()

    heard, report = run_virtual(main())
    assert heard.interrupted
    assert heard.seconds == 0
    assert report.audio_received == 0


def test_a_producer_that_waited_for_room_does_not_speak_after_the_interruption() -> None:
    """https://github.com/gradio-app/fastrtc/issues/303"""

    async def main() -> tuple[Heard, CallReport]:
        async with joined(listen) as line:
            await line.stream.play(tone(5))
            waiting = asyncio.create_task(line.stream.play(tone(5)))
            await line.phone.wait_until(1.0)
            line.stream.interrupt()
            heard = await (await waiting).heard()
            await line.phone.wait_until(3.0)
            return heard, line.phone.report()

    heard, report = run_virtual(main())
    assert heard.interrupted
    assert report.audio_played == pytest.approx(1.0, abs=GRID)


# D. What the caller heard.


def test_no_more_was_heard_than_there_was(bench: Any) -> None:
    """https://github.com/openai/openai-agents-python/issues/2009"""
    bench.playout.play(bench.audio(1.0))
    bench.run(30.0, acknowledge=False)
    bench.playout.interrupt()
    assert bench.playout.outcome(0, 8000, 0).seconds == 1.0


def test_queued_is_not_heard() -> None:
    """https://github.com/twilio/twilio-agent-connect-python/pull/118"""

    async def main() -> tuple[Heard, CallReport]:
        async with joined(listen) as line:
            playback = await line.stream.play(tone(10))
            await line.phone.wait_until(1.23)
            line.stream.interrupt()
            heard = await playback.heard()
            await line.phone.wait_until(2.0)
            return heard, line.phone.report()

    heard, report = run_virtual(main())
    assert heard.interrupted
    assert heard.seconds == pytest.approx(report.audio_played, abs=0.06)


def test_what_was_confirmed_is_what_was_heard() -> None:
    """https://github.com/livekit/agents/issues/1994"""

    async def main() -> tuple[Heard, CallReport]:
        async with joined(listen) as line:
            playback = await line.stream.play(tone(1.11))
            heard = await playback.heard()
            return heard, line.phone.report()

    heard, report = run_virtual(main())
    assert heard.confirmed
    assert heard.seconds == pytest.approx(report.audio_played, abs=0.02)


def test_heard_stays_right_while_the_loop_stalls() -> None:
    """https://github.com/livekit/agents/issues/3418"""

    async def main() -> tuple[Heard, float]:
        async with joined(listen) as line:
            stalls = asyncio.create_task(stalling(0.15, every=1))
            for _ in range(5):
                playback = await line.stream.play(tone(1.3))
                await playback.heard()
            before = line.phone.report().audio_played
            playback = await line.stream.play(tone(10))
            await asyncio.sleep(2.5)
            line.stream.interrupt()
            heard = await playback.heard()
            await asyncio.sleep(1)
            stalls.cancel()
            return heard, line.phone.report().audio_played - before

    heard, played = run_virtual(main())
    assert heard.seconds == pytest.approx(played, abs=0.06)


@pytest.mark.parametrize("misbehaviour", ["acks-cleared", "no-cleared"])
def test_a_mark_echoed_after_a_clear_is_no_proof_of_playing(misbehaviour: str) -> None:
    """https://github.com/vellum-ai/vellum-assistant/pull/38316"""

    async def main() -> tuple[Heard, Heard, float]:
        async with joined(listen, misbehaviour=Misbehaviour.parse(misbehaviour)) as line:
            first = await line.stream.play(tone(0.5))
            line.stream.checkpoint("turn")
            await line.phone.wait_until(0.1)
            line.stream.interrupt()
            second = await line.stream.play(tone(0.5))
            line.stream.checkpoint("turn")
            return await first.heard(), await second.heard(), now()

    first, second, ended = run_virtual(main())
    assert first.interrupted
    assert not first.confirmed
    assert second.confirmed
    assert ended >= 0.6


def test_sentences_that_were_never_begun_were_not_heard() -> None:
    """https://github.com/2FastLabs/agent-squad/issues/561"""

    async def main() -> list[Heard]:
        async with joined(listen) as line:
            sentences = [await line.stream.play(tone(0.5)) for _ in range(3)]
            await line.phone.wait_until(0.75)
            line.stream.interrupt()
            return [await sentence.heard() for sentence in sentences]

    first, second, third = run_virtual(main())
    assert not first.interrupted
    assert second.interrupted
    assert 0 < second.seconds < 0.5
    assert third.interrupted
    assert third.seconds == 0


def test_speech_that_was_interrupted_while_it_was_made_was_heard_so_far() -> None:
    """https://github.com/livekit/agents/issues/5038"""

    async def endless() -> AsyncIterator[Any]:
        while True:
            yield tone(0.1)

    async def main() -> tuple[Heard, CallReport]:
        async with joined(listen) as line:
            speaking = asyncio.create_task(line.stream.say(endless()))
            await line.phone.wait_until(2.0)
            line.stream.interrupt()
            heard = await (await speaking).heard()
            await line.phone.wait_until(3.0)
            return heard, line.phone.report()

    heard, report = run_virtual(main())
    assert heard.interrupted
    assert heard.seconds == pytest.approx(report.audio_played, abs=0.06)


def test_speech_interrupted_between_two_pieces_was_interrupted() -> None:
    """https://github.com/livekit/agents/issues/2201"""

    async def thinking() -> AsyncIterator[Any]:
        yield tone(0.5)
        await asyncio.sleep(10)

    async def main() -> Heard:
        async with joined(listen) as line:
            speaking = asyncio.create_task(line.stream.say(thinking()))
            await line.phone.wait_until(2.0)
            line.stream.interrupt()
            return await (await speaking).heard()

    heard = run_virtual(main())
    assert heard.seconds == 0.5
    assert heard.interrupted


def test_an_answer_that_never_comes_does_not_wedge_the_session() -> None:
    """https://github.com/livekit/agents-js/issues/2065"""

    async def main() -> tuple[Heard, float]:
        async with joined(listen, misbehaviour=Misbehaviour(no_acks=True)) as line:
            playback = await line.stream.play(tone(1))
            heard = await playback.heard()
            return heard, now()

    heard, ended = run_virtual(main())
    assert heard.seconds == 1.0
    assert not heard.confirmed
    assert 1.0 < ended < 3.0


def test_a_mark_answered_at_once_overstates_what_was_heard_by_no_more_than_the_lead(
    bench: Any,
) -> None:
    """https://github.com/jambonz/jambonz-feature-server/issues/811"""
    bench.playout.play(bench.audio(5.0))
    waiter = bench.watch()
    while not waiter.woken:
        for name in bench.names:
            bench.playout.played(name)
        bench.run(0.1, acknowledge=False)
    assert bench.carrier.unplayed <= 0.6


# F. Hanging up, closing, zombies.


def test_the_stream_ends_when_the_handler_returns() -> None:
    """https://github.com/pipecat-ai/pipecat/issues/728, .../pull/5135"""

    async def main() -> CallReport:
        async def brief(stream: Stream) -> None:
            playback = await stream.play(tone(1))
            await playback.heard()

        async with joined(brief) as line:
            await line.phone.wait_closed()
            return line.phone.report()

    report = run_virtual(main())
    assert report.ended_by == "server"
    assert report.close_code == 1000
    assert report.duration == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("misbehaviour", [("stop-sending@1", "stop-reading@1"), ("no-start",)])
def test_a_peer_that_falls_silent_leaves_no_zombie(
    misbehaviour: tuple[str, str] | tuple[str],
) -> None:
    """https://github.com/dograh-hq/dograh/issues/627, .../issues/704"""

    async def main() -> float:
        async with joined(listen, misbehaviour=Misbehaviour.parse(*misbehaviour)) as line:
            while line.runtime.calls:
                await asyncio.sleep(1)
            return now()

    assert run_virtual(main()) < 60


def test_a_caller_who_says_nothing_is_let_go_where_set() -> None:
    """https://github.com/thevoiceguy/siphon-ai/issues/342"""

    async def main() -> CallReport:
        settings = Settings(max_silence_seconds=5.0)
        async with joined(listen, settings=settings) as line:
            await line.phone.wait_closed()
            return line.phone.report()

    report = run_virtual(main())
    assert report.ended_by == "server"
    assert 5.0 <= report.duration < 7.0


def test_a_call_does_not_go_on_for_ever() -> None:
    """https://github.com/pipecat-ai/docs/issues/762"""

    async def main() -> float:
        async with joined(listen, settings=Settings(max_call_seconds=20.0)) as line:
            await line.phone.wait_closed()
            return line.phone.report().duration

    assert 20.0 <= run_virtual(main()) < 22.0


@pytest.mark.parametrize("misbehaviour", [None, "drop@1", "half-close@1"])
def test_a_disconnect_reaches_a_handler_that_is_busy(misbehaviour: str | None) -> None:
    """https://github.com/bolna-ai/bolna/pull/652"""

    async def main() -> tuple[list[float], float]:
        class Busy(Handler):
            async def on_start(self) -> None:
                playback = await self.stream.play(tone(300))
                await playback.heard()

            async def on_audio(self, frame: Frame) -> None:
                await (await self.stream.play(frame)).heard()

            async def on_stop(self, reason: str) -> None:
                stopped.append(now())

        stopped: list[Any] = []
        wrong = Misbehaviour.parse(misbehaviour) if misbehaviour else None
        settings = Settings.model_construct(reconnect_seconds=0.0)
        async with joined(Busy, misbehaviour=wrong, settings=settings) as line:
            await asyncio.sleep(1)
            if not misbehaviour:
                await line.phone.hang_up()
            await line.phone.wait_closed()
            while line.runtime.calls:
                await asyncio.sleep(0.02)
            return stopped, now()

    (stopped,), ended = run_virtual(main())
    assert stopped == pytest.approx(1.0, abs=0.1)
    assert ended == pytest.approx(1.0, abs=0.2)


def test_a_handler_that_waits_for_something_else_does_not_outlive_its_call_for_long() -> None:
    """https://github.com/bolna-ai/bolna/pull/652"""

    async def main() -> float:
        async def deaf(stream: Stream) -> None:
            await asyncio.sleep(12 * 3600)

        async with joined(deaf, settings=Settings(grace=2.0)) as line:
            await line.phone.hang_up()
            while line.runtime.calls:
                await asyncio.sleep(0.1)
            return now()

    assert 2.0 <= run_virtual(main()) < 4.0


def test_a_stop_and_a_closed_socket_are_one_end() -> None:
    """https://github.com/gptme/gptme-contrib/pull/899"""

    async def main() -> list[str]:
        class Counting(Handler):
            async def on_stop(self, reason: str) -> None:
                stops.append(reason)

        stops: list[Any] = []
        async with joined(Counting, send_stop=True) as line:
            await line.hang_up()
        return stops

    assert len(run_virtual(main())) == 1


def test_a_peer_that_does_not_read_holds_up_only_what_it_should_hear() -> None:
    """https://github.com/eisenzopf/rvoip/issues/163"""

    async def main() -> tuple[int, int]:
        async def talking(stream: Stream) -> None:
            await stream.play(tone(200))
            async for _ in stream.audio():
                received["frames"] += 1

        received: Counter[Any] = Counter()
        async with joined(talking, misbehaviour=Misbehaviour(stop_reading=1.0)) as line:
            await line.phone.wait_until(15.0)
            return received["frames"], line.phone.report().frames_sent

    received, sent = run_virtual(main())
    assert received >= sent - 2 > 700


def test_frames_of_odd_sizes_do_not_end_the_call() -> None:
    """https://github.com/vocodedev/vocode-core/issues/727"""

    async def main() -> tuple[Samples, Samples]:
        async def keeping(stream: Stream) -> None:
            async for frame in stream.audio():
                assert isinstance(frame, Frame)
                heard.append(frame.samples)

        heard: list[Any] = []
        said = tone(2, rate=24000)
        wrong = Misbehaviour(odd_sizes=True)
        async with joined(
            keeping, format=L16_24K, misbehaviour=wrong, audio=said, audio_rate=24000
        ) as line:
            await line.phone.wait_until(3.0)
            assert not line.phone.ended
        return said, np.concatenate(heard)

    said, heard = run_virtual(main())
    first = int(np.flatnonzero(heard)[0]) - int(np.flatnonzero(said)[0])
    assert np.array_equal(heard[first : first + len(said)], said)
