"""The settings of a session of xAI's voice agent."""

from typing import Any

import pytest

from audiocodecs import L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.services import ToolSpec
from mediaserver.agents.services.xai.realtime import XAIRealtime


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        (MULAW_8K, {"type": "audio/pcmu"}),
        (AudioFormat("alaw", 8000), {"type": "audio/pcma"}),
        (L16_16K, {"type": "audio/pcm", "rate": 16000}),
    ],
)
def test_audio_has_the_format_of_the_call(format: AudioFormat, expected: dict[str, Any]) -> None:
    audio = XAIRealtime().settings("", [], format)["audio"]

    assert audio == {"input": {"format": expected}, "output": {"format": expected}}


def test_settings_are_where_xai_has_them() -> None:
    model = XAIRealtime(
        voice="ara",
        language="es-MX",
        keyterms=["Plivo"],
        speed=1.2,
        turn_detection={"type": "server_vad"},
        session={"reasoning": {"effort": "none"}},
    )
    tool = ToolSpec("ring", "Ring.", {"type": "object", "properties": {}})

    settings = model.settings("Be brief.", [tool], MULAW_8K)

    wire = {"type": "audio/pcmu"}
    assert settings == {
        "instructions": "Be brief.",
        "voice": "ara",
        "turn_detection": {"type": "server_vad"},
        "audio": {
            "input": {
                "format": wire,
                "transcription": {"language_hint": "es-MX", "keyterms": ["Plivo"]},
            },
            "output": {"format": wire, "speed": 1.2},
        },
        "tools": [
            {
                "type": "function",
                "name": "ring",
                "description": "Ring.",
                "parameters": {"type": "object", "properties": {}},
            }
        ],
        "reasoning": {"effort": "none"},
    }


def test_the_agent_takes_the_turns_by_default() -> None:
    assert XAIRealtime().settings("", [], MULAW_8K)["turn_detection"] == {"type": None}
