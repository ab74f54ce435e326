import json

import pytest

from mediaserver.agents.services import RecognizedWord
from mediaserver.agents.services.assemblyai.messages import (
    AssemblyAIBegin,
    AssemblyAIFailure,
    AssemblyAITurn,
    configuration_message,
    decode_assemblyai,
)


def turn(transcript: str, words: str, end: bool = False) -> AssemblyAITurn:
    """Return a turn whose words are not final if they begin with a question mark."""
    message = {
        "type": "Turn",
        "turn_order": 0,
        "turn_is_formatted": False,
        "end_of_turn": end,
        "transcript": transcript,
        "end_of_turn_confidence": 0.1,
        "words": [
            {
                "text": word.strip("?"),
                "start": n * 500,
                "end": n * 500 + 400,
                "confidence": 0.9,
                "word_is_final": not word.startswith("?"),
            }
            for n, word in enumerate(words.split())
        ],
    }
    decoded = decode_assemblyai(json.dumps(message))
    assert isinstance(decoded, AssemblyAITurn)
    return decoded


@pytest.mark.parametrize(
    ("transcript", "words", "text"),
    [
        ("", "?hi", "hi"),
        ("hi", "hi ?my", "hi my"),
        ("hi my name", "hi my name", "hi my name"),
        ("My name is—", "?My ?name ?is—", "My name is—"),
        ("", "", ""),
    ],
)
def test_the_text_of_a_turn_has_the_words_that_may_change(
    transcript: str, words: str, text: str
) -> None:
    assert turn(transcript, words).text == text


def test_words_have_times_in_seconds() -> None:
    assert turn("hi my", "hi my").timed_words == (
        RecognizedWord("hi", 0.0, 0.4),
        RecognizedWord("my", 0.5, 0.9),
    )


def test_the_other_messages_are_read() -> None:
    begin = decode_assemblyai('{"type":"Begin","id":"a","expires_at":1772570132,"more":1}')
    assert begin == AssemblyAIBegin("a", 1772570132)
    failure = decode_assemblyai('{"type":"Error","error_code":3005,"error":"Session Cancelled"}')
    assert failure == AssemblyAIFailure("Session Cancelled", 3005)
    assert decode_assemblyai('{"type":"Heartbeat","total_duration_ms":1}') is None


@pytest.mark.parametrize("message", ["{", '{"type":"Turn"}', "[]", '{"type":"Begin","id":1}'])
def test_a_message_that_cannot_be_read_is_an_error(message: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode_assemblyai(message)


def test_settings_are_changed_by_a_message() -> None:
    assert json.loads(configuration_message({"min_turn_silence": 200})) == {
        "type": "UpdateConfiguration",
        "min_turn_silence": 200,
    }
