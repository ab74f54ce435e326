"""What a service sends, with every way it may fail made one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TypeVar

import structlog

from mediaserver.agents.services import ServiceError
from mediaserver.agents.services.deadlines import within


T = TypeVar("T")

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


def broken(service: str, error: Exception) -> ServiceError:
    """Log an exception that a service should not have raised, and return it as one it may."""
    log.error("service raised an exception", service=service, exc_info=error)
    return ServiceError(service, f"{type(error).__name__}: {error}")
