"""The messages that are sent to Gemini's Live API, without I/O.

https://ai.google.dev/api/live#bidigeneratecontentclientmessage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import pybase64

from mediaserver.agents.services.gemini.client import model_path
from mediaserver.agents.services.gemini.contents import function_declarations
from mediaserver.agents.services.laid_over import laid_over
from mediaserver.agents.services.language_model import (
    Message,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
)


ACTIVITY_START: Final = '{"realtimeInput":{"activityStart":{}}}'
ACTIVITY_END: Final = '{"realtimeInput":{"activityEnd":{}}}'
STREAM_END: Final = '{"realtimeInput":{"audioStreamEnd":true}}'
"""The caller is silent for now, where the API takes the turns."""

RUNNING: Final = "still running; the result follows"
"""Stands for the result of a tool that the model has to speak before."""

_BLOCKING: Final = "BLOCKING"
"""The model waits for results. It is the one behavior that every model but those with background
reasoning has, and the default of none of the newest."""


def live_setup(
    model: str,
    prompt: str,
    tools: Sequence[ToolSpec],
    *,
    voice: str,
    transcription: Mapping[str, Any] | None,
    turn_detection: Mapping[str, Any] | None,
    further: Mapping[str, Any],
    handle: str | None,
    has_history: bool,
) -> str:
    """Return the first message of a connection, with `further` laid over all other settings.

    Args:
        model: the model's name.
        prompt: the model's instructions.
        tools: the tools that it may use.
        voice: the name of its voice.
        transcription: how the caller is transcribed; None for no transcription.
        turn_detection: how the API takes the turns; None if the agent does.
        further: further settings in the API's form.
        handle: the session to resume; None for a new one.
        has_history: whether the conversation so far comes next.

    """
    settings: dict[str, Any] = {
        "model": model_path(model),
        "generationConfig": {
            "responseModalities": ["AUDIO"],
            "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}},
        },
        "realtimeInputConfig": {
            "automaticActivityDetection": (
                {"disabled": True} if turn_detection is None else dict(turn_detection)
            )
        },
        "outputAudioTranscription": {},
        "sessionResumption": {} if handle is None else {"handle": handle},
        # Without it, a session with audio ends after 15 minutes.
        "contextWindowCompression": {"slidingWindow": {}},
    }
    if prompt:
        settings |= _instructions(prompt)
    if tools:
        settings["tools"] = function_declarations(tools, behavior=_BLOCKING)
    if transcription is not None:
        settings["inputAudioTranscription"] = dict(transcription)
    if has_history:
        settings["historyConfig"] = {"initialHistoryInClientContent": True}
    return _encoded({"setup": laid_over(settings, further)})


def audio_message(audio: bytes) -> str:
    """Return a piece of the caller's speech, PCM of 16 kHz."""
    encoded = pybase64.b64encode(audio).decode()
    mime_type = "audio/pcm;rate=16000"
    return f'{{"realtimeInput":{{"audio":{{"data":"{encoded}","mimeType":"{mime_type}"}}}}}}'


def text_message(text: str) -> str:
    """Return a text that belongs to the caller's present turn."""
    return _encoded({"realtimeInput": {"text": text}})


def turns_message(messages: Iterable[Message]) -> str:
    """Return messages to answer now, or the conversation so far."""
    return _encoded({"clientContent": {"turns": live_turns(messages), "turnComplete": True}})


def notes_message(messages: Iterable[Message]) -> str:
    """Return messages that the model is to know, and not to answer by themselves."""
    return _encoded({"clientContent": {"turns": live_turns(messages), "turnComplete": False}})


def results_message(results: Iterable[tuple[str, str, Mapping[str, Any]]]) -> str:
    """Return results of tools: each the call's id, the tool's name, and the response."""
    responses = [
        {"id": call_id, "name": name, "response": dict(response)}
        for call_id, name, response in results
    ]
    return _encoded({"toolResponse": {"functionResponses": responses}})


def update_message(prompt: str, tools: Sequence[ToolSpec]) -> str:
    """Return another prompt and other tools. What is left out would stay as it is."""
    declared = function_declarations(tools, behavior=_BLOCKING)
    return _encoded({"contextUpdate": {**_instructions(prompt), "tools": {"tools": declared}}})


def live_turns(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Return messages as turns of the user and of the model.

    The API takes no tool calls of another session, so what a tool returned is a note to the model.
    """
    turns: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for message in messages:
        if isinstance(message, ToolCall):
            names[message.id] = message.name
            continue
        if isinstance(message, ToolResult):
            role, text = "user", returned(names.get(message.call_id, "A tool"), message.text)
        elif message.role == "system":
            role, text = "user", f"({message.text})"
        else:
            role, text = "user" if message.role == "user" else "model", message.text
        if not text.strip():
            continue
        if not turns or turns[-1]["role"] != role:
            turns.append({"role": role, "parts": []})
        turns[-1]["parts"].append({"text": text})
    return turns


def returned(name: str, result: str) -> str:
    """Return the note for the model that a tool has returned."""
    return f"({name} has returned: {result})"


def note(text: Text) -> str:
    """Return a text within the caller's turn."""
    return text.text if text.role == "user" else f"({text.text})"


def _instructions(prompt: str) -> dict[str, Any]:
    return {"systemInstruction": {"parts": [{"text": prompt}]}}


def _encoded(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()
