import pytest

from mediaserver.testing.openai.realtime.client_events import (
    RealtimeRefusal,
    check_event,
    read_event,
)


def refusal(event: dict[str, object]) -> RealtimeRefusal:
    with pytest.raises(RealtimeRefusal) as refused:
        check_event(event)
    return refused.value


def test_an_event_of_the_api_is_accepted() -> None:
    check_event(read_event('{"type": "input_audio_buffer.append", "audio": "AAAA"}'))


@pytest.mark.parametrize(
    ("message", "code"),
    [(b"{}", "invalid_message"), ("no json", "invalid_json"), ("[]", "invalid_json")],
)
def test_a_message_must_be_a_json_object_in_text(message: str | bytes, code: str) -> None:
    with pytest.raises(RealtimeRefusal) as refused:
        read_event(message)
    assert refused.value.code == code


def test_an_unknown_type_is_refused_with_the_known_ones() -> None:
    refused = refusal({"type": "response.make"})
    assert (refused.code, refused.param) == ("invalid_value", "type")
    assert "response.create" in str(refused)


def test_a_wrong_field_is_named() -> None:
    refused = refusal({"type": "conversation.item.delete", "item_id": 7})
    assert (refused.code, refused.param) == ("invalid_type", "item_id")


def test_a_field_too_many_is_named_however_deep() -> None:
    refused = refusal({"type": "response.create", "response": {"instruction": "Hi."}})
    assert (refused.code, refused.param) == ("unknown_parameter", "response.instruction")
