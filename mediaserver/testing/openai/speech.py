"""Scripted speech."""

from __future__ import annotations

import numpy as np

from audiocodecs import AudioFormat, encode_wav
from mediaserver.testing.http_server import RefusedError
from mediaserver.testing.replies import HttpReply, Pause, Received, ScriptedReply


def speaks(*pieces: bytes | Pause, content_type: str | None = None) -> ScriptedReply:
    """Return speech: the audio's bytes in the pieces in which they are sent.

    Args:
        pieces: bytes in the format that the request asks for, with pauses in between.
        content_type: None is that of the format.

    """

    def answer(request: Received) -> HttpReply:
        named = content_type if content_type is not None else f"audio/{_format_of(request)}"
        return HttpReply(pieces or [b""], named)

    return answer


def hums(request: Received) -> HttpReply:
    """Reply with half a second of 440 Hz, in the formats that this server can write.

    Raises:
        RefusedError: the request asks for another format.

    """
    asked = _format_of(request)
    if asked not in ("pcm", "wav", "mulaw"):
        raise RefusedError(400, f"this server speaks pcm, wav and mulaw, not {asked}")
    rate = request.params.get("sample_rate", 24000)
    seconds = np.arange(rate // 2) / rate
    samples = (8000 * np.sin(2 * np.pi * 440 * seconds)).astype(np.int16)
    if asked == "wav":
        audio = encode_wav(samples, rate)
    else:
        audio = AudioFormat("l16" if asked == "pcm" else "mulaw", rate).encode(samples)
    return HttpReply([audio], f"audio/{asked}")


def _format_of(request: Received) -> str:
    return str(request.params.get("response_format", "mp3"))
