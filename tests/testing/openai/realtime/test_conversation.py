import pytest

from mediaserver.testing.openai.realtime.client_events import JsonDict, RealtimeRefusal
from mediaserver.testing.openai.realtime.conversation import RealtimeConversation
from mediaserver.testing.openai.realtime.session_settings import SessionSettings


SPOKEN = {"type": "message", "role": "assistant", "content": [{"transcript": "Hello there."}]}
CALL = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}


@pytest.fixture
def conversation() -> RealtimeConversation:
    """One second of speech, and a tool call."""
    conversation = RealtimeConversation()
    conversation.add(SPOKEN, "item_1", audio=48_000)
    conversation.add(CALL, "item_2")
    return conversation


def message(role: str, kind: str) -> JsonDict:
    return {"type": "message", "role": role, "content": [{"type": kind, "text": "Hi."}]}


def test_items_are_kept_in_their_order(conversation: RealtimeConversation) -> None:
    assert list(conversation.items) == ["item_1", "item_2"]
    assert conversation.last_id == "item_2"
    assert RealtimeConversation().last_id is None


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"item": CALL, "previous_item_id": "item_9"}, "item_create_invalid_item_id"),
        ({"item": {**CALL, "id": "item_1"}}, "item_create_duplicate_id"),
        ({"item": message("assistant", "input_text")}, "invalid_value"),
        ({"item": {**CALL, "call_id": "a b"}}, "invalid_value"),
        ({"item": {"type": "function_call_output", "call_id": "x"}}, "invalid_tool_call_id"),
    ],
)
def test_items_that_have_no_place_are_refused(
    conversation: RealtimeConversation, event: JsonDict, code: str
) -> None:
    with pytest.raises(RealtimeRefusal) as refused:
        conversation.check_new(event)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "event",
    [
        {"item": message("user", "input_text"), "previous_item_id": "item_1"},
        {"item": message("assistant", "output_text"), "previous_item_id": "root"},
        {"item": {"type": "function_call_output", "call_id": "call_1"}},
    ],
)
def test_items_that_have_a_place_are_accepted(
    conversation: RealtimeConversation, event: JsonDict
) -> None:
    conversation.check_new(event)


def test_what_the_model_said_can_be_shortened_once(conversation: RealtimeConversation) -> None:
    place = {"item_id": "item_1", "content_index": 0}
    conversation.truncate({**place, "audio_end_ms": 250}, SessionSettings())
    assert conversation.items["item_1"].audio == 12_000
    assert conversation.items["item_1"].value["content"][0]["transcript"] == ""
    with pytest.raises(RealtimeRefusal, match="of 250ms is already shorter than 251ms"):
        conversation.truncate({**place, "audio_end_ms": 251}, SessionSettings())


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"item_id": "item_9"}, "item_truncate_invalid_item_id"),
        ({"item_id": "item_2"}, "unsupported_content_type"),
        ({"content_index": 1}, "invalid_value"),
        ({"audio_end_ms": -1}, "integer_below_min_value"),
        ({"audio_end_ms": 1001}, "invalid_value"),
    ],
)
def test_nothing_else_can_be_shortened(
    conversation: RealtimeConversation, change: JsonDict, code: str
) -> None:
    event = {"item_id": "item_1", "content_index": 0, "audio_end_ms": 1000, **change}
    with pytest.raises(RealtimeRefusal) as refused:
        conversation.truncate(event, SessionSettings())
    assert refused.value.code == code
