"""The voice of a call, whose sessions are lost, refused, stalled and replaced; in virtual time."""

import asyncio
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiocodecs import L16_16K, MULAW_8K
from mediaserver.agents.conversing.call_tasks import CallTasks
from mediaserver.agents.conversing.kept_voice import KeptVoice
from mediaserver.agents.services import ServiceError, WordMark
from mediaserver.call import Frame
from mediaserver.testing import run_virtual
from mediaserver.testing.services import WORD_SECONDS, Fault, TimedSpeech
from mediaserver.testing.voice import ToneVoice


TEXT = "One two three four five six seven eight."
GONE = ServiceError("tones", "the connection was lost")


class Kept:
    def __init__(self, voice: Any, tasks: CallTasks) -> None:
        self.lost: list[ServiceError] = []
        self.tasks = tasks
        self.voice = KeptVoice(voice, patience=5.0, lost=self.lost.append, ended=lambda: False)

    async def say(self, text: str = TEXT) -> list[Any]:
        context = self.voice.begin()
        speaking = asyncio.create_task(heard(context))
        for piece in text.split(" "):
            await context.say(f"{piece} ")
        await context.flush()
        await context.end()
        return await speaking


async def heard(context: Any) -> list[Any]:
    return [piece async for piece in context.speech()]


def seconds(pieces: list[Any]) -> float:
    return sum(piece.seconds for piece in pieces if isinstance(piece, Frame))


def on_call(script: Callable[[Kept], Coroutine[Any, Any, None]], voice: Any) -> Kept:
    """Run a script with the voice of a call that has started."""

    async def main() -> Kept:
        async with asyncio.TaskGroup() as group:

            async def run(work: Coroutine[Any, Any, None]) -> None:
                await work

            kept = Kept(voice, CallTasks(group, "call", run))
            kept.voice.open(kept.tasks, MULAW_8K)
            await script(kept)
            kept.tasks.end()
            await kept.tasks.cancel()
            await kept.voice.close()
            return kept

    kept = run_virtual(main())
    assert voice.open == 0
    return kept


def test_a_text_is_spoken_in_the_session_of_the_call() -> None:
    async def script(kept: Kept) -> None:
        for _ in range(2):
            assert seconds(await kept.say()) == pytest.approx(8 * WORD_SECONDS)
        assert voice.attempts == 1

    voice = ToneVoice()
    assert on_call(script, voice).lost == []


@given(st.integers(1, 40), st.booleans(), st.sampled_from([MULAW_8K, L16_16K]))
def test_no_word_is_lost_and_none_said_twice(after: int, marks: bool, format: Any) -> None:
    async def script(kept: Kept) -> None:
        pieces = await kept.say()
        told = [session.contexts[0].text.split() for session in voice.sessions]
        assert len(told) == 2
        if marks:
            whole = [piece.end for piece in pieces if isinstance(piece, WordMark)]
            assert whole == sorted(whole)
            assert whole[-1] == len(TEXT)
            came = after * voice.chunk / format.bytes_per_second
            assert len(TEXT.split()) - len(told[1]) == int((came + 0.06) / WORD_SECONDS + 1e-6)
        assert TEXT.split()[8 - len(told[1]) :] == told[1]
        assert all(
            len(piece.payload) % format.sample_bytes == 0
            for piece in pieces
            if isinstance(piece, Frame)
        )

    fault = Fault(after=min(after, 23), error=GONE, uses=1)
    after = min(after, 23)
    voice = ToneVoice(marks=marks, fault=fault, format=format)
    assert [str(error) for error in on_call(script, voice).lost] == [str(GONE)]


def test_the_gap_of_a_lost_session_is_the_time_to_connect_and_to_begin() -> None:
    async def script(kept: Kept) -> None:
        context = kept.voice.begin()
        await context.say(TEXT)
        await context.end()
        clock = asyncio.get_running_loop().time
        times = [clock() async for piece in context.speech() if isinstance(piece, Frame)]
        gaps = [after - before for before, after in pairwise(times)]
        assert max(gaps) == pytest.approx(0.15, abs=0.02)

    on_call(script, ToneVoice(fault=Fault(after=9, error=GONE, uses=1)))


