"""Gets detectors and services ready when a worker starts, and closes them when it stops."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import structlog

from mediaserver.agents.services import Prewarmed
from mediaserver.agents.turns import VoiceDetector


PREWARM_WITHIN = 10.0
"""Seconds to wait for a service when a worker starts."""

CLOSE_WITHIN = 5.0
"""Seconds to wait for a service when a worker stops."""

log = structlog.get_logger("mediaserver.agents")

_made_before: WeakSet[Callable[[], VoiceDetector]] = WeakSet()

# The number of handlers of each event loop that use a service. The service is kept too, so that its
# id is not given to another one.
_users: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, tuple[Any, int]]] = (
    WeakKeyDictionary()
)


async def make_detector(make: Callable[[], VoiceDetector]) -> VoiceDetector:
    """Make a detector; the first of its kind in a thread, because it may load a model."""
    if make in _made_before:
        return make()
    detector = await asyncio.to_thread(make)
    _made_before.add(make)
    return detector


@asynccontextmanager
async def kept_ready(services: Iterable[Any]) -> AsyncIterator[None]:
    """Prewarm services on entering, and close them on leaving, each once for all its handlers.

    A service that cannot be reached or has no key is logged: it may work by the first call.

    Raises:
        ImportError: a service needs a package that is not installed.

    """
    mine = list({id(service): service for service in services}.values())
    users = _users.setdefault(asyncio.get_running_loop(), {})
    new = [service for service in mine if id(service) not in users]
    for service in mine:
        users[id(service)] = (service, users.get(id(service), (service, 0))[1] + 1)
    try:
        await asyncio.gather(*map(_prewarm, new))
        yield
    finally:
        for service in mine:
            count = users[id(service)][1] - 1
            if count:
                users[id(service)] = (service, count)
            else:
                del users[id(service)]
                await _close(service)


async def _prewarm(service: Any) -> None:
    if not isinstance(service, Prewarmed):
        return
    name = type(service).__qualname__
    try:
        async with asyncio.timeout(PREWARM_WITHIN):
            await service.prewarm()
    except ImportError:
        raise
    except Exception as error:
        log.warning("not prewarmed", service=name, error=str(error) or repr(error))


async def _close(service: Any) -> None:
    close = getattr(service, "close", None)
    if not inspect.iscoroutinefunction(close):
        return
    try:
        async with asyncio.timeout(CLOSE_WITHIN):
            await close()
    except Exception as error:
        log.warning("not closed", service=type(service).__qualname__, exc_info=error)
