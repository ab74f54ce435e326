import openai
from openai.types.chat import ChatCompletionMessageParam

from mediaserver.testing.openai import (
    ChatToolCall,
    OpenAIServer,
    says,
)


HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]


async def test_a_chat_is_answered_in_one_piece(
    server: OpenAIServer, client: openai.AsyncOpenAI
) -> None:
    server.chat.will(says("Good ", "morning.", calls=[ChatToolCall("look", '{"at": 1}', None)]))
    answer = await client.chat.completions.create(model="any", messages=HELLO)
    (choice,) = answer.choices
    assert choice.message.content == "Good morning."
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert call.to_dict()["function"] == {"name": "look", "arguments": '{"at": 1}'}
    assert choice.finish_reason == "tool_calls"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 30


async def test_a_chat_is_streamed_as_openais_own_client_reads_it(
    server: OpenAIServer, client: openai.AsyncOpenAI
) -> None:
    server.chat.will(says("Good ", "morning.", calls=[ChatToolCall("look")]))
    stream = await client.chat.completions.create(
        model="any", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == "Good morning."
    assert any(delta.tool_calls for delta in deltas)
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.prompt_tokens == 20
