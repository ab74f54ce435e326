"""Transcribes an utterance, and turns every failure into a `ServiceError`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from mediaserver.agents.conversing.listening import Utterance
from mediaserver.agents.conversing.served import broken, unexpected
from mediaserver.agents.services import ServiceError, SpeechToText, Transcript


_SERVICE = "speech_to_text"


async def transcripts(
    service: SpeechToText, utterance: Utterance, *, patience: float
) -> AsyncGenerator[Transcript, None]:
    """Yield transcripts. There is no time limit while the caller speaks.

    Args:
        service: transcribes it.
        utterance: what the caller says.
        patience: seconds to wait for a transcript once the utterance has ended.

    Raises:
        ServiceError: the service failed, or was too slow.

    """
    loop = asyncio.get_running_loop()
    waiting = asyncio.timeout(None)
    try:
        pieces = service.transcribe(utterance)
        try:
            while True:
                waiting = asyncio.timeout(patience if utterance.ended else None)
                async with waiting:
                    utterance.on_end = lambda waiting=waiting: waiting.reschedule(
                        loop.time() + patience
                    )
                    try:
                        transcript = await anext(pieces)
                    except StopAsyncIteration:
                        return
                    finally:
                        utterance.on_end = None
                if not isinstance(transcript, Transcript):
                    raise unexpected(_SERVICE, transcript, "Transcript")
                yield transcript
                if transcript.final and utterance.ended:
                    return  # even if the service does not end
        finally:
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()
    except ServiceError:
        raise
    except Exception as error:
        if waiting.expired():
            raise ServiceError(_SERVICE, f"no transcript within {patience:g} s") from None
        raise broken(_SERVICE, error) from error
