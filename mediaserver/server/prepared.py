"""Handlers that prepare for a call between ``/answer`` and its stream."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, cast

import structlog

from mediaserver.containment import Containment, tell_of_failures
from mediaserver.handler import Handler, StreamHandler
from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.plivo.stream_options import StreamOptions
from mediaserver.routes import Route, Routes
from mediaserver.stream import Stream


log = structlog.get_logger("mediaserver.calls")

NEVER_CAME: Final = "the stream never came"
"""The reason that `Handler.on_stop` gets if the stream never came."""


class Dispatcher(Protocol):
    """A route's handler that picks another handler for each call."""

    def route_of(self, request: AnswerRequest) -> Route | None:
        """Return the route of the handler that will take the call."""


@dataclass(slots=True, eq=False)
class _Prepared:
    route: Route
    handler: Handler
    getting_ready: asyncio.Task[StreamOptions | None]
    expiry: asyncio.TimerHandle


class PreparedHandlers:
    """Handlers whose `on_answer` was called and whose stream has not come yet.

    The process that got the webhook keeps them. Other workers bring the stream to it. A server that
    does not know it creates a new handler, without `on_answer`, and the one kept here is stopped
    after `seconds`.

    Args:
        routes: the server's routes, for what their handlers share.
        seconds: how long a handler waits for its stream.
        limit: number of handlers that may wait at once; beyond it, the oldest is stopped.
        grace: seconds that `Handler.on_stop` may take.
        answer_timeout: seconds that `options` waits.
        failed: takes the exception of a hook, and by keyword the ids of the call and the handler.

    """

    def __init__(
        self,
        routes: Routes,
        *,
        seconds: float,
        limit: int,
        grace: float,
        answer_timeout: float,
        failed: Callable[..., object],
    ) -> None:
        self._routes = routes
        self._seconds = seconds
        self._limit = limit
        self._grace = grace
        self._answer_timeout = answer_timeout
        self._failed = failed
        self._waiting: dict[str, _Prepared] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def prepare(self, route: Route, request: AnswerRequest) -> None:
        """Create the handler of a call and call its `on_answer`, if it overrides that.

        Repeating it for the same call, as when Plivo retries a webhook, does nothing.
        """
        shared = self._routes.shared(route)
        handler: object = route.handler
        # What a protocol's isinstance() does takes longer than all the rest of this.
        if hasattr(handler, "route_of"):
            own = cast(Dispatcher, handler).route_of(request)
            if own is None:
                return
            route = own
        call_id = request.call_id
        waiting = self._waiting.get(call_id)
        if waiting is not None and waiting.route == route:
            return
        self.abandon(call_id)
        ids = {"call": call_id, "handler": route.name}
        try:
            with Containment():
                prepared = route.prepare()
        except Exception as error:
            self._failed(error, **ids)
            return
        if prepared is None:
            return
        if len(self._waiting) >= self._limit:
            self.abandon(next(iter(self._waiting)))
        loop = asyncio.get_running_loop()
        self._waiting[call_id] = _Prepared(
            route,
            prepared,
            loop.create_task(
                self._get_ready(prepared, request, shared, ids),
                name=f"call {call_id} {route.name} on_answer",
            ),
            loop.call_later(self._seconds, self.abandon, call_id),
        )

    async def options(self, call_id: str) -> StreamOptions | None:
        """Return how `Handler.on_answer` wants its call to be streamed; None if it does not say.

        Waits for a hook that is declared to return `StreamOptions`, within the time limit.
        """
        waiting = self._waiting.get(call_id)
        if waiting is None:
            return None
        getting_ready = waiting.getting_ready
        # It may return in its first step.
        await asyncio.sleep(0)
        if not getting_ready.done() and _declares_options(waiting.handler):
            await asyncio.wait([getting_ready], timeout=self._answer_timeout)
        if getting_ready.done():
            return None if getting_ready.cancelled() else getting_ready.result()
        ids = {"call": call_id, "handler": waiting.route.name}
        getting_ready.add_done_callback(partial(_warn_of_late_options, ids))
        return None

    def take(self, call_id: str | None, route: Route) -> StreamHandler:
        """Return the handler that was prepared for a call, or else one that is created for it."""
        waiting = self._waiting.get(call_id or "")
        if waiting is None or waiting.route != route:
            return route.run
        del self._waiting[call_id or ""]
        waiting.expiry.cancel()
        handler, getting_ready = waiting.handler, waiting.getting_ready

        async def run(stream: Stream) -> None:
            try:
                await handler(stream)
            finally:
                getting_ready.cancel()

        return run

    def abandon(self, call_id: str) -> None:
        """Stop the handler of a call whose stream will not come, if one was prepared."""
        waiting = self._waiting.pop(call_id, None)
        if waiting is None:
            return
        waiting.expiry.cancel()
        ids = {"call": call_id, "handler": waiting.route.name}
        leaving = asyncio.get_running_loop().create_task(
            self._leave(waiting, ids), name=f"call {call_id} {waiting.route.name} on_stop"
        )
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """Stop all handlers, and wait for them for at most `grace` seconds."""
        for call_id in tuple(self._waiting):
            self.abandon(call_id)
        if not self._leaving:
            return
        _, late = await asyncio.wait(self._leaving, timeout=self._grace)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    async def _get_ready(
        self, handler: Handler, request: AnswerRequest, shared: Any, ids: dict[str, str]
    ) -> StreamOptions | None:
        tell_of_failures(partial(self._failed, **ids))
        try:
            with Containment():
                options: object = await handler.on_answer(request, shared)
        except Exception as error:
            self._failed(error, **ids)
            return None
        if options is None or isinstance(options, StreamOptions):
            return options
        log.warning("on_answer returned neither StreamOptions nor None", value=repr(options), **ids)
        return None

    async def _leave(self, waiting: _Prepared, ids: dict[str, str]) -> None:
        log.info("stream never came", **ids)
        waiting.getting_ready.cancel()
        await asyncio.wait([waiting.getting_ready])
        tell_of_failures(partial(self._failed, **ids))
        try:
            with Containment():
                async with asyncio.timeout(self._grace):
                    await waiting.handler.on_stop(NEVER_CAME)
        except Exception as error:
            self._failed(error, **ids)


def _declares_options(handler: Handler) -> bool:
    declared = inspect.signature(handler.on_answer).return_annotation
    return "StreamOptions" in str(declared)


def _warn_of_late_options(ids: dict[str, str], done: asyncio.Task[StreamOptions | None]) -> None:
    if not done.cancelled() and done.result() is not None:
        log.warning(
            "on_answer returned StreamOptions after the call had been answered",
            hint="declare it with -> StreamOptions, and return within answer_timeout",
            **ids,
        )
