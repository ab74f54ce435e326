import asyncio

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from audiocodecs import encode_wav, silence
from mediaserver.testing.openai import (
    At,
    Hold,
    OpenAIServer,
    fails,
    says,
)


HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]


async def test_a_key_is_asked_for_if_there_is_one() -> None:
    async with OpenAIServer(api_key="right") as server:
        for key, right in (("wrong", False), ("right", True)):
            async with openai.AsyncOpenAI(base_url=server.base_url, api_key=key) as client:
                try:
                    await client.models.list()
                except openai.AuthenticationError:
                    assert not right
                else:
                    assert right
    assert server.refused == ["Incorrect API key provided."]


async def test_what_is_not_there_is_404_or_405(
    server: OpenAIServer, client: openai.AsyncOpenAI
) -> None:
    with pytest.raises(openai.NotFoundError):
        await client.post("/nothing", cast_to=object)
    with pytest.raises(openai.APIStatusError, match="DELETE is not allowed"):
        await client.delete("/models", cast_to=object)


async def test_it_closes_although_an_answer_is_held() -> None:
    async with OpenAIServer() as server:
        hold = Hold()
        server.chat.will(says("a", hold))
        client = openai.AsyncOpenAI(base_url=server.base_url, api_key="any")
        stream = await client.chat.completions.create(model="any", messages=HELLO, stream=True)
        await hold.reached.wait()
    assert hold.left.is_set()
    await stream.close()
    await client.close()


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


async def test_models_that_it_does_not_have_are_not_found() -> None:
    async with (
        OpenAIServer(models=["gpt-here"]) as server,
        openai.AsyncOpenAI(base_url=server.base_url, api_key="any") as client,
    ):
        assert [each.id async for each in client.models.list()] == ["gpt-here"]
        assert (await client.models.retrieve("gpt-here")).id == "gpt-here"
        with pytest.raises(openai.NotFoundError, match="'gpt-away' does not exist"):
            await client.models.retrieve("gpt-away")
    assert server.paths == ["/v1/models", "/v1/models/gpt-here", "/v1/models/gpt-away"]


async def test_speech_and_transcriptions_are_endpoints_of_their_own(
    server: OpenAIServer, client: openai.AsyncOpenAI
) -> None:
    spoken = await client.audio.speech.create(
        model="any", voice="alloy", input="Hello.", response_format="pcm"
    )
    assert spoken.content
    heard = await client.audio.transcriptions.create(
        model="any", file=("a.wav", encode_wav(silence(0.2, 8_000), 8_000))
    )
    assert heard.text == "Good morning."
    assert (len(server.speech.received), len(server.transcription.received)) == (1, 1)
