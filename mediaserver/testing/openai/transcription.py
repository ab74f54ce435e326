"""Scripted transcriptions, in one piece or streamed, as the request asks."""

from __future__ import annotations

import re
from collections.abc import Sequence

from openai.types.audio import (
    Transcription,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
)

from mediaserver.testing.replies import HttpReply, Pause, Received, ScriptedReply, streams


def hears(text: str, *, pieces: Sequence[str | Pause] | None = None) -> ScriptedReply:
    """Return a transcription.

    Args:
        text: what was understood.
        pieces: how it is streamed, if the request asks for a stream; None is word by word.

    """
    deltas = pieces if pieces is not None else re.findall(r"\s*\S+", text)

    def answer(request: Received) -> HttpReply:
        if not request.params.get("stream"):
            return HttpReply([Transcription(text=text).model_dump_json(exclude_none=True).encode()])
        return streams(
            *(
                TranscriptionTextDeltaEvent(delta=each, type="transcript.text.delta").to_dict()
                if isinstance(each, str)
                else each
                for each in deltas
            ),
            TranscriptionTextDoneEvent(text=text, type="transcript.text.done").to_dict(),
        )

    return answer