def test_text_that_comes_after_a_loss_is_spoken_too() -> None:
    async def script(kept: Kept) -> None:
        context = kept.voice.begin()
        speaking = asyncio.create_task(heard(context))
        await context.say("One two. ")
        await context.flush()
        await asyncio.sleep(2.0)
        await context.say("Three.")
        await context.end()
        await speaking
        assert [text.strip() for text in voice.texts] == ["One two.", "two. Three."]

    voice = ToneVoice(fault=Fault(after=4, error=GONE, uses=1))
    on_call(script, voice)


def test_a_stall_is_a_loss() -> None:
    async def script(kept: Kept) -> None:
        await kept.say()
        assert asyncio.get_running_loop().time() < 8.0
        assert len(voice.sessions) == 2

    voice = ToneVoice(fault=Fault(after=9, uses=1))
    assert "within 5 s" in str(on_call(script, voice).lost[0])


def test_a_pause_of_the_text_is_no_stall() -> None:
    async def script(kept: Kept) -> None:
        context = kept.voice.begin()
        speaking = asyncio.create_task(heard(context))
        await context.say("One two. ")
        await context.flush()
        await asyncio.sleep(60.0)
        await context.say("Three.")
        await context.end()
        assert seconds(await speaking) == pytest.approx(3 * WORD_SECONDS)

    assert on_call(script, ToneVoice()).lost == []


@pytest.mark.parametrize("status", [401, 404])
def test_a_refusal_is_not_tried_again(status: int) -> None:
    async def script(kept: Kept) -> None:
        await asyncio.sleep(0.1)
        with pytest.raises(ServiceError, match="refused"):
            await kept.say()
        assert voice.attempts == 2

    refused = ServiceError("tones", "refused", status=status)
    voice = ToneVoice(refusals=[refused, refused])
    on_call(script, voice)


def test_a_connection_is_tried_three_times() -> None:
    async def script(kept: Kept) -> None:
        assert seconds(await kept.say()) == pytest.approx(8 * WORD_SECONDS)
        assert voice.attempts == 3

    voice = ToneVoice(refusals=[GONE, GONE])
    on_call(script, voice)


def test_sessions_that_say_nothing_are_given_up() -> None:
    async def script(kept: Kept) -> None:
        with pytest.raises(ServiceError, match="lost"):
            await kept.say()
        assert len(voice.sessions) == 2

    voice = ToneVoice(fault=Fault(error=GONE))
    on_call(script, voice)


def test_a_session_is_replaced_before_it_ends_while_the_agent_is_silent() -> None:
    async def script(kept: Kept) -> None:
        await kept.say()
        context = kept.voice.begin()
        await context.say(TEXT)
        await context.flush()
        await asyncio.sleep(95.0)
        assert len(voice.sessions) == 1  # it speaks, or may go on to
        await context.clear()
        await asyncio.sleep(0.1)
        assert len(voice.sessions) == 2
        assert voice.open == 1
        await asyncio.sleep(91.0)
        assert len(voice.sessions) == 3

    voice = ToneVoice(expires_after=100.0)
    assert on_call(script, voice).lost == []


def test_a_cleared_text_ends_at_once() -> None:
    async def script(kept: Kept) -> None:
        context = kept.voice.begin()
        speaking = asyncio.create_task(heard(context))
        await context.say(TEXT)
        await context.end()
        await asyncio.sleep(0.2)
        await context.clear()
        async with asyncio.timeout(0.5):
            assert seconds(await speaking) < 1.0
        assert voice.sessions[0].contexts[0].cleared

    voice = ToneVoice()
    on_call(script, voice)


def test_it_connects_while_it_rings_and_again_for_another_format() -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:

            async def run(work: Coroutine[Any, Any, None]) -> None:
                await work

            kept = Kept(voice, CallTasks(group, "call", run))
            await kept.voice.prepare(MULAW_8K)
            assert voice.attempts == 1
            kept.voice.open(kept.tasks, L16_16K)
            await asyncio.sleep(0.1)
            assert [session.closed for session in voice.sessions] == [True, False]
            assert voice.sessions[1].format is L16_16K
            await kept.voice.close()

    voice = ToneVoice()
    run_virtual(main())


def test_a_service_of_whole_sentences_needs_no_connection() -> None:
    async def script(kept: Kept) -> None:
        assert seconds(await kept.say()) == pytest.approx(8 * WORD_SECONDS)

    on_call(script, TimedSpeech())
