"""What ``anthropic`` sends to the local server, beside what we send: the same."""

from typing import Any

import pytest

from mediaserver.agents.services import Message, Text, Tokens, ToolCall, ToolResult, ToolSpec
from mediaserver.agents.services.anthropic.messages import CALL_BEGINS
from mediaserver.agents.services.anthropic.model import AnthropicModel
from mediaserver.testing.anthropic import (
    AnthropicServer,
    AnthropicToolUse,
    anthropic_answers,
    anthropic_refuses,
)


package: Any = pytest.importorskip("anthropic")

LOOK = ToolSpec("look", "Looks.", {"type": "object", "properties": {"at": {"type": "integer"}}})
CONVERSATION: list[Message] = [
    Text("system", "Be kind."),
    Text("assistant", "Hello."),
    Text("user", "Look at one."),
]


def client(server: AnthropicServer) -> Any:
    return package.AsyncAnthropic(api_key=server.api_key, base_url=server.base_url, max_retries=0)


async def theirs(client: Any, messages: list[dict[str, Any]]) -> tuple[list[str], Any]:
    """Ask as the package does; return the pieces of text, and the whole message."""
    async with client.messages.stream(
        model="claude-haiku-5-5",
        max_tokens=4096,
        messages=messages,
        system="Be kind.",
        tools=[{"name": "look", "description": "Looks.", "input_schema": dict(LOOK.parameters)}],
        thinking={"type": "adaptive", "display": "omitted"},
        output_config={"effort": "low"},
        cache_control={"type": "ephemeral", "ttl": "5m"},
    ) as stream:
        pieces = [piece async for piece in stream.text_stream]
        return pieces, await stream.get_final_message()


async def test_a_conversation_with_tools_and_thinking_is_the_same(
    anthropic: AnthropicServer,
) -> None:
    use = AnthropicToolUse("look", {"at": 1}, "a")
    replies = (
        anthropic_answers("Let me ", "see.", uses=[use], thinking=["s1"], redacted="r1"),
        anthropic_answers("Rain.", tokens=(20, 10, 300, 50)),
    )
    anthropic.messages.will(*replies, *replies)
    model = AnthropicModel(
        base_url=anthropic.base_url,
        api_key=anthropic.api_key,
        thinking="adaptive",
        effort="low",
    )
    *said, call, _ = [piece async for piece in model.respond(CONVERSATION, [LOOK])]
    assert isinstance(call, ToolCall)
    told = [*CONVERSATION, Text("assistant", "Let me see."), call, ToolResult(call.id, "rain")]
    ours = [piece async for piece in model.respond(told, [LOOK])]
    await model.close()

    messages: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": CALL_BEGINS}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Hello."}]},
        {"role": "user", "content": [{"type": "text", "text": "Look at one."}]},
    ]
    async with client(anthropic) as other:
        pieces, message = await theirs(other, messages)
        blocks = [block.model_dump(exclude_none=True) for block in message.content]
        messages += [
            {"role": "assistant", "content": blocks},
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "a", "content": "rain"}],
            },
        ]
        again, answer = await theirs(other, messages)

    assert anthropic.refused == []
    one, two, three, four = anthropic.messages.received
    assert (one.params, two.params) == (three.params, four.params)
    for name in ("authorization", "anthropic-version", "content-type"):
        assert one.headers[name] == three.headers[name]
    assert pieces == said
    assert [block["type"] for block in blocks] == [
        "thinking",
        "redacted_thinking",
        "text",
        "tool_use",
    ]
    assert (call.id, call.arguments) == (blocks[3]["id"], '{"at": 1}')
    assert call.extra["thinking_first"] == blocks[:2]
    usage = answer.usage
    read = usage.input_tokens + usage.cache_creation_input_tokens + usage.cache_read_input_tokens
    tokens = Tokens(read, usage.output_tokens, usage.cache_read_input_tokens)
    assert ours == [*again, tokens]
    assert not any(block.model_extra for block in answer.content)


async def test_a_misspelt_field_is_refused_to_the_package_too(anthropic: AnthropicServer) -> None:
    async with client(anthropic) as other:
        with pytest.raises(package.BadRequestError, match="unknown field `max_token`"):
            await other.messages.create(
                model="any",
                max_tokens=10,
                messages=[{"role": "user", "content": "hello"}],
                stream=True,
                extra_body={"max_token": 10},
            )


async def test_the_package_reads_the_errors_and_the_models(anthropic: AnthropicServer) -> None:
    anthropic.messages.will(anthropic_refuses(529, "Overloaded", "overloaded_error"))
    async with client(anthropic) as other:
        with pytest.raises(package.APIStatusError, match="Overloaded") as refused:
            await theirs(other, [{"role": "user", "content": "hello"}])
        assert refused.value.status_code == 529
        info = await other.models.retrieve("claude-haiku-5-5")
    assert info.capabilities.thinking.types.disabled.supported
    assert not info.capabilities.thinking.types.enabled.supported
    assert info.capabilities.effort.low.supported
