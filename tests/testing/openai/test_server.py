import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from mediaserver.testing.openai import (
    Hold,
    OpenAIServer,
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
