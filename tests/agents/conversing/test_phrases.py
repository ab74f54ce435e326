import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from audiocodecs import L16_8K, MULAW_8K, AudioFormat
from mediaserver import Frame
from mediaserver.agents.conversing.phrases import PhraseCache
from mediaserver.agents.services import ServiceError, WordMark
from mediaserver.testing import run_virtual
from mediaserver.testing.services import Fault, TimedSpeech


LONG = " ".join(["One two three four five."] * 6)


async def say(
    phrases: Any, speech: TimedSpeech, text: str = "Hello.", format: AudioFormat = MULAW_8K
) -> list[Frame | WordMark]:
    return [piece async for piece in phrases.speak(speech, text, format, patience=5.0)]


def test_a_phrase_is_synthesised_once() -> None:
    async def main() -> None:
        first = await say(phrases, speech)
        assert await say(phrases, speech) == first
        assert speech.uses == 1

    phrases, speech = PhraseCache(), TimedSpeech()
    run_virtual(main())


def test_another_text_format_or_service_is_another_phrase() -> None:
    async def main() -> None:
        await say(phrases, speech)
        await say(phrases, speech, "Bye.")
        await say(phrases, speech, format=L16_8K)
        await say(phrases, TimedSpeech())
        assert speech.uses == 3
        assert len(phrases) == 4

    phrases, speech = PhraseCache(), TimedSpeech()
    run_virtual(main())


def test_calls_at_the_same_time_have_it_made_once() -> None:
    async def main() -> None:
        results = await asyncio.gather(*(say(phrases, speech) for _ in range(10)))
        assert all(result == results[0] for result in results)
        assert speech.uses == 1

    phrases, speech = PhraseCache(), TimedSpeech()
    run_virtual(main())


def test_what_was_broken_off_is_not_kept() -> None:
    async def main() -> None:
        pieces = phrases.speak(speech, "Hello.", MULAW_8K, patience=5.0)
        await anext(pieces)
        await pieces.aclose()
        assert phrases.get(speech, "Hello.", MULAW_8K) is None
        assert len(await say(phrases, speech)) > 1

    phrases, speech = PhraseCache(), TimedSpeech()
    run_virtual(main())
    assert speech.open == 0


def test_a_call_that_plays_it_slowly_does_not_hold_up_another() -> None:
    async def main() -> None:
        slow = phrases.speak(speech, LONG, MULAW_8K, patience=5.0)
        first = await anext(slow)
        whole = await say(phrases, speech, LONG)
        assert whole[0] is first
        assert asyncio.get_running_loop().time() < 2.0
        assert [first, *[piece async for piece in slow]] == whole
        assert speech.uses == 1

    phrases, speech = PhraseCache(), TimedSpeech()
    run_virtual(main())


def test_a_call_that_leaves_does_not_take_it_from_the_others() -> None:
    async def main() -> None:
        pieces = phrases.speak(speech, LONG, MULAW_8K, patience=5.0)
        await anext(pieces)
        waiting = asyncio.create_task(say(phrases, speech, LONG))
        await asyncio.sleep(0)
        await pieces.aclose()
        assert tuple(await waiting) == phrases.get(speech, LONG, MULAW_8K)
        assert speech.uses == 1

    phrases, speech = PhraseCache(), TimedSpeech()
    run_virtual(main())


def test_a_failure_is_told_to_all_who_wait() -> None:
    async def main() -> None:
        results = await asyncio.gather(
            *(say(phrases, speech) for _ in range(3)), return_exceptions=True
        )
        assert [str(result) for result in results] == ["text_to_speech: gone"] * 3
        assert speech.uses == 1

    phrases = PhraseCache()
    speech = TimedSpeech(fault=Fault(after=1, error=ServiceError("text_to_speech", "gone")))
    run_virtual(main())


def test_a_phrase_of_which_nothing_came_is_not_kept() -> None:
    class Mute(TimedSpeech):
        async def speak(self, text: str, format: AudioFormat) -> AsyncGenerator[Any, None]:
            if not text:
                yield

    async def main() -> None:
        with pytest.raises(ServiceError, match="no audio came"):
            await say(phrases, mute)
        assert len(phrases) == 0

    phrases, mute = PhraseCache(), Mute()
    run_virtual(main())


def test_a_failure_is_told_and_the_next_try_is_a_new_one() -> None:
    async def main() -> None:
        with pytest.raises(ServiceError, match="gone"):
            await phrases.prepare(speech, "Hello.", MULAW_8K, patience=5.0)
        await phrases.prepare(speech, "Hello.", MULAW_8K, patience=5.0)
        assert phrases.get(speech, "Hello.", MULAW_8K)

    phrases = PhraseCache()
    speech = TimedSpeech(fault=Fault(error=ServiceError("text_to_speech", "gone"), uses=1))
    run_virtual(main())


def test_there_are_no_more_than_the_limit() -> None:
    async def main() -> None:
        for text in ("One.", "Two.", "One.", "Three."):
            await say(phrases, speech, text)
        assert len(phrases) == 2
        assert phrases.get(speech, "Two.", MULAW_8K) is None
        assert phrases.get(speech, "One.", MULAW_8K)

    phrases, speech = PhraseCache(limit=2), TimedSpeech()
    run_virtual(main())
