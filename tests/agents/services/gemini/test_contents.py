import msgspec
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.agents.services import Message, Text, ToolCall, ToolResult, ToolSpec
from mediaserver.agents.services.gemini.contents import (
    GO_ON,
    contents,
    function_declarations,
    system_instruction,
)
from mediaserver.testing.gemini.schema import GenerateRequest, read_closed
from mediaserver.testing.gemini.server import check_contents


texts = st.sampled_from(["", " ", "hello", "one two"])
messages = st.one_of(
    st.builds(Text, st.sampled_from(["system", "user", "assistant"]), texts),
    st.builds(ToolCall, st.sampled_from("ab"), st.just("look"), st.sampled_from(["{}", "[", "7"])),
    st.builds(ToolResult, st.sampled_from("ab"), texts),
)


@given(st.lists(messages, max_size=8))
def test_any_conversation_is_in_an_order_that_the_api_takes(conversation: list[Message]) -> None:
    made = contents(conversation)
    read = read_closed(msgspec.json.encode({"contents": made}), GenerateRequest)
    if made:
        check_contents(read.contents, signed=False)


def test_the_prompt_is_what_the_system_says_first() -> None:
    conversation = [
        Text("system", "Be brief."),
        Text("system", "Be kind."),
        Text("assistant", "Hello."),
        Text("system", "The caller pressed 1."),
    ]
    assert system_instruction(conversation) == {
        "parts": [{"text": "Be brief."}, {"text": "Be kind."}]
    }
    assert contents(conversation) == [
        {"role": "model", "parts": [{"text": "Hello."}]},
        {"role": "user", "parts": [{"text": "(The caller pressed 1.)"}]},
    ]
    assert system_instruction([Text("user", "hello")]) is None


def test_a_model_that_spoke_last_is_asked_to_go_on() -> None:
    assert contents([Text("assistant", "Well,")])[-1] == {
        "role": "user",
        "parts": [{"text": GO_ON}],
    }


def test_a_call_without_a_result_was_cancelled() -> None:
    made = contents([Text("user", "look"), ToolCall("a", "look", "{}")])
    assert made[-1]["parts"][0]["functionResponse"]["response"] == {"error": "cancelled"}


def test_a_tool_without_parameters_has_no_schema() -> None:
    tools = [
        ToolSpec("look", "Looks.", {"type": "object", "properties": {}}),
        ToolSpec("find", "Finds.", {"type": "object", "properties": {"at": {"type": "string"}}}),
    ]
    look, find = function_declarations(tools, behavior="BLOCKING")[0]["functionDeclarations"]
    assert look == {"name": "look", "description": "Looks.", "behavior": "BLOCKING"}
    assert find["parametersJsonSchema"] == tools[1].parameters
    assert function_declarations([]) == []
