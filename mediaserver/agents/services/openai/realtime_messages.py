"""The messages that are sent to OpenAI's Realtime API, without I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from audiocodecs import L16_24K, AudioFormat
from mediaserver.agents.services.laid_over import laid_over
from mediaserver.agents.services.language_model import (
    Message,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
)


def session_settings(
    prompt: str,
    tools: Sequence[ToolSpec],
    format: AudioFormat,
    *,
    voice: str,
    transcription_model: str | None,
    language: str | None,
    turn_detection: Mapping[str, Any] | None,
    further: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the settings of a session, with `further` laid over all others."""
    audio_format = _audio_format(format)
    transcription: dict[str, Any] | None = None
    if transcription_model is not None:
        transcription = {"model": transcription_model}
        if language is not None:
            transcription["language"] = language
    settings: dict[str, Any] = {
        "type": "realtime",
        "output_modalities": ["audio"],
        "instructions": prompt,
        "audio": {
            "input": {
                "format": audio_format,
                "transcription": transcription,
                "turn_detection": turn_detection,
            },
            "output": {"format": audio_format, "voice": voice},
        },
        "tools": function_tools(tools),
    }
    return laid_over(settings, further)


def transcription_settings(
    format: AudioFormat,
    transcription: Mapping[str, Any],
    *,
    turn_detection: Mapping[str, Any] | None,
    noise_reduction: str | None,
) -> dict[str, Any]:
    """Return the settings of a session that only transcribes."""
    heard: dict[str, Any] = {
        "format": _audio_format(format),
        "transcription": transcription,
        "turn_detection": turn_detection,
    }
    if noise_reduction is not None:
        heard["noise_reduction"] = {"type": noise_reduction}
    return {"type": "transcription", "audio": {"input": heard}}


def function_tools(tools: Sequence[ToolSpec]) -> list[dict[str, Any]]:
    """Return the tools in the API's form."""
    return [
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
        }
        for tool in tools
    ]


def conversation_item(message: Message) -> dict[str, Any]:
    """Return a message as an item of the API's conversation."""
    match message:
        case Text(role="assistant", text=text):
            content = {"type": "output_text", "text": text}
            return {"type": "message", "role": "assistant", "content": [content]}
        case Text(role=role, text=text):
            content = {"type": "input_text", "text": text}
            return {"type": "message", "role": role, "content": [content]}
        case ToolCall(id=call_id, name=name, arguments=arguments):
            return {
                "type": "function_call",
                "call_id": call_id,
                "name": name,
                "arguments": arguments,
            }
        case ToolResult(call_id=call_id, text=text):
            return {"type": "function_call_output", "call_id": call_id, "output": text}


def _audio_format(format: AudioFormat) -> dict[str, Any]:
    match format.encoding:
        case "mulaw":
            return {"type": "audio/pcmu"}
        case "alaw":
            return {"type": "audio/pcma"}
        case _:
            return {"type": "audio/pcm", "rate": L16_24K.rate}
