"""A text that comes in pieces, spoken by a service that takes whole sentences."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from audiocodecs import MULAW_8K
from mediaserver.agents.conversing.sentence_voice import SentenceSession, SentenceVoice
from mediaserver.agents.services import ServiceError, Voice, WordMark
from mediaserver.call import Frame
from mediaserver.testing import run_virtual
from mediaserver.testing.services import WORD_SECONDS, Fault, TimedSpeech, Timing


def speaking(
    script: Callable[[SentenceSession], Coroutine[Any, Any, None]],
    service: TimedSpeech | None = None,
) -> TimedSpeech:
    service = service or TimedSpeech()
    voice: Voice = SentenceVoice(service, patience=5.0)

    async def main() -> None:
        session: Any = await voice.connect(MULAW_8K)
        await script(session)
        await session.close()
        await asyncio.sleep(0)

    run_virtual(main())
    assert service.open == 0
    return service


async def heard(context: Any) -> list[Any]:
    return [piece async for piece in context.speech()]


def seconds(pieces: list[Any]) -> float:
    return sum(piece.seconds for piece in pieces if isinstance(piece, Frame))


def test_a_sentence_is_what_comes_between_two_flushes() -> None:
    async def script(session: SentenceSession) -> None:
        context = session.begin()
        for piece in ("One ", "two. "):
            await context.say(piece)
        await context.flush()
        await context.flush()
        await context.say("Three.")
        await context.end()
        assert seconds(await heard(context)) == pytest.approx(3 * WORD_SECONDS)

    assert speaking(script).texts == ["One two. ", "Three."]


def test_marks_count_the_whole_text_and_each_sentence_ends_with_one() -> None:
    async def script(session: SentenceSession) -> None:
        context = session.begin()
        for sentence in ("One two. ", "Three."):
            await context.say(sentence)
            await context.flush()
        await context.end()
        marks = [piece for piece in await heard(context) if isinstance(piece, WordMark)]
        assert [mark.end for mark in marks] == [3, 8, 9, 15, 15]
        assert [mark.seconds for mark in marks] == pytest.approx([0.24, 0.54, 0.6, 0.84, 0.9])

    speaking(script)


def test_two_sentences_are_synthesised_at_a_time_even_of_two_texts() -> None:
    async def script(session: SentenceSession) -> None:
        first, second = session.begin(), session.begin()
        await first.say("One. ")
        await first.end()
        for sentence in ("Two. ", "Three."):
            await second.say(sentence)
            flushing = asyncio.create_task(second.flush())
            await asyncio.sleep(0.1)
        assert not flushing.done()
        assert service.texts == ["One. ", "Two. "]
        await heard(first)
        await flushing
        assert service.texts == ["One. ", "Two. ", "Three."]

    service = TimedSpeech()
    speaking(script, service)


def test_a_cleared_text_ends_and_its_synthesis_too() -> None:
    async def script(session: SentenceSession) -> None:
        context = session.begin()
        for sentence in ("One. ", "Two. "):
            await context.say(sentence)
            await context.flush()
        await context.say("Three.")
        waits = [asyncio.create_task(each) for each in (heard(context), context.flush())]
        await asyncio.sleep(0.2)
        await context.clear()
        async with asyncio.timeout(1.0):
            await asyncio.gather(*waits)
        assert not session.is_full

    assert speaking(script, TimedSpeech(timing=Timing(0.1, 30.0))).texts == ["One. ", "Two. "]


def test_a_failure_comes_after_the_sentences_before_it() -> None:
    async def script(session: SentenceSession) -> None:
        context = session.begin()
        await context.say("One two.")
        await context.end()
        with pytest.raises(ServiceError, match="gone"):
            await heard(context)

    speaking(script, TimedSpeech(fault=Fault(after=1, error=ServiceError("tts", "gone"))))


def test_a_text_that_is_empty_ends_at_once() -> None:
    async def script(session: SentenceSession) -> None:
        context = session.begin()
        await context.end()
        assert await heard(context) == []

    speaking(script)
