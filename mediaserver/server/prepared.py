"""Handlers that get ready between ``/answer`` and the stream of their call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

import structlog

from mediaserver.handler import Handler, StreamHandler
from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.routes import Route, Routes
from mediaserver.stream import Stream, contained_exit


log = structlog.get_logger("mediaserver.calls")

NEVER_CAME: Final = "the stream never came"
"""What `Handler.on_stop` is told by a handler that was prepared for nothing."""


@runtime_checkable
class Dispatcher(Protocol):
    """A route's handler that stands for others: each of its calls may have another."""

    def route_of(self, request: AnswerRequest) -> Route | None:
        """Return the route of the handler that will take a call."""


@dataclass(slots=True, eq=False)
class _Prepared:
    route: Route
    handler: Handler
    getting_ready: asyncio.Task[None]
    expiry: asyncio.TimerHandle


class PreparedHandlers:
    """Handlers that were told of a call whose stream has not come.

    They are kept by the process that got the webhook. Where another one gets the stream, its
    handler is a new one that knows of no `on_answer`, and this one is told that no stream came.

    Args:
        routes: the server's routes, for what their handlers share.
        seconds: how long a handler waits for its stream.
        limit: how many handlers may wait at once; one more lets go of the oldest.
        grace: seconds that `Handler.on_stop` may take.
        failed: takes the exception of a hook, and by keyword the ids of the call and the handler.

    """

    def __init__(
        self,
        routes: Routes,
        *,
        seconds: float,
        limit: int,
        grace: float,
        failed: Callable[..., object],
    ) -> None:
        self._routes = routes
        self._seconds = seconds
        self._limit = limit
        self._grace = grace
        self._failed = failed
        self._waiting: dict[str, _Prepared] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def prepare(self, route: Route, request: AnswerRequest) -> None:
        """Have the handler of a call get ready, if it wants to.

        Asking again for the same call, as Plivo does when it retries a webhook, does nothing.
        """
        shared = self._routes.shared(route)
        handler: object = route.handler
        if isinstance(handler, Dispatcher):
            own = handler.route_of(request)
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
            with contained_exit():
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

    def take(self, call_id: str | None, route: Route) -> StreamHandler:
        """Return what runs the handler of a call: the one that was prepared, if one was."""
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
        """Let go of a handler whose stream will not come. Does nothing if there is none."""
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
        """Let go of all, and wait for what they still do, but not for ever."""
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
    ) -> None:
        try:
            with contained_exit():
                await handler.on_answer(request, shared)
        except Exception as error:
            self._failed(error, **ids)

    async def _leave(self, waiting: _Prepared, ids: dict[str, str]) -> None:
        log.info("stream never came", **ids)
        waiting.getting_ready.cancel()
        await asyncio.wait([waiting.getting_ready])
        try:
            with contained_exit():
                async with asyncio.timeout(self._grace):
                    await waiting.handler.on_stop(NEVER_CAME)
        except Exception as error:
            self._failed(error, **ids)
