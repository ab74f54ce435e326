import pytest

from mediaserver.testing.assemblyai import (
    read_assemblyai_message,
    read_assemblyai_query,
    read_token_query,
)
from mediaserver.testing.http_server import RefusedError


@pytest.mark.parametrize(
    "query",
    [
        "",
        "speech_model=a-model-of-tomorrow&sample_rate=8000&encoding=pcm_mulaw",
        "speech_model=u3-rt-pro&prompt=A+clinic&mode=balanced&min_turn_silence=100",
        "speech_model=universal-streaming-english&format_turns=true&vad_threshold=0.5",
        "speech_model=whisper-rt&keyterms_prompt=%5B%22Plivo%22%5D&inactivity_timeout=5",
    ],
)
def test_what_assemblyai_publishes_is_taken(query: str) -> None:
    read_assemblyai_query(query)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("speechModel=u3-rt-pro", "Invalid parameter 'speechModel'"),
        ("speech_model=u3-rt-pro&format_turns=true", "Invalid parameter 'format_turns'"),
        ("speech_model=universal-streaming-english&prompt=a", "Invalid parameter 'prompt'"),
        ("encoding=pcm_alaw", "Invalid value of 'encoding'"),
        ("sample_rate=8k", "Invalid value of 'sample_rate'"),
        ("keyterms_prompt=Plivo", "Invalid value of 'keyterms_prompt'"),
        ("keyterms_prompt=%5B1%5D", "Invalid value of 'keyterms_prompt'"),
        ("mode=fast", "Invalid value of 'mode'"),
        ("vad_threshold=2", "Invalid value of 'vad_threshold'"),
        ("sample_rate=8000&sample_rate=16000", "given 2 times"),
        ("min_turn_silence=900&max_turn_silence=800", "above max_turn_silence"),
    ],
)
def test_what_it_does_not_publish_is_refused(query: str, said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        read_assemblyai_query(query)


def test_messages_are_read_without_what_was_left_out() -> None:
    for message in ('{"type":"ForceEndpoint"}', '{"type":"KeepAlive"}', '{"type":"Terminate"}'):
        assert len(read_assemblyai_message(message)) == 1
    update = '{"type":"UpdateConfiguration","min_turn_silence":100}'
    assert read_assemblyai_message(update) == {
        "type": "UpdateConfiguration",
        "min_turn_silence": 100,
    }


@pytest.mark.parametrize(
    "message",
    [
        '{"type":"ForceEndPoint"}',
        '{"type":"Terminate","now":true}',
        '{"type":"UpdateConfiguration","keyterms":["a"]}',
        '{"type":"UpdateConfiguration","min_turn_silence":0.1}',
        "[]",
        "{",
    ],
)
def test_a_message_that_is_not_published_is_refused(message: str) -> None:
    with pytest.raises(RefusedError):
        read_assemblyai_message(message)


def test_a_token_is_asked_for_with_its_time() -> None:
    assert read_token_query("expires_in_seconds=60") == {"expires_in_seconds": "60"}
    for query in ("", "expires_in_seconds=601", "expires_in_seconds=60&for=ever"):
        with pytest.raises(RefusedError):
            read_token_query(query)
