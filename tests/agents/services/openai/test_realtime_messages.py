from typing import Any

import pytest

from audiocodecs import L16_16K, L16_24K, MULAW_8K, AudioFormat
from mediaserver.agents.services.language_model import Message, Text, ToolCall, ToolResult, ToolSpec
from mediaserver.agents.services.openai.realtime_messages import (
    conversation_item,
    session_settings,
    transcription_settings,
)


def settings(format: AudioFormat = MULAW_8K, **changes: Any) -> dict[str, Any]:
    return session_settings(
        "Be kind.",
        [ToolSpec("look", "Look.", {"type": "object"})],
        format,
        **{
            "voice": "marin",
            "transcription_model": None,
            "language": None,
            "turn_detection": None,
            "further": {},
            **changes,
        },
    )


@pytest.mark.parametrize(
    ("format", "told"),
    [
        (MULAW_8K, {"type": "audio/pcmu"}),
        (AudioFormat("alaw", 8000), {"type": "audio/pcma"}),
        (L16_16K, {"type": "audio/pcm", "rate": 24000}),
    ],
)
def test_both_directions_have_the_calls_format(format: AudioFormat, told: dict[str, Any]) -> None:
    audio = settings(format)["audio"]
    assert audio["input"]["format"] == audio["output"]["format"] == told


def test_a_language_is_told_with_the_transcription_only() -> None:
    assert settings(language="en")["audio"]["input"]["transcription"] is None
    audio = settings(transcription_model="gpt-transcribe", language="en")["audio"]
    assert audio["input"]["transcription"] == {"model": "gpt-transcribe", "language": "en"}


def test_further_settings_are_laid_over_at_any_depth() -> None:
    made = settings(further={"audio": {"output": {"speed": 1.1}}, "reasoning": {"effort": "low"}})
    assert made["audio"]["output"] == {
        "format": {"type": "audio/pcmu"},
        "voice": "marin",
        "speed": 1.1,
    }
    assert made["reasoning"] == {"effort": "low"}
    assert made["instructions"] == "Be kind."
    assert made["tools"][0]["name"] == "look"


@pytest.mark.parametrize(
    ("message", "item"),
    [
        (
            Text("user", "Hello?"),
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "Hello?"}],
            },
        ),
        (
            Text("assistant", "Hi."),
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "Hi."}],
            },
        ),
        (
            ToolCall("1", "look", "{}"),
            {"type": "function_call", "call_id": "1", "name": "look", "arguments": "{}"},
        ),
        (
            ToolResult("1", "found"),
            {"type": "function_call_output", "call_id": "1", "output": "found"},
        ),
    ],
)
def test_each_message_is_an_item(message: Message, item: dict[str, Any]) -> None:
    assert conversation_item(message) == item


def test_a_session_that_only_transcribes_has_no_more_than_it_needs() -> None:
    transcription = {"model": "gpt-live-transcribe"}
    settings = transcription_settings(
        AudioFormat("alaw", 8000), transcription, turn_detection=None, noise_reduction=None
    )
    heard = {
        "format": {"type": "audio/pcma"},
        "transcription": transcription,
        "turn_detection": None,
    }
    assert settings == {"type": "transcription", "audio": {"input": heard}}
    settings = transcription_settings(
        L16_24K, transcription, turn_detection=None, noise_reduction="far_field"
    )
    assert settings["audio"]["input"]["noise_reduction"] == {"type": "far_field"}
