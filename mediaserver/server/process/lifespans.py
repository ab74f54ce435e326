"""Waits for the handlers' lifespans, which are code of the application and may never end."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from mediaserver.server.process.awaited import awaited_at


log = structlog.get_logger(__name__)

_TICK: Final = 0.1
_FIRST_LINE: Final = 1.0
"""Seconds after which the log says what is waited for."""
_NEXT_LINE: Final = 10.0
_CANCELLING: Final = 3.0
"""Seconds within which what was cancelled must end."""


class LifespanError(RuntimeError):
    """The lifespans took too long; the message says which, and where."""


class AskedToStopError(Exception):
    """The server was asked to stop while its lifespans opened or closed."""


class LifespanInterruption(BaseException):
    """Raised into code that blocks the event loop while the server starts or stops."""


async def wait_for_lifespans(
    task: asyncio.Task[None],
    doing: str,
    *,
    what: Callable[[], str],
    limit: float,
    asked_to_stop: Callable[[], bool],
    tick: Callable[[int], Awaitable[Any]],
) -> None:
    """Return when `task` has ended.

    Args:
        task: Opens or closes the lifespans.
        doing: The event that is logged while it takes long: ``starting`` or ``stopping``.
        what: Returns what the task is about, for the log.
        limit: Seconds that it may take.
        asked_to_stop: Tells whether to stop waiting.
        tick: The server's periodic work; takes the number of the tick.

    Raises:
        LifespanError: The time is over. The task is cancelled; it is not done if it resisted.
        AskedToStopError: The same, because the server was asked to stop.
        Exception: What the task raised.

    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    log_at = begun + _FIRST_LINE
    for counter in itertools.count():
        await tick(counter)
        await asyncio.wait([task], timeout=_TICK)
        if task.done():
            break
        now = loop.time()
        stopped = asked_to_stop()
        if stopped or now - begun > limit:
            place = awaited_at(task)
            await _cancel(task)
            if stopped:
                raise AskedToStopError
            raise LifespanError(
                f"{what()} took more than {limit:g} s, the limit of --lifespan-timeout; it waited"
                f" at {place}"
            )
        if now >= log_at:
            log_at = now + _NEXT_LINE
            log.info(
                doing,
                awaiting=what(),
                at=awaited_at(task),
                seconds=round(now - begun, 1),
                at_most_seconds=limit,
            )
    try:
        task.result()
    except LifespanInterruption:
        raise AskedToStopError from None


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task], timeout=_CANCELLING)
    if not task.done():
        log.error("a lifespan goes on although it was cancelled", at=awaited_at(task))
    elif not task.cancelled():
        # Reading it keeps asyncio from reporting it as never retrieved.
        task.exception()
