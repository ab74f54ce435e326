from typing import Any

import pytest

from mediaserver.agents.services import (
    MisconfiguredServiceError,
    ServiceError,
    Text,
    Tokens,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from mediaserver.agents.services.anthropic.model import AnthropicModel
from mediaserver.testing.anthropic import AnthropicServer, AnthropicToolUse, anthropic_answers
from mediaserver.testing.replies import Disconnect, Hold, HttpReply, streams


HELLO = [Text("system", "Be brief."), Text("user", "hello")]
LOOK = ToolSpec("look", "Looks.", {"type": "object", "properties": {"at": {"type": "integer"}}})


async def answer(model: AnthropicModel, conversation: Any = HELLO, tools: Any = ()) -> list[Any]:
    return [piece async for piece in model.respond(conversation, tools)]


def made(server: AnthropicServer, *args: Any, **settings: Any) -> AnthropicModel:
    reached: Any = {"base_url": server.base_url, "api_key": server.api_key, "max_retries": 0}
    return AnthropicModel(*args, **reached | settings)


async def test_an_answer_comes_in_pieces_with_its_cost(
    anthropic: AnthropicServer, model: AnthropicModel
) -> None:
    anthropic.messages.will(anthropic_answers("Good ", "morning.", tokens=(20, 10, 300, 50)))
    assert await answer(model) == ["Good ", "morning.", Tokens(370, 10, 300)]
    (received,) = anthropic.messages.received
    assert received.params == {
        "model": "claude-haiku-5-5",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}],
        "stream": True,
        "system": "Be brief.",
        "thinking": {"type": "adaptive", "display": "omitted"},
        "cache_control": {"type": "ephemeral", "ttl": "5m"},
    }
    assert received.headers["authorization"] == f"Bearer {anthropic.api_key}"
    assert received.headers["anthropic-version"] == "2026-10-21"


async def test_thinking_goes_back_with_its_call_until_the_answer_is_over(
    anthropic: AnthropicServer, model: AnthropicModel
) -> None:
    uses = [AnthropicToolUse("look", {"at": 1}, "a"), AnthropicToolUse("look", {"at": 2}, "b")]
    again = [AnthropicToolUse("look", {"at": 3}, "c")]
    anthropic.messages.will(
        anthropic_answers("Let me ", "see.", uses=uses, thinking=["s1"], redacted="r1"),
        anthropic_answers(uses=again, thinking=["s2"]),
    )
    *said, first, second, _ = await answer(model, HELLO, [LOOK])
    assert said == ["Let me ", "see."]
    assert (first, second) == (
        ToolCall("a", "look", '{"at": 1}'),
        ToolCall("b", "look", '{"at": 2}'),
    )
    messages = [*HELLO, Text("assistant", "Let me see."), first, second]
    messages += [ToolResult("b", "no"), ToolResult("a", "yes")]
    third, _ = await answer(model, messages, [LOOK])
    messages += [third, ToolResult("c", "so")]
    assert await answer(model, messages, [LOOK])
    await answer(model, [*messages, Text("assistant", "So."), Text("user", "Thanks.")], [LOOK])

    asked = [received.params["messages"] for received in anthropic.messages.received]
    signed = [
        [block.get("signature") or block.get("data") for each in one for block in each["content"]]
        for one in asked
    ]
    assert [list(filter(None, each)) for each in signed] == [
        [],
        ["s1", "r1"],
        ["s1", "r1", "s2"],
        [],
    ]
    assert anthropic.refused == []


@pytest.mark.parametrize("changed", ["Be long.", "Be brief."])
async def test_thinking_that_the_api_does_not_take_back_is_left_out(
    anthropic: AnthropicServer, model: AnthropicModel, changed: str
) -> None:
    anthropic.messages.will(anthropic_answers(uses=[AnthropicToolUse("look")], thinking=["s1"]))
    call, _ = await answer(model, HELLO, [LOOK])
    messages = [Text("system", changed), HELLO[1], call, ToolResult(call.id, "yes")]
    assert (await answer(model, messages, [LOOK]))[0] == "Good morning. "
    bound = ["bound to a different conversation" in each for each in anthropic.refused]
    assert bound == ([True] if changed != "Be brief." else [])


async def test_any_other_refusal_is_raised(
    anthropic: AnthropicServer, model: AnthropicModel
) -> None:
    misspelt = made(anthropic, extra={"metadata": {"userid": "x"}})
    with pytest.raises(ServiceError, match=r"400: .*unknown field `userid`") as refused:
        await answer(misspelt)
    assert refused.value.status == 400
    await misspelt.close()
    assert len(anthropic.refused) == 1


