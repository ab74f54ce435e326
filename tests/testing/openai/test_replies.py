import asyncio

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from mediaserver.testing.openai import (
    At,
    Hold,
    OpenAIServer,
    fails,
    says,
    streams,
)


HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]


async def test_answers_come_in_the_order_given_and_then_the_usual_one(
    server: OpenAIServer, client: openai.AsyncOpenAI
) -> None:
    server.chat.answer = says("usual")
    server.chat.will(says("first"), fails(500), says("third"))
    answers: list[str | None] = []
    for _ in range(5):
        try:
            answer = await client.chat.completions.create(model="any", messages=HELLO)
        except openai.InternalServerError:
            answers.append(None)
        else:
            answers.append(answer.choices[0].message.content)
    assert answers == ["first", None, "third", "usual", "usual"]
    assert len(server.chat.received) == 5


async def test_an_answer_can_have_its_own_time(
    server: OpenAIServer, client: openai.AsyncOpenAI
) -> None:
    server.chat.will(says("a", At(0.02), "b", At(0.01), "c"))
    loop = asyncio.get_running_loop()
    begun = loop.time()
    stream = await client.chat.completions.create(model="any", messages=HELLO, stream=True)
    pieces = [chunk.choices[0].delta.content async for chunk in stream]
    assert [piece for piece in pieces if piece] == ["a", "b", "c"]
    assert loop.time() - begun >= 0.019


async def test_a_hold_waits_until_it_is_released() -> None:
    hold = Hold()
    waiting = asyncio.create_task(hold.wait())
    await hold.reached.wait()
    assert not waiting.done()
    hold.release()
    await waiting
    assert not hold.left.is_set()


async def test_a_hold_notes_that_the_connection_was_closed() -> None:
    hold = Hold()
    waiting = asyncio.create_task(hold.wait())
    await hold.reached.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert hold.left.is_set()


def test_a_failure_may_say_when_to_try_again() -> None:
    reply = fails(429, "slow down", code="rate_limit_exceeded", retry_after=1.5)
    assert (reply.status, reply.headers) == (429, {"retry-after": "1.5"})


def test_a_stream_is_of_events_and_pauses() -> None:
    hold = Hold()
    assert streams({"a": 1}, "[DONE]", hold, b": raw").body == [
        b'data: {"a": 1}\n\n',
        b"data: [DONE]\n\n",
        hold,
        b": raw",
    ]
