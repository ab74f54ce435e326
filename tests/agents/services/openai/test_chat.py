import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from mediaserver.agents.services import (
    NoAnswerError,
    ServiceError,
    Text,
    Tokens,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from mediaserver.agents.services.openai.chat import OpenAIChat
from mediaserver.agents.services.tool_arguments import meant_arguments
from mediaserver.testing.openai import (
    ChatToolCall,
    Disconnect,
    Hold,
    HttpReply,
    OpenAIServer,
    event,
    fails,
    says,
    streams,
)


HELLO = [Text("system", "Be brief."), Text("user", "hello")]
LOOK = ToolSpec("look", "Looks.", {"type": "object", "properties": {}})


async def answer(model: OpenAIChat, tools: list[ToolSpec] | tuple[()] = ()) -> Any:
    return [piece async for piece in model.respond(HELLO, tools)]


def delta(finish_reason: str | None = None, **fields: Any) -> dict[str, list[dict[str, Any]]]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish_reason}]}


async def test_the_answer_is_streamed_and_its_cost_told(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    server.chat.will(says("Good ", "morning.", tokens=(20, 5, 16)))
    assert await answer(use(OpenAIChat, "gpt-x")) == ["Good ", "morning.", Tokens(20, 5, 16)]
    (request,) = server.chat.received
    assert request.params["model"] == "gpt-x"
    assert request.params["messages"][0] == {"role": "system", "content": "Be brief."}
    assert "tools" not in request.params


async def test_a_piece_comes_while_the_model_still_writes(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    hold = Hold()
    server.chat.will(says("Good ", hold, "morning."))
    pieces = use(OpenAIChat, "any").respond(HELLO, [])
    assert await anext(pieces) == "Good "
    hold.release()
    assert await anext(pieces) == "morning."
    await pieces.aclose()


async def test_tools_are_offered_and_their_calls_put_together(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    calls = [ChatToolCall("look", '{"at": 1}', "a"), ChatToolCall("look", '{"at": 2}', "b")]
    server.chat.will(says("One moment.", calls=calls))
    text, *called, _ = await answer(use(OpenAIChat, "any"), [LOOK])
    assert text == "One moment."
    assert called == [ToolCall("a", "look", '{"at": 1}'), ToolCall("b", "look", '{"at": 2}')]
    assert server.chat.received[0].params["tools"][0]["function"]["name"] == "look"


async def test_what_the_provider_adds_to_a_call_is_sent_back(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    extra = {"extra_content": {"google": {"thought_signature": "abc"}}}
    server.chat.will(says(calls=[ChatToolCall("look", extra=extra), ChatToolCall("look", id="b")]))
    model = use(OpenAIChat, "any")
    *calls, _ = await answer(model, [LOOK])
    messages = [*HELLO, *calls, *(ToolResult(call.id, "nothing") for call in calls)]
    assert [piece async for piece in model.respond(messages, [LOOK])]
    first, second = server.chat.received[1].params["messages"][2]["tool_calls"]
    assert first["extra_content"] == extra["extra_content"]
    assert "extra_content" not in second


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
async def test_reasoning_in_a_field_of_its_own_is_no_text(
    server: OpenAIServer, use: Callable[..., Any], name: str
) -> None:
    server.chat.will(
        streams(delta(**{name: "A tandem?"}), delta(content="Yes."), delta("stop"), "[DONE]")
    )
    assert await answer(use(OpenAIChat, "any")) == ["Yes."]


async def test_ids_that_a_server_leaves_out_are_made_up(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    server.chat.will(says(calls=[ChatToolCall("look", id=None), ChatToolCall("look", id=None)]))
    first, second, _ = await answer(use(OpenAIChat, "any"))
    assert first.id != second.id


async def test_tool_calls_come_before_the_cost_is_known(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    hold = Hold()
    call = delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "look"}}])
    server.chat.will(streams(call, delta("tool_calls"), hold))
    pieces = use(OpenAIChat, "any").respond(HELLO, [])
    assert await anext(pieces) == ToolCall("a", "look", "{}")
    await pieces.aclose()


async def test_tool_calls_without_a_finish_reason_come_with_the_end(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    call = delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "look"}}])
    server.chat.will(streams(call, "[DONE]"))
    assert await answer(use(OpenAIChat, "any")) == [ToolCall("a", "look", "{}")]


