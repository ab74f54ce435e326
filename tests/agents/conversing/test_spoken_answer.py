"""Answers that are said by time, in virtual time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from mediaserver.agents.conversing.spoken_answer import SpokenAnswer
from mediaserver.agents.services import ServiceError
from mediaserver.call import StreamEndedError
from mediaserver.testing import in_virtual_time


class Said:
    """A speaker that notes when it is given what, and whether the voice has to begin with it."""

    def __init__(self, *, takes: float = 0.0, error: ServiceError | None = None) -> None:
        self.all: list[tuple[float, str, bool]] = []
        self._takes = takes
        self._error = error

    async def say(self, text: str, saying: object, *, flush: bool = True) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error
        self.all.append((round(asyncio.get_running_loop().time(), 3), text, flush))
        await asyncio.sleep(self._takes)

    def answer(self, *, after: float | None = 0.15, start: Any = None) -> SpokenAnswer:
        def begin(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
            return asyncio.create_task(work, name=name)

        speaker: Any = self
        saying: Any = None
        return SpokenAnswer(speaker, saying, start=start or begin, after=after)


async def write(answer: SpokenAnswer, text: str, *, each: float = 0.04) -> None:
    for index, word in enumerate(text.split(" ")):
        if index:
            await answer.add(" ")
        await answer.add(word)
        await asyncio.sleep(each)
    await answer.end()


@in_virtual_time
async def test_words_are_said_after_the_limit_and_only_the_first_begin_the_speech() -> None:
    said = Said()
    await write(said.answer(), "One two three four five six seven eight. Yes.")
    assert said.all == [
        (0.15, "One two three ", True),
        (0.31, "four five six seven ", False),
        (0.32, "eight. ", True),
        (0.36, "Yes.", True),
    ]


@in_virtual_time
async def test_without_a_limit_there_are_sentences() -> None:
    said = Said()
    await write(said.answer(after=None), "One two three four five six seven. Yes.")
    assert said.all == [(0.28, "One two three four five six seven. ", True), (0.32, "Yes.", True)]


@in_virtual_time
async def test_words_are_said_though_the_model_stalls_and_none_is_cut() -> None:
    said = Said()
    answer = said.answer()
    await answer.add("Hel")
    await asyncio.sleep(0.2)
    assert said.all == []
    await answer.add("lo the")
    await asyncio.sleep(5.0)
    assert said.all == [(0.35, "Hello ", True)]
    await answer.add("re.")
    await answer.end()
    assert said.all[1:] == [(5.2, "there.", True)]


@in_virtual_time
async def test_a_sentence_that_is_complete_in_time_is_said_whole() -> None:
    said = Said()
    await write(said.answer(), "One two. Three four. Five six.", each=0.06)
    assert [text for _, text, _ in said.all] == ["One two. ", "Three four. ", "Five six."]


@in_virtual_time
async def test_words_keep_their_order_while_the_voice_is_busy() -> None:
    said = Said(takes=0.4)
    await write(said.answer(), "One two. Three four five six seven eight nine. Ten.")
    assert "".join(text for _, text, _ in said.all) == (
        "One two. Three four five six seven eight nine. Ten."
    )


@in_virtual_time
async def test_the_failure_of_a_voice_is_raised_with_the_next_piece() -> None:
    said = Said(error=ServiceError("voice", "gone"))
    answer = said.answer()
    await answer.add("One two ")
    await asyncio.sleep(0.2)
    with pytest.raises(ServiceError, match="gone"):
        await answer.add("three ")


@pytest.mark.parametrize("stop", [SpokenAnswer.close, SpokenAnswer.restart])
@in_virtual_time
async def test_nothing_is_said_by_time_after_the_end(stop: Callable[[Any], None]) -> None:
    said = Said()
    answer = said.answer()
    await answer.add("One two ")
    stop(answer)
    await asyncio.sleep(1.0)
    assert (said.all, answer.said) == ([], False)


@in_virtual_time
async def test_a_voice_that_takes_words_is_not_asked_for_more_after_the_end() -> None:
    said = Said(takes=1.0)
    answer = said.answer()
    await answer.add("One two ")
    await asyncio.sleep(0.2)
    await answer.add("three four ")
    answer.close()
    await asyncio.sleep(2.0)
    assert [text for _, text, _ in said.all] == ["One two "]


@in_virtual_time
async def test_a_call_that_has_ended_starts_nothing() -> None:
    def start(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        work.close()
        raise StreamEndedError("the stream has ended")

    said = Said()
    await said.answer(start=start).add("One two ")
    await asyncio.sleep(1.0)
    assert said.all == []
