import json
from base64 import b64decode

import pytest

from mediaserver.agents.services.elevenlabs.scribe_messages import (
    ScribeCommitted,
    ScribeFailure,
    ScribeMessage,
    ScribePartial,
    ScribeStarted,
    ScribeThrottled,
    decode_scribe,
    scribe_chunk,
)


@pytest.mark.parametrize("commit", [False, True])
def test_audio_is_sent_as_base64(commit: bool) -> None:
    message = json.loads(scribe_chunk(b"\x00\xff\x7f", 8000, commit=commit))
    assert b64decode(message.pop("audio_base_64")) == b"\x00\xff\x7f"
    assert message == {
        "message_type": "input_audio_chunk",
        "commit": commit,
        "sample_rate": 8000,
    }


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ({"message_type": "session_started", "session_id": "1", "config": {}}, ScribeStarted()),
        ({"message_type": "partial_transcript", "text": "Hey"}, ScribePartial("Hey")),
        ({"message_type": "committed_transcript", "text": "Hey."}, ScribeCommitted("Hey.")),
        ({"message_type": "commit_throttled", "error": "no"}, ScribeThrottled("no")),
        ({"message_type": "auth_error", "error": "no"}, ScribeFailure("auth_error", "no")),
        ({"message_type": "queue_overflow"}, ScribeFailure("queue_overflow")),
        ({"message_type": "committed_transcript_with_timestamps", "text": "Hey."}, None),
        ({"message_type": "to come", "text": 7}, None),
    ],
)
def test_messages_are_read(message: dict[str, object], says: ScribeMessage | None) -> None:
    assert decode_scribe(json.dumps(message)) == says


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("auth_error", 401),
        ("unaccepted_terms", 403),
        ("rate_limited", 429),
        ("invalid_request", 400),
        ("transcriber_error", None),
    ],
)
def test_errors_have_the_status_that_says_the_same(kind: str, status: int | None) -> None:
    assert ScribeFailure(kind).status == status


@pytest.mark.parametrize(
    "message", ["{", "{}", '{"message_type":"partial_transcript"}', '{"message_type":7}']
)
def test_what_cannot_be_read_is_an_error(message: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        decode_scribe(message)