async def test_settings_come_in_the_form_of_the_api(anthropic: AnthropicServer) -> None:
    async with AnthropicServer(thinking=["enabled"]) as server:
        model = made(
            server,
            "claude-haiku-4-5",
            max_tokens=2000,
            thinking=1024,
            effort="low",
            cache="1h",
            extra={"output_config": {"format": {"type": "json_schema"}}, "speed": "fast"},
        )
        await answer(model, HELLO, [LOOK])
        await model.close()
        params = server.messages.received[0].params
    assert params["thinking"] == {"type": "enabled", "budget_tokens": 1024}
    assert params["output_config"] == {"effort": "low", "format": {"type": "json_schema"}}
    assert params["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert (params["max_tokens"], params["speed"]) == (2000, "fast")
    assert params["tools"] == [
        {"name": "look", "description": "Looks.", "input_schema": dict(LOOK.parameters)}
    ]
    plain = made(anthropic, thinking=None, cache=None)
    await answer(plain, [Text("user", "hello")])
    await plain.close()
    assert {*anthropic.messages.received[0].params} == {
        "model",
        "max_tokens",
        "messages",
        "stream",
    }


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (streams("{"), "cannot be read"),
        (HttpReply([b"<html>"], "text/html"), "text/html instead of events"),
        (anthropic_answers("So", Disconnect()), "broke off"),
        (anthropic_answers("So", stop=""), "broke off"),
        (
            anthropic_answers(stop="refusal", details={"category": "cyber"}),
            r"refused to answer \(cyber\)",
        ),
        (
            anthropic_answers(uses=[AnthropicToolUse("look", {"at": 1}, cut=5)], stop="max_tokens"),
            "within a tool call",
        ),
        (
            streams(
                {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
            ),
            r"529: Overloaded \(overloaded_error\)",
        ),
    ],
)
async def test_an_answer_of_no_use_says_why(
    anthropic: AnthropicServer, model: AnthropicModel, reply: HttpReply, said: str
) -> None:
    anthropic.messages.will(reply)
    with pytest.raises(ServiceError, match=said):
        await answer(model)


async def test_an_answer_may_come_in_chunks_of_any_size(
    anthropic: AnthropicServer, model: AnthropicModel
) -> None:
    whole = b"".join(p for p in anthropic_answers("Good ", "day.").body if isinstance(p, bytes))
    odd = [whole[at : at + 7] for at in range(0, len(whole), 7)]
    anthropic.messages.will(HttpReply(odd, "text/event-stream"))
    assert (await answer(model))[:2] == ["Good ", "day."]


@pytest.mark.parametrize("begun", [False, True])
async def test_a_stall_is_noticed_though_the_connection_is_kept(
    anthropic: AnthropicServer, begun: bool
) -> None:
    hold = Hold()
    ping = b'event: ping\ndata: {"type": "ping"}\n\n'
    reply = (
        anthropic_answers("So", ping, hold)
        if begun
        else HttpReply([ping, hold], "text/event-stream")
    )
    anthropic.messages.will(reply)
    model = made(anthropic, first_timeout=0.2, stall_timeout=0.1)
    with pytest.raises(ServiceError, match="within 0.1 s" if begun else "within 0.2 s"):
        await answer(model)
    await hold.left.wait()
    await model.close()


async def test_nothing_is_asked_without_a_text(model: AnthropicModel) -> None:
    with pytest.raises(ServiceError, match="no message has any text"):
        await answer(model, [Text("system", "Be brief."), Text("user", " ")])


async def test_the_check_finds_thinking_that_the_model_does_not_take(
    anthropic: AnthropicServer, model: AnthropicModel
) -> None:
    await model.prewarm()
    await model.check()
    assert anthropic.opened == 1
    async with AnthropicServer(thinking=["adaptive"]) as server:
        other = made(server)
        with pytest.raises(MisconfiguredServiceError, match="does not take thinking='disabled'"):
            await other.check()
        await other.close()
    assert (model.model, model.provider) == ("claude-haiku-5-5", "127.0.0.1")
    assert AnthropicModel().provider == "anthropic"


async def test_a_missing_key_is_named() -> None:
    with pytest.raises(MisconfiguredServiceError, match="set ANTHROPIC_API_KEY"):
        await AnthropicModel().check()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"thinking": "lots"}, "thinking must be one of"),
        ({"thinking": True}, "thinking must be one of"),
        ({"thinking": 1000}, "1024 tokens or more"),
        ({"thinking": 4096}, "fewer than max_tokens"),
        ({"effort": "most"}, "effort must be one of low"),
        ({"cache": "1d"}, "cache must be"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"model": ""}, "model must be a text"),
        ({"extra": {"messages": []}}, "sets itself"),
        ({"first_timeout": 0}, "first_timeout"),
        ({"stall_timeout": 0}, "stall_timeout"),
        ({"base_url": "api.anthropic.com"}, "base_url must look like"),
    ],
)
def test_a_wrong_setting_is_refused_at_once(settings: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        AnthropicModel(**settings)
