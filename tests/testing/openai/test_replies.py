import asyncio

import openai
from openai.types.chat import ChatCompletionMessageParam

from mediaserver.testing.openai import (
    At,
    OpenAIServer,
    fails,
    says,
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
