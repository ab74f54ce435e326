import json

import pytest

from mediaserver.agents.services.context_session import ContextSpeech
from mediaserver.agents.services.elevenlabs.messages import ElevenLabsMessages


MESSAGES = ElevenLabsMessages({"voice_settings": {"speed": 1.1}}, 60.0)


def test_a_context_begins_with_a_space_and_the_settings() -> None:
    assert [json.loads(message) for message in MESSAGES.begin("a")] == [
        {"text": " ", "context_id": "a", "voice_settings": {"speed": 1.1}}
    ]


def test_a_text_that_has_ended_is_flushed_before_its_context_is_closed() -> None:
    assert [json.loads(message) for message in MESSAGES.end("a")] == [
        {"context_id": "a", "flush": True},
        {"context_id": "a", "close_context": True},
    ]


def test_a_context_is_closed_once() -> None:
    assert len(MESSAGES.cancel("a", ended=False)) == 1
    assert MESSAGES.cancel("a", ended=True) == []


def test_contexts_are_kept_alive_and_without_any_the_connection() -> None:
    assert [json.loads(message) for message in MESSAGES.keep_alive(["a", "b"])] == [
        {"text": "", "context_id": "a"},
        {"text": "", "context_id": "b"},
    ]
    assert [json.loads(message) for message in MESSAGES.keep_alive([])] == [{"text": ""}]


def test_the_times_of_characters_become_those_of_words() -> None:
    alignment = {
        "chars": list("Hi, you"),
        "charStartTimesMs": [0, 100, 200, 250, 300, 400, 500],
        "charDurationsMs": [100, 100, 50, 50, 100, 100, 90],
    }
    message = json.dumps({"audio": "/////w==", "contextId": "a", "alignment": alignment})
    assert MESSAGES.read(message) == ContextSpeech(
        "a", audio=b"\xff" * 4, words=[("Hi,", 0.25), ("you", 0.59)], from_audio=True
    )


def test_the_alignment_of_the_normalised_text_serves_if_there_is_no_other() -> None:
    alignment = {"chars": ["a", " "], "charStartTimesMs": [0, 10], "charDurationsMs": [10, 5]}
    read = MESSAGES.read(json.dumps({"alignment": None, "normalizedAlignment": alignment}))
    assert read is not None
    assert read.words == [("a", 0.01)]


def test_a_final_message_ends_its_context() -> None:
    read = MESSAGES.read('{"isFinal": true, "contextId": "a", "audio": null}')
    assert read == ContextSpeech("a", from_audio=True, done=True)


def test_an_error_says_its_message_and_its_name() -> None:
    read = MESSAGES.read('{"message": "too many", "error": "max_active_conversations"}')
    assert read == ContextSpeech(None, error="too many (max_active_conversations)")


@pytest.mark.parametrize(
    "message",
    [
        "{",
        '{"audio": "???"}',
        '{"alignment": {"chars": ["a"], "charStartTimesMs": [], "charDurationsMs": [1]}}',
    ],
)
def test_what_cannot_be_read_is_an_error(message: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        MESSAGES.read(message)
