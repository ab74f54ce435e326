import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.agents.services import Message, Text, ToolCall, ToolResult, ToolSpec
from mediaserver.agents.services.anthropic.messages import (
    CALL_BEGINS,
    THINKING,
    THINKING_FIRST,
    anthropic_messages,
    anthropic_tools,
    has_thinking,
    without_thinking,
)
from mediaserver.testing.anthropic.schema import read_messages_request
from mediaserver.testing.anthropic.server import check_messages


def thought(signature: str) -> dict[str, str]:
    return {"type": "thinking", "thinking": "", "signature": signature}


texts = st.sampled_from(["", " ", "hello", "one two"])
messages = st.one_of(
    st.builds(Text, st.sampled_from(["system", "user", "assistant"]), texts),
    st.builds(
        ToolCall,
        st.sampled_from("ab"),
        st.sampled_from(["look", "look up!", ""]),
        st.sampled_from(["{}", "[", "7"]),
        st.sampled_from([{}, {THINKING: [thought("s")]}, {THINKING_FIRST: [thought("s")]}]),
    ),
    st.builds(ToolResult, st.sampled_from("ab"), texts, st.sampled_from([None, "down"])),
)


@given(st.lists(messages, max_size=8))
def test_any_conversation_is_in_an_order_that_the_api_takes(conversation: list[Message]) -> None:
    made = anthropic_messages(conversation)
    if made:
        request = {"model": "any", "max_tokens": 1, "stream": True, "messages": made}
        check_messages(read_messages_request(msgspec.json.encode(request)).messages)


def test_a_conversation_that_the_agent_begins_has_a_turn_of_the_caller_before_it() -> None:
    said = [Text("system", "Be brief."), Text("assistant", "Hello."), Text("user", "Hi.")]
    assert anthropic_messages(said) == [
        {"role": "user", "content": [{"type": "text", "text": CALL_BEGINS}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Hello."}]},
        {"role": "user", "content": [{"type": "text", "text": "Hi."}]},
    ]


def test_results_say_whether_they_are_failures() -> None:
    made = anthropic_messages(
        [
            Text("user", "look"),
            ToolCall("a", "look", '{"at": 1}'),
            ToolCall("a", "look", "{}"),
            ToolCall("c", "look", "{}"),
            ToolResult("a", "rain"),
            ToolResult("a", "", error="the service is down"),
        ]
    )
    assert made[1]["content"] == [
        {"type": "tool_use", "id": "a", "name": "look", "input": {"at": 1}},
        {"type": "tool_use", "id": "a_", "name": "look", "input": {}},
        {"type": "tool_use", "id": "c", "name": "look", "input": {}},
    ]
    assert made[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "a", "content": "rain"},
        {"type": "tool_result", "tool_use_id": "a_", "is_error": True},
        {"type": "tool_result", "tool_use_id": "c", "content": "cancelled", "is_error": True},
    ]


def used(name: str, **extra: list[dict[str, str]]) -> list[Message]:
    return [ToolCall(name, "look", "{}", extra), ToolResult(name, "rain")]


def kinds(messages: list[dict[str, object]], index: int) -> list[str]:
    content = messages[index]["content"]
    assert isinstance(content, list)
    return [block["type"] for block in content]


def test_thinking_goes_back_where_it_was_while_the_answer_goes_on() -> None:
    first = used("a", thinking_first=[thought("1")], thinking=[thought("2")])
    conversation = [Text("user", "look"), Text("assistant", "Let me see."), *first]
    made = anthropic_messages(conversation)
    assert kinds(made, 1) == ["thinking", "text", "thinking", "tool_use"]
    made = anthropic_messages([*conversation, *used("b", thinking_first=[thought("3")])])
    assert kinds(made, 1) == ["thinking", "text", "thinking", "tool_use"]
    assert kinds(made, 3) == ["thinking", "tool_use"]
    assert has_thinking(made)
    assert not has_thinking(without_thinking(made))


@pytest.mark.parametrize("between", [Text("assistant", "Rain."), Text("user", "Stop.")])
def test_thinking_is_left_out_when_the_answer_is_over(between: Text) -> None:
    earlier = [Text("user", "look"), *used("a", thinking_first=[thought("1")])]
    later = [Text("assistant", "Rain."), Text("user", "And now?")]
    made = anthropic_messages([*earlier, between, *later])
    assert not has_thinking(made)
    made = anthropic_messages([*earlier, between, *later, *used("b", thinking=[thought("2")])])
    assert [kinds(made, index) for index in (1, 5)] == [["tool_use"], ["thinking", "tool_use"]]


def test_thinking_goes_back_when_the_caller_interrupts_a_tool() -> None:
    made = anthropic_messages(
        [Text("user", "look"), *used("a", thinking=[thought("1")]), Text("user", "Stop.")]
    )
    assert kinds(made, 1) == ["thinking", "tool_use"]
    assert kinds(made, 2) == ["tool_result", "text"]


def test_a_tool_has_a_schema_of_an_object() -> None:
    (made,) = anthropic_tools([ToolSpec("look", "Looks.", {"properties": {}})])
    assert made == {
        "name": "look",
        "description": "Looks.",
        "input_schema": {"type": "object", "properties": {}},
    }
