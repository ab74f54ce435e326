"""The settings of a session of xAI's voice agent, without I/O.

https://docs.x.ai/developers/model-capabilities/audio/speech-to-speech#session-parameters.
Unlike OpenAI's, they have the voice and the turn detection beside the audio, and no type; PCM has
the rate of the call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from audiocodecs import AudioFormat
from mediaserver.agents.services.laid_over import laid_over
from mediaserver.agents.services.language_model import ToolSpec
from mediaserver.agents.services.openai.realtime_messages import function_tools


_TYPES = {"mulaw": "audio/pcmu", "alaw": "audio/pcma", "l16": "audio/pcm"}


def xai_session_settings(
    prompt: str,
    tools: Sequence[ToolSpec],
    format: AudioFormat,
    *,
    voice: str,
    language: str | None,
    keyterms: Sequence[str],
    speed: float | None,
    turn_detection: Mapping[str, Any] | None,
    further: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the settings of a session, with `further` laid over all others."""
    audio_format: dict[str, Any] = {"type": _TYPES[format.encoding]}
    if format.encoding == "l16":
        audio_format["rate"] = format.rate
    heard: dict[str, Any] = {"format": audio_format}
    transcription: dict[str, Any] = {}
    if language is not None:
        transcription["language_hint"] = language
    if keyterms:
        transcription["keyterms"] = list(keyterms)
    if transcription:
        heard["transcription"] = transcription
    said: dict[str, Any] = {"format": audio_format}
    if speed is not None:
        said["speed"] = speed
    settings = {
        "instructions": prompt,
        "voice": voice,
        "turn_detection": {"type": None} if turn_detection is None else turn_detection,
        "audio": {"input": heard, "output": said},
        "tools": function_tools(tools),
    }
    return laid_over(settings, further)
