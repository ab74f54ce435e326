import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.agents.services import Message, Text, ToolCall, ToolResult, ToolSpec
from mediaserver.agents.services.openai.chat_messages import chat_messages, chat_tools
from mediaserver.testing.openai import check_chat


def checked(messages: Any, tools: Any = ()) -> Any:
    """Return the messages as the local server understands them, or raise what it refuses."""
    return check_chat({"model": "any", "messages": messages, "stream": True, "tools": list(tools)})


call_ids = st.sampled_from(["", "a", "b", "c"])
messages = st.one_of(
    st.builds(Text, st.sampled_from(["system", "user", "assistant"]), st.text(max_size=5)),
    st.builds(
        ToolCall,
        call_ids,
        st.sampled_from(["look", "look.up", "", "x" * 99, "größe"]),
        st.sampled_from(["{}", '{"a": 1}', "", "[1]", "no json", '{"a"']),
    ),
    st.builds(ToolResult, call_ids, st.text(max_size=5)),
)


@given(st.lists(messages, max_size=12))
def test_any_conversation_becomes_a_valid_sequence(conversation: Any) -> None:
    converted: Any = chat_messages(conversation)
    if converted:
        checked(converted)
    calls = [call for message in converted for call in message.get("tool_calls", ())]
    assert len(calls) == sum(isinstance(message, ToolCall) for message in conversation)
    assert all(isinstance(json.loads(call["function"]["arguments"]), dict) for call in calls)
    said = [message.get("content") or "" for message in converted if message["role"] != "tool"]
    for message in conversation:
        if isinstance(message, Text) and message.text.strip():
            assert any(message.text in content for content in said)


@given(st.lists(messages, max_size=12))
def test_no_side_speaks_twice_in_a_row(conversation: Any) -> None:
    roles = [
        (message["role"], "tool_calls" in message)
        for message in chat_messages(conversation)
        if message["role"] != "tool"
    ]
    for before, after in pairwise(roles):
        assert before != after or before[1]


CALL = ToolCall("a", "look", '{"at": "clock"}')
CALL_PARAM = {
    "id": "a",
    "type": "function",
    "function": {"name": "look", "arguments": '{"at": "clock"}'},
}


def test_tool_calls_in_a_row_are_one_message_with_the_text_before_them() -> None:
    conversation: list[Message] = [
        Text("system", "Be brief."),
        Text("user", "Time?"),
        Text("assistant", "One moment."),
        CALL,
        ToolCall("b", "listen", "{}"),
        ToolResult("a", "noon"),
        ToolResult("b", "silence"),
        Text("assistant", "Noon."),
    ]
    second = {"id": "b", "type": "function", "function": {"name": "listen", "arguments": "{}"}}
    assert chat_messages(conversation) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Time?"},
        {"role": "assistant", "content": "One moment.", "tool_calls": [CALL_PARAM, second]},
        {"role": "tool", "tool_call_id": "a", "content": "noon"},
        {"role": "tool", "tool_call_id": "b", "content": "silence"},
        {"role": "assistant", "content": "Noon."},
    ]


def test_a_call_without_a_result_was_cancelled() -> None:
    assert chat_messages([CALL, Text("user", "Never mind.")]) == [
        {"role": "assistant", "tool_calls": [CALL_PARAM]},
        {"role": "tool", "tool_call_id": "a", "content": "cancelled"},
        {"role": "user", "content": "Never mind."},
    ]


def test_a_late_result_follows_its_call() -> None:
    conversation: list[Message] = [
        CALL,
        Text("assistant", "Not yet."),
        ToolResult("a", "noon"),
    ]
    assert chat_messages(conversation) == [
        {"role": "assistant", "tool_calls": [CALL_PARAM]},
        {"role": "tool", "tool_call_id": "a", "content": "noon"},
        {"role": "assistant", "content": "Not yet."},
    ]


def test_a_result_without_a_call_is_left_out() -> None:
    assert chat_messages([ToolResult("a", "noon"), Text("user", "Hi")]) == [
        {"role": "user", "content": "Hi"}
    ]


def test_ids_that_are_used_again_are_told_apart() -> None:
    converted = chat_messages([CALL, ToolResult("a", "noon"), CALL, ToolResult("a", "one")])
    results = [
        (message["tool_call_id"], message["content"])
        for message in converted
        if message["role"] == "tool"
    ]
    assert results == [("a", "noon"), ("a_", "one")]


def test_arguments_that_are_no_object_are_kept_inside_one() -> None:
    message: Any = chat_messages([ToolCall("a", "look", "at it")])[0]
    assert message["tool_calls"][0]["function"]["arguments"] == '{"arguments": "at it"}'


def test_what_one_side_said_in_a_row_is_one_message() -> None:
    conversation = [Text("user", "Well"), Text("user", " "), Text("user", "hello")]
    assert chat_messages(conversation) == [{"role": "user", "content": "Well\nhello"}]


@pytest.mark.parametrize("tools", [[], [ToolSpec("look", "Looks.", {"type": "object"})]])
def test_tools_are_valid_parameters(tools: Any) -> None:
    assert len(chat_tools(tools)) == len(tools)
    checked([{"role": "user", "content": "Hi"}], chat_tools(tools))