async def test_a_refusal_is_said(server: OpenAIServer, use: Callable[..., Any]) -> None:
    server.chat.will(says(refusal="I cannot help with that."))
    assert "I cannot help with that." in await answer(use(OpenAIChat, "any"))


async def test_options_are_sent(server: OpenAIServer, use: Callable[..., Any]) -> None:
    extra = {"reasoning_effort": "minimal", "max_completion_tokens": 99}
    await answer(use(OpenAIChat, "any", temperature=0.3, extra=extra))
    params = server.chat.received[0].params
    assert params["temperature"] == 0.3
    assert extra.items() <= params.items()


def test_fields_that_it_sets_itself_are_refused() -> None:
    with pytest.raises(ValueError, match=r"OpenAIChat sets itself: .'messages', 'stream'."):
        OpenAIChat("any", extra={"stream": False, "messages": []})


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(TypeError, match="temprature"):
        cast(Any, OpenAIChat)("any", temprature=0.5)


async def test_a_server_that_refuses_to_tell_the_cost_is_asked_without_from_then_on(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    server.chat.will(fails(400, "stream_options: extra inputs are not permitted"))
    model = use(OpenAIChat, "any")
    assert await answer(model) == ["Good morning. ", "How can I help?"]
    await answer(model)
    asked = ["stream_options" in request.params for request in server.chat.received]
    assert asked == [True, False, False]


async def test_another_bad_request_is_an_error(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    server.chat.will(fails(400, "too long"))
    with pytest.raises(ServiceError, match="400: too long"):
        await answer(use(OpenAIChat, "any"))
    assert len(server.chat.received) == 1


async def test_the_cost_need_not_be_asked_for(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    assert all(isinstance(piece, str) for piece in await answer(use(OpenAIChat, "m", usage=False)))


async def test_a_server_that_never_tells_the_cost_is_all_right(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    server.chat.will(streams(delta(content="hi"), delta("stop"), "[DONE]"))
    assert await answer(use(OpenAIChat, "any")) == ["hi"]


async def test_a_cost_that_is_told_with_each_piece_counts_once(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 1}
    one, two = delta(content="hi") | {"usage": usage}, delta("stop") | {"usage": usage}
    server.chat.will(streams(one, two, "[DONE]"))
    assert await answer(use(OpenAIChat, "any")) == ["hi", Tokens(7, 1)]


async def test_an_end_without_done_is_an_end(server: OpenAIServer, use: Callable[..., Any]) -> None:
    server.chat.will(streams(delta(content="hi"), delta("stop")))
    assert await answer(use(OpenAIChat, "any")) == ["hi"]


async def test_a_model_may_have_nothing_to_say(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    server.chat.will(says())
    assert await answer(use(OpenAIChat, "any")) == [Tokens(20, 10)]


@pytest.mark.parametrize("reason", ["tool_calls", "function_call_filter: MALFORMED_FUNCTION_CALL"])
async def test_an_answer_that_ends_for_a_tool_call_that_does_not_come_is_no_answer(
    server: OpenAIServer, use: Callable[..., Any], reason: str
) -> None:
    cost = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}
    server.chat.will(streams(delta(content="One moment."), delta(reason), cost, "[DONE]"))
    pieces = use(OpenAIChat, "any").respond(HELLO, [LOOK])
    assert [await anext(pieces), await anext(pieces)] == ["One moment.", Tokens(9, 1)]
    with pytest.raises(NoAnswerError, match="a tool call that did not come"):
        await anext(pieces)


@pytest.mark.parametrize("arguments", [None, [], {}, "", "null"])
async def test_a_call_may_come_without_arguments(
    server: OpenAIServer, use: Callable[..., Any], arguments: object
) -> None:
    call = {"index": 0, "id": "a", "function": {"name": "look", "arguments": arguments}}
    server.chat.will(streams(delta(tool_calls=[call]), delta("tool_calls"), "[DONE]"))
    (made,) = await answer(use(OpenAIChat, "any"), [LOOK])
    assert (made.name, meant_arguments(made.arguments)) == ("look", "{}")


async def test_an_answer_cut_by_its_token_limit_is_said(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    server.chat.will(says("It is half past", finish_reason="length"))
    assert "It is half past" in await answer(use(OpenAIChat, "any"))


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (streams(), "no answer came"),
        (streams(delta(content="hi")), "the answer broke off"),
        (streams("{not json"), "an answer that cannot be decoded"),
        (streams({"choices": "none"}), "an answer that cannot be decoded"),
        (streams(delta(content=7)), "an answer that cannot be decoded"),
        (streams(b"data: \xff\xfe\n\n"), "an answer that cannot be decoded"),
        (streams({"error": {"message": "out of memory"}}), "in the answer: out of memory"),
        (streams({"error": "gone"}), "in the answer: gone"),
        (streams(delta(tool_calls=[{"index": "one"}])), "an answer that cannot be decoded"),
        (streams(delta(tool_calls=[{"index": 0}]), delta("stop")), "a tool call without a name"),
        (says("He", finish_reason="content_filter"), "the content filter stopped the answer"),
        (says(finish_reason="length"), "reached before the first word"),
        (says(calls=[ChatToolCall("look")], finish_reason="length"), "reached within a tool call"),
        (HttpReply([b"<html>Welcome</html>"], "text/html"), "text/html instead of .*Welcome"),
        (
            HttpReply([b'{"choices": []}']),
            "answered with application/json instead of text/event-stream",
        ),
        (HttpReply([event({}), Disconnect()], "text/event-stream"), "the connection .* was lost"),
    ],
)
async def test_an_answer_that_is_none_is_an_error(
    server: OpenAIServer,
    use: Callable[..., Any],
    reply: Callable[..., Any] | HttpReply,
    reason: str,
) -> None:
    server.chat.will(reply)
    with pytest.raises(ServiceError, match=reason):
        await answer(use(OpenAIChat, "any"))


async def test_what_came_before_a_lost_connection_was_yielded(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    server.chat.will(says("Good ", Disconnect()))
    pieces = use(OpenAIChat, "any").respond(HELLO, [])
    assert await anext(pieces) == "Good "
    with pytest.raises(ServiceError, match=r"the connection .* was lost"):
        await anext(pieces)


async def test_a_slow_first_byte_is_given_up(server: OpenAIServer, use: Callable[..., Any]) -> None:
    hold = Hold()
    server.chat.will(HttpReply([hold]))
    with pytest.raises(ServiceError, match=r"no answer within 0\.1 s"):
        await answer(use(OpenAIChat, "any", first_timeout=0.1))
    await asyncio.wait_for(hold.left.wait(), 5)


async def test_a_stall_is_given_up(server: OpenAIServer, use: Callable[..., Any]) -> None:
    hold = Hold()
    server.chat.will(says("Good ", hold))
    with pytest.raises(ServiceError, match=r"did not go on within 0\.1 s"):
        await answer(use(OpenAIChat, "any", stall_timeout=0.1))
    await asyncio.wait_for(hold.left.wait(), 5)


async def test_retries_do_not_stretch_the_deadline(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    server.chat.answer = fails(503, retry_after=1)
    with pytest.raises(ServiceError, match=r"no answer within 0\.2 s"):
        await answer(use(OpenAIChat, "any", max_retries=5, first_timeout=0.2))


async def test_closing_ends_the_request_at_once(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    hold = Hold()
    server.chat.will(says("Good ", hold))
    pieces = use(OpenAIChat, "any").respond(HELLO, [])
    await anext(pieces)
    await pieces.aclose()
    await asyncio.wait_for(hold.left.wait(), 5)


@pytest.mark.parametrize("pieces", [(), ("Good ",)])
async def test_cancelling_ends_the_request_at_once(
    server: OpenAIServer, use: Callable[..., Any], pieces: tuple[()] | tuple[str]
) -> None:
    hold = Hold()
    server.chat.will(says(*pieces, hold) if pieces else HttpReply([hold]))
    task = asyncio.create_task(answer(use(OpenAIChat, "any")))
    await asyncio.wait_for(hold.reached.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(hold.left.wait(), 5)


async def test_an_empty_conversation_is_not_sent(
    server: OpenAIServer, use: Callable[..., Any]
) -> None:
    with pytest.raises(ServiceError, match="nothing to respond to"):
        await anext(use(OpenAIChat, "any").respond([Text("user", " ")], []))
    assert not server.chat.received
