"""What a service sends, with every way it may fail made one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TypeVar

import structlog

from audiocodecs import AudioFormat
from mediaserver.agents.services import ServiceError, TextToSpeech, WordMark
from mediaserver.agents.services.deadlines import within
from mediaserver.call import Frame


T = TypeVar("T")

SPEECH = "text_to_speech"
"""What a failed synthesis is counted as."""

log = structlog.get_logger("mediaserver.agents")


async def served(
    ask: Callable[[], AsyncIterator[T]], *, service: str, patience: float
) -> AsyncGenerator[T, None]:
    """Yield what a service sends; whatever goes wrong with it is a `ServiceError`.

    An exception that is none, as an error in the service's own code, is logged with its traceback.

    Args:
        ask: begins the request.
        service: the service's name, where it does not name itself.
        patience: seconds to wait for the first piece, and from one to the next.

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


async def speech(
    service: TextToSpeech,
    text: str,
    format: AudioFormat,
    *,
    patience: float,
    began: Callable[[], object] = lambda: None,
) -> AsyncGenerator[Frame | WordMark, None]:
    """Yield the speech of `text`: whole samples, and some of them if there is a word to say.

    Args:
        service: what speaks.
        text: what it is to say.
        format: the stream's.
        patience: seconds to wait for the first piece, and from one to the next.
        began: told when the first audio comes, from which on a service is taken to charge.

    Raises:
        ServiceError: the service failed, was too slow, or sent something else.

    """
    pieces = served(lambda: service.speak(text, format), service=SPEECH, patience=patience)
    silent = True
    try:
        async for piece in pieces:
            if isinstance(piece, Frame):
                size = len(piece.payload)
                if size % piece.format.sample_bytes:
                    raise ServiceError(
                        SPEECH,
                        f"it sent {size} bytes, which are not whole samples of {piece.format}",
                    )
                if silent and size:
                    silent = False
                    began()
            elif not isinstance(piece, WordMark):
                raise unexpected(SPEECH, piece, "Frame or WordMark")
            yield piece
    finally:
        await pieces.aclose()
    if silent and any(map(str.isalnum, text)):
        raise ServiceError(SPEECH, f"no audio came for a text of {len(text)} characters")


def unexpected(service: str, piece: object, allowed: str) -> ServiceError:
    """Return the error of a service that sent something else than it may; `piece` is not shown."""
    return ServiceError(service, f"it sent a {type(piece).__name__}: allowed is {allowed}")


def broken(service: str, error: Exception) -> ServiceError:
    """Log an exception that a service should not have raised, and return it as one it may."""
    log.error("service raised an exception", service=service, exc_info=error)
    return ServiceError(service, f"{type(error).__name__}: {error}")
