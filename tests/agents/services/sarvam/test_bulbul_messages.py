import json

import pytest

from mediaserver.agents.services.sarvam.bulbul_messages import (
    BULBUL_FLUSH,
    BULBUL_PING,
    BulbulAudio,
    BulbulEvent,
    BulbulFailure,
    bulbul_config,
    bulbul_text,
    decode_bulbul,
)


def test_messages_are_json() -> None:
    messages = (bulbul_config({"speaker": "ritu"}), bulbul_text("नमस्ते"), BULBUL_FLUSH, BULBUL_PING)
    assert [json.loads(message) for message in messages] == [
        {"type": "config", "data": {"speaker": "ritu"}},
        {"type": "text", "data": {"text": "नमस्ते"}},
        {"type": "flush"},
        {"type": "ping"},
    ]


def test_audio_is_read() -> None:
    data = {"audio": "AP8=", "content_type": "audio/mulaw", "request_id": "1"}
    message = decode_bulbul(json.dumps({"type": "audio", "data": data}))
    assert isinstance(message, BulbulAudio)
    assert message.data.audio == b"\x00\xff"


@pytest.mark.parametrize(("kind", "final"), [("final", True), ("to come", False)])
def test_the_end_of_what_was_flushed_is_read(kind: str, final: bool) -> None:
    message = decode_bulbul(json.dumps({"type": "event", "data": {"event_type": kind}}))
    assert isinstance(message, BulbulEvent)
    assert message.final is final


@pytest.mark.parametrize(("code", "status"), [(429, 429), (None, None), (7, None)])
def test_an_error_has_a_status_if_its_code_is_one(code: int | None, status: int | None) -> None:
    data = {"message": "too much", "code": code}
    message = decode_bulbul(json.dumps({"type": "error", "data": data}))
    assert isinstance(message, BulbulFailure)
    assert message.data.message == "too much"
    assert message.status == status


def test_what_is_to_come_is_ignored() -> None:
    assert decode_bulbul('{"type":"to come","data":7}') is None


@pytest.mark.parametrize("message", ["{", "{}", '{"type":"audio","data":{"audio":"?"}}'])
def test_what_cannot_be_read_is_an_error(message: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        decode_bulbul(message)
