"""Turns every failure of a service into a `ServiceError`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TypeGuard, TypeVar, cast

import structlog

from audiocodecs import AudioFormat
from mediaserver.agents.services import ServiceError, TextToSpeech, Voice, WordMark
from mediaserver.agents.services.deadlines import within
from mediaserver.call import Frame, WholeSamples


T = TypeVar("T")

SPEECH = "text_to_speech"
"""The name under which a failed synthesis is counted."""

log = structlog.get_logger("mediaserver.agents")


async def served(
    ask: Callable[[], AsyncIterator[T]], *, service: str, patience: float
) -> AsyncGenerator[T, None]:
    """Yield what a service sends; any exception of the service becomes a `ServiceError`.

    An exception of another type, such as an error in the service's code, is logged with its
    traceback.

    Args:
        ask: begins the request.
        service: the service's name, for errors that do not name it.
        patience: seconds to wait for the first piece, and from one piece to the next.

    Raises:
        ServiceError: the service failed, or was too slow.

    """
    try:
        pieces = within(ask(), first=patience, next=patience, service=service)
        try:
            async for piece in pieces:
                yield piece
        finally:
            await pieces.aclose()
    except ServiceError:
        raise
    except Exception as error:
        raise broken(service, error) from error


def is_voice(service: TextToSpeech | Voice) -> TypeGuard[Voice]:
    """Tell the two kinds of services that speak from each other."""
    return not hasattr(service, "speak")


async def speech(
    service: TextToSpeech | Voice,
    text: str,
    format: AudioFormat,
    *,
    patience: float,
    began: Callable[[], object] = lambda: None,
) -> AsyncGenerator[Frame | WordMark, None]:
    """Yield the speech of `text` in frames of whole samples, however the service cuts it.

    Args:
        service: synthesises it; a `Voice` in a session of its own.
        text: the text.
        format: the stream's format.
        patience: seconds to wait for the first piece, and from one piece to the next.
        began: called when the first audio comes, from which services are assumed to charge.

    Raises:
        ServiceError: the service failed, was too slow, sent no audio for a text with words, or
            sent something else.

    """
    pieces = served(lambda: _ask(service, text, format), service=SPEECH, patience=patience)
    silent = True
    whole = WholeSamples()
    try:
        async for piece in pieces:
            if isinstance(piece, Frame):
                piece = whole.frame(piece)
                if silent and piece.payload:
                    silent = False
                    began()
            elif not isinstance(piece, WordMark):
                raise unexpected(SPEECH, piece, "Frame or WordMark")
            yield piece
    finally:
        await pieces.aclose()
    if silent and any(map(str.isalnum, text)):
        raise ServiceError(SPEECH, f"no audio came for a text of {len(text)} characters")


def _ask(
    service: TextToSpeech | Voice, text: str, format: AudioFormat
) -> AsyncIterator[Frame | WordMark]:
    if is_voice(service):
        return _spoken(service, text, format)
    return cast(TextToSpeech, service).speak(text, format)


async def _spoken(
    voice: Voice, text: str, format: AudioFormat
) -> AsyncGenerator[Frame | WordMark, None]:
    session = await voice.connect(format)
    try:
        context = session.begin()
        await context.say(text)
        await context.end()
        async for piece in context.speech():
            yield piece
    finally:
        await session.close()


def unexpected(service: str, piece: object, allowed: str) -> ServiceError:
    """Return the error for a piece of a wrong type, without its value, which may be private."""
    return ServiceError(service, f"it sent a {type(piece).__name__}; allowed: {allowed}")


def broken(service: str, error: Exception) -> ServiceError:
    """Log an unexpected exception of a service, and return a `ServiceError` for it."""
    log.error("service raised an exception", service=service, exc_info=error)
    return ServiceError(service, f"{type(error).__name__}: {error}")
