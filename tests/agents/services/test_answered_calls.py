from mediaserver.agents.services import Text, ToolCall, ToolResult
from mediaserver.agents.services.answered_calls import results_by_call


def test_a_result_belongs_to_the_oldest_open_call_with_its_id() -> None:
    first, second = ToolResult("a", "one"), ToolResult("a", "two")
    call = ToolCall("a", "look", "{}")
    assert results_by_call([call, first, Text("user", "again"), call, second]) == {
        0: first,
        3: second,
    }


def test_a_result_before_its_call_belongs_to_none() -> None:
    assert results_by_call([ToolResult("a", "one"), ToolCall("a", "look", "{}")]) == {}
