import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from mediaserver.agents.services.language_model import Tokens
from mediaserver.agents.services.openai.realtime_events import (
    ApiReason,
    AudioDelta,
    ErrorEvent,
    InputSpeechStarted,
    InputTranscribed,
    InputTranscriptDelta,
    RealtimeUsage,
    decode_server_event,
    read_server_event,
)


def test_audio_comes_as_bytes() -> None:
    message = b'{"type":"response.output_audio.delta","item_id":"1","delta":"AQID","more":0}'
    assert decode_server_event(message) == AudioDelta("1", b"\1\2\3")


def test_an_event_that_does_not_matter_is_none() -> None:
    with capture_logs() as logs:
        assert decode_server_event(b'{"type":"rate_limits.updated"}') is None
    assert logs == []


@given(st.binary(max_size=40))
def test_garbage_is_none_and_logged(garbage: bytes) -> None:
    with capture_logs() as logs:
        assert decode_server_event(b"garbage" + garbage) is None
    assert [entry["event"] for entry in logs] == ["malformed event"]


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"seconds": 1.5}, None),
        ({"input_tokens": 7}, Tokens(7, 0, 0)),
        (
            {
                "input_tokens": 7,
                "output_tokens": 3,
                "input_token_details": {"cached_tokens": 2},
            },
            Tokens(7, 3, 2),
        ),
    ],
)
def test_a_transcription_costs_tokens_or_seconds(
    usage: dict[str, object], tokens: Tokens | None
) -> None:
    kind = "conversation.item.input_audio_transcription.completed"
    message = {"type": kind, "item_id": "1", "transcript": "Hi.", "usage": usage}
    event = decode_server_event(json.dumps(message).encode())
    assert isinstance(event, InputTranscribed)
    assert event.usage.tokens == tokens


def test_a_transcription_need_not_tell_its_cost() -> None:
    kind = "conversation.item.input_audio_transcription.completed"
    event = decode_server_event(f'{{"type":"{kind}","item_id":"1","transcript":"Hi."}}'.encode())
    assert event == InputTranscribed("1", "Hi.", RealtimeUsage())


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (ApiReason("Too many.", "rate_limit", "error"), "Too many. (rate_limit)"),
        (ApiReason("Too many.", None, "server_error"), "Too many. (server_error)"),
        (ApiReason(), "no reason was given"),
    ],
)
def test_a_reason_is_told_with_its_code_or_its_kind(reason: ApiReason, text: str) -> None:
    assert str(ErrorEvent(reason).error) == text


def test_words_that_are_not_final_may_be_none() -> None:
    kind = "conversation.item.input_audio_transcription.delta"
    message = json.dumps({"type": kind, "item_id": "1", "delta": None}).encode()
    assert decode_server_event(message) == InputTranscriptDelta("1")


def test_an_event_that_must_not_be_missed_is_read_or_raised() -> None:
    started = b'{"type":"input_audio_buffer.speech_started","item_id":"1","audio_start_ms":40}'
    assert read_server_event(started) == InputSpeechStarted("1", 40)
    with pytest.raises(ValueError, match="audio_start_ms"):
        read_server_event(started.replace(b"40", b'"x"'))
