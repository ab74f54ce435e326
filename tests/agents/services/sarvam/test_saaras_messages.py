import json
from base64 import b64decode

import pytest

from mediaserver.agents.services.sarvam.saaras_messages import (
    SAARAS_END,
    SAARAS_PING,
    SPEECH_END,
    SPEECH_START,
    SaarasBegan,
    SaarasEnded,
    SaarasFailure,
    SaarasFinal,
    SaarasMessage,
    SaarasPartial,
    audio_input,
    decode_saaras,
)


def test_audio_is_sent_as_base64() -> None:
    message = json.loads(audio_input(b"\x00\xff\x7f"))
    assert b64decode(message.pop("audio")) == b"\x00\xff\x7f"
    assert message == {"event": "audio_input"}


def test_events_are_json() -> None:
    events = [json.loads(event) for event in (SPEECH_START, SPEECH_END, SAARAS_PING, SAARAS_END)]
    assert events == [
        {"event": "speech_start"},
        {"event": "speech_end"},
        {"event": "ping"},
        {"event": "end"},
    ]


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ({"event": "session.begin", "request_id": "1"}, SaarasBegan()),
        (
            {"event": "transcript.partial", "utterance_idx": 2, "text": "नम", "language": "hi-IN"},
            SaarasPartial(2, "नम"),
        ),
        ({"event": "transcript.final", "utterance_idx": 0, "text": ""}, SaarasFinal(0, "")),
        ({"event": "session.end", "request_id": "1"}, SaarasEnded()),
        (
            {"event": "error", "code": "a", "is_fatal": True, "message": "b", "status_code": 403},
            SaarasFailure(True, "a", "b", 403),
        ),
        ({"event": "pong"}, None),
        ({"event": "vad.speech_start", "utterance_idx": 0}, None),
        ({"event": "to.come", "text": 7}, None),
    ],
)
def test_events_are_read(message: dict[str, object], says: SaarasMessage | None) -> None:
    assert decode_saaras(json.dumps(message)) == says


@pytest.mark.parametrize(
    "message",
    [
        "{",
        "{}",
        '{"event":"transcript.final","text":"a"}',
        '{"event":"transcript.partial","utterance_idx":"a","text":"a"}',
        '{"event":"error","code":"a"}',
    ],
)
def test_what_cannot_be_read_is_an_error(message: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        decode_saaras(message)
