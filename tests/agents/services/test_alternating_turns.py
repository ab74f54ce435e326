from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mediaserver.agents.services import Message, Text, ToolCall, ToolResult
from mediaserver.agents.services.alternating_turns import (
    UNSPOKEN,
    AlternatingTurn,
    CallAnswer,
    alternating_turns,
    prompt_texts,
)


texts = st.sampled_from(["", " ", "hello", "one two"])
messages = st.one_of(
    st.builds(Text, st.sampled_from(["system", "user", "assistant"]), texts),
    st.builds(ToolCall, st.sampled_from("ab"), st.just("look"), st.just("{}")),
    st.builds(ToolResult, st.sampled_from("ab"), texts),
)


@given(st.lists(messages, max_size=8))
def test_sides_alternate_and_each_call_is_answered_at_once(conversation: list[Message]) -> None:
    turns = alternating_turns(conversation)
    assert all(one.side != other.side for one, other in pairwise(turns))
    if turns:
        assert turns[-1].side == "caller"
    for turn, following in zip(turns, [*turns[1:], AlternatingTurn("caller")], strict=False):
        calls = [piece for piece in turn.pieces if isinstance(piece, ToolCall)]
        answered = [each.call for each in following.pieces if isinstance(each, CallAnswer)]
        assert turn.side == "agent" or not calls
        assert not calls or answered == calls


def test_the_prompt_is_what_the_system_says_first() -> None:
    conversation = [
        Text("system", "Be brief."),
        Text("system", " "),
        Text("system", "Be kind."),
        Text("assistant", "Hello."),
        Text("system", "The caller pressed 1."),
    ]
    assert prompt_texts(conversation) == ["Be brief.", "Be kind."]
    assert alternating_turns(conversation) == [
        AlternatingTurn("agent", ["Hello."]),
        AlternatingTurn("caller", ["(The caller pressed 1.)"]),
    ]


def test_results_come_in_the_order_of_their_calls_and_before_texts() -> None:
    one, two = ToolCall("a", "look", "{}"), ToolCall("b", "look", "{}")
    found = ToolResult("b", "found")
    conversation: list[Message] = [Text("user", "look"), one, two, Text("user", "well?"), found]
    assert alternating_turns(conversation)[1:] == [
        AlternatingTurn("agent", [one, two]),
        AlternatingTurn("caller", [CallAnswer(one, None), CallAnswer(two, found), "well?"]),
    ]


def test_an_agent_that_spoke_last_is_asked_to_go_on() -> None:
    assert alternating_turns([Text("assistant", "Well,")])[-1].pieces == [UNSPOKEN]
    assert alternating_turns([]) == []
