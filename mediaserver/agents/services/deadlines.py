"""Time limits for services."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

from mediaserver.agents.services.errors import ServiceError


T = TypeVar("T")


async def within(
    pieces: AsyncIterator[T],
    *,
    first: float,
    next: float,  # noqa: A002
    service: str,
) -> AsyncGenerator[T, None]:
    """Yield `pieces` as they come, and give up on a service that is too slow.

    Only the time spent waiting for the service counts. `pieces` is closed, if it can be closed, at
    its end, at an error, when this iterator is closed and when its task is cancelled.

    Args:
        pieces: what the service sends.
        first: seconds until the first piece, including connecting and retries.
        next: seconds from one piece to the next, and to the end.
        service: the service's name, for the error.

    Raises:
        ServiceError: the service was too slow.

    """
    seconds, begun = first, False
    try:
        while True:
            waiting = asyncio.timeout(seconds)
            try:
                async with waiting:
                    piece = await anext(pieces)
            except StopAsyncIteration:
                return
            except TimeoutError:
                if not waiting.expired():
                    raise
                what = "its answer stopped, and did not go on" if begun else "no answer"
                raise ServiceError(service, f"{what} within {seconds:g} s") from None
            yield piece
            seconds, begun = next, True
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


def require_seconds(**seconds: float) -> None:
    """Check settings in seconds.

    Raises:
        ValueError: one is not a number of seconds above 0.

    """
    for name, value in seconds.items():
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 < value < math.inf
        ):
            raise ValueError(f"{name} must be a number of seconds above 0, not {value!r}")
