from typing import Any, cast

import pytest

from mediaserver.agents import Conversation
from mediaserver.agents.services import Text, ToolCall, ToolResult
from mediaserver.call import Turn


CALL = ToolCall("a", "look", "{}")


def test_messages_are_in_the_order_in_which_they_were_said() -> None:
    conversation = Conversation()
    conversation.hear("Hello?")
    conversation.say().text = "Hello."
    conversation.hear("Bye.")
    assert conversation.messages == [
        Text("user", "Hello?"),
        Text("assistant", "Hello."),
        Text("user", "Bye."),
    ]


def test_what_the_caller_says_in_a_row_is_one_message() -> None:
    conversation = Conversation()
    conversation.hear("I would like")
    conversation.hear("a table.")
    assert conversation.messages == [Text("user", "I would like a table.")]


def test_an_answer_of_which_nothing_was_heard_leaves_no_trace() -> None:
    conversation = Conversation()
    conversation.hear("I would like")
    saying = conversation.say()
    saying.text = "What?"
    saying.text = ""
    conversation.hear("a table.")
    assert conversation.messages == [Text("user", "I would like a table.")]


def test_the_same_words_at_two_times_are_two_messages() -> None:
    conversation = Conversation()
    conversation.hear("Yes.")
    conversation.say().text = "Sure?"
    conversation.hear("Yes.")
    conversation.hear("Now.")
    assert [cast(Any, message).text for message in conversation.messages] == [
        "Yes.",
        "Sure?",
        "Yes. Now.",
    ]


def test_what_the_agent_says_in_a_row_is_one_message() -> None:
    conversation = Conversation()
    conversation.say().text = "One moment. "
    conversation.say().text = "Here it is."
    assert conversation.messages == [Text("assistant", "One moment. Here it is.")]


def test_what_is_being_said_counts_as_said_until_it_is_known_what_was_heard() -> None:
    conversation = Conversation()
    saying = conversation.say()
    saying.text = "One two three."
    assert conversation.messages == [Text("assistant", "One two three.")]
    saying.text = "One"
    assert conversation.messages == [Text("assistant", "One")]


def test_a_result_takes_the_place_that_was_kept_for_it() -> None:
    conversation = Conversation()
    conversation.call([CALL], [ToolResult("a", "not done yet")])
    conversation.hear("And?")
    assert conversation.messages == [CALL, ToolResult("a", "not done yet"), Text("user", "And?")]
    conversation.returned(ToolResult("a", "found"))
    assert conversation.messages == [CALL, ToolResult("a", "found"), Text("user", "And?")]


def test_of_calls_with_one_id_the_last_is_meant() -> None:
    conversation = Conversation()
    for _ in range(2):
        conversation.call([CALL], [ToolResult("a", "not done yet")])
    conversation.returned(ToolResult("a", "found"))
    results = [m.text for m in conversation.messages if isinstance(m, ToolResult)]
    assert results == ["not done yet", "found"]


def test_a_result_without_a_call_is_refused() -> None:
    with pytest.raises(LookupError, match="no tool call 'b'"):
        Conversation().returned(ToolResult("b", "found"))


def test_other_messages_can_be_added() -> None:
    conversation = Conversation()
    conversation.add(Text("system", "The caller is Ann."))
    assert conversation.messages == [Text("system", "The caller is Ann.")]


def test_the_messages_are_a_copy() -> None:
    conversation = Conversation()
    conversation.hear("Hello?")
    conversation.messages.clear()
    assert len(conversation.messages) == 1


def test_an_earlier_stream_is_recalled_without_empty_words() -> None:
    conversation = Conversation()
    turns = [Turn(number=0, agent="Hello."), Turn(number=1, caller="A car?", agent="It comes.")]
    conversation.recall([*turns, Turn(number=2, caller="When?"), Turn(number=3)])
    assert conversation.messages == [
        Text("assistant", "Hello."),
        Text("user", "A car?"),
        Text("assistant", "It comes."),
        Text("user", "When?"),
    ]
