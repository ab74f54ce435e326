"""Gets detectors and services ready when a worker starts, and closes them when it stops."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import structlog

from mediaserver.agents.services import (
    Checked,
    MisconfiguredServiceError,
    Prewarmed,
    ServiceError,
)
from mediaserver.agents.turns import VoiceDetector
from mediaserver.handler import HandlerError


PREWARM_WITHIN = 10.0
"""Seconds to wait for a service when a worker starts."""

CHECK_EVERY = 5.0
"""Seconds after which a service that could not be reached is tried again."""

CLOSE_WITHIN = 5.0
"""Seconds to wait for a service when a worker stops."""

log = structlog.get_logger("mediaserver.agents")

asks_services: ContextVar[bool] = ContextVar("asks_services", default=True)
"""Whether `kept_ready` checks services. Tests in virtual time have no network, and need no key."""

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
async def kept_ready(services: Iterable[Any]) -> AsyncIterator[Mapping[str, str]]:
    """Check and prewarm services on entering, and close them on leaving, each once.

    Yields why services are not ready, by their names. A service that cannot be reached does not
    keep the worker from starting: it is logged, and tried again until it can be reached.

    Raises:
        HandlerError: services cannot work as they are set up, such as without a key.
        ImportError: a service needs a package that is not installed.

    """
    mine = list({id(service): service for service in services}.values())
    users = _users.setdefault(asyncio.get_running_loop(), {})
    new = [service for service in mine if id(service) not in users]
    for service in mine:
        users[id(service)] = (service, users.get(id(service), (service, 0))[1] + 1)
    unready: dict[str, str] = {}
    retries: list[asyncio.Task[None]] = []
    try:
        errors = await asyncio.gather(*map(_check, new), return_exceptions=True)
        _raise_worst(errors)
        for service, error in zip(new, errors, strict=True):
            if isinstance(error, ServiceError):
                unready[error.service] = error.reason
                log.warning("service is not ready", service=error.service, reason=error.reason)
                retries.append(asyncio.create_task(_retry(service, error, unready)))
        yield unready
    finally:
        for retry in retries:
            retry.cancel()
        for service in mine:
            count = users[id(service)][1] - 1
            if count:
                users[id(service)] = (service, count)
            else:
                del users[id(service)]
                await _close(service)


async def _check(service: Any) -> None:
    if asks_services.get() and isinstance(service, Checked):
        await service.check()
    await _prewarm(service)


def _raise_worst(errors: Iterable[BaseException | None]) -> None:
    """Raise what keeps the worker from starting: all that is set up wrongly, or another error."""
    wrong: dict[str, list[str]] = {}
    for error in errors:
        if isinstance(error, MisconfiguredServiceError):
            wrong.setdefault(error.reason, []).append(error.service)
        elif error is not None and not isinstance(error, ServiceError):
            raise error
    if wrong:
        lines = (f"{', '.join(dict.fromkeys(names))}: {reason}" for reason, names in wrong.items())
        raise HandlerError("\n".join(lines))


async def _retry(service: Checked, error: ServiceError, unready: dict[str, str]) -> None:
    name = error.service
    while name in unready:
        await asyncio.sleep(CHECK_EVERY)
        try:
            await service.check()
        except ServiceError as again:
            if again.reason != unready[name]:
                log.warning("service is not ready", service=name, reason=again.reason)
            unready[name] = again.reason
        except Exception as fault:
            log.warning("service is not ready", service=name, reason=repr(fault))
        else:
            del unready[name]
            log.info("service is ready", service=name)


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
