import json

from mediaserver.agents.services import Text, ToolResult
from mediaserver.agents.services.gemini.live_calls import LiveCalls


def calls() -> LiveCalls:
    made = LiveCalls()
    made.begin("a", "look")
    made.begin("b", "listen")
    return made


def test_calls_are_answered_with_what_is_known() -> None:
    waiting = calls()
    assert waiting
    assert waiting.returned(ToolResult("a", "")) is None
    message, told = waiting.answer({"status": "running"})
    responses = json.loads(message)["toolResponse"]["functionResponses"]
    assert [(each["id"], each["name"], each["response"]) for each in responses] == [
        ("a", "look", {"output": ""}),
        ("b", "listen", {"status": "running"}),
    ]
    assert told == [Text("user", "(look has returned: )")]
    assert not waiting


def test_a_result_that_comes_later_is_a_text() -> None:
    waiting = calls()
    waiting.answer({"status": "running"})
    assert waiting.returned(ToolResult("b", "rain")) == Text("user", "(listen has returned: rain)")
    assert waiting.returned(ToolResult("c", "2")) == Text("user", "(A tool has returned: 2)")


def test_only_some_calls_may_be_cancelled() -> None:
    waiting = calls()
    waiting.returned(ToolResult("a", "sun"))
    assert waiting.release(["a", "unknown"]) == [Text("user", "(look has returned: sun)")]
    assert waiting
    assert waiting.release() == []
    assert waiting.returned(ToolResult("b", "rain")) == Text("user", "(listen has returned: rain)")
