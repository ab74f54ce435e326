"""A phone joined to a handler, without a network."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from mediaserver.handler import Handler, Route, Routes, StreamHandler
from mediaserver.sandbox import CallFailed, Phone
from mediaserver.server.connection import StreamConnection
from mediaserver.server.live import LiveCall
from mediaserver.server.runtime import Runtime
from mediaserver.settings import Settings
from mediaserver.stream import Stream


@dataclass(frozen=True, slots=True)
class Line:
    """Both ends of a call.

    Attributes:
        phone: the caller's end.
        runtime: the server's end.

    """

    phone: Phone
    runtime: Runtime

    @property
    def call(self) -> LiveCall:
        """The server's side of the call.

        Raises:
            LookupError: if there is no call, or it has ended and its handler returned.

        """
        for call in self.runtime.calls:
            return call
        raise LookupError("there is no live call on this line")

    @property
    def stream(self) -> Stream:
        """What the handler holds.

        Raises:
            LookupError: if there is no call, or its ``start`` has not arrived yet.

        """
        stream = self.call.stream
        if stream is None:
            raise LookupError("the stream has not started yet")
        return stream

    @property
    def _started(self) -> bool:
        return any(call.stream is not None for call in self.runtime.calls)

    async def hang_up(self) -> None:
        """Have the caller hang up, and wait until the handler has returned too."""
        await self.phone.hang_up()
        while self.runtime.calls:
            await asyncio.sleep(0.02)


@asynccontextmanager
async def joined(
    handler: StreamHandler | type[Handler] | Routes,
    *,
    settings: Settings | None = None,
    path: str = "/stream",
    start: bool = True,
    **phone: Any,
) -> AsyncIterator[Line]:
    """Call `handler` by a phone that is joined to it by a pair of sockets.

    It is the same code that serves real calls, from the WebSocket's bytes on. In `run_virtual` a
    call takes no real time. On leaving, the caller hangs up and the handler has returned.

    Args:
        handler: the handler, or routes.
        settings: the server's settings.
        path: the path of the stream URL, with a query if need be.
        start: whether the call is made at once; if not, use ``line.phone``.
        **phone: what the `Phone` is made with.

    """
    routes = handler if isinstance(handler, Routes) else Routes(Route(handler))
    loop = asyncio.get_running_loop()
    runtime = Runtime(settings or Settings(), routes, clock=loop.time)
    await runtime.startup()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    await loop.connect_accepted_socket(partial(StreamConnection, runtime), ours)
    line = Line(Phone(f"ws://phone.test{path}", sock=theirs, **phone), runtime)
    try:
        if start:
            await line.phone.start()
            while not (line.phone.ended or line.phone.misbehaviour.no_start or line._started):
                await asyncio.sleep(0)
        yield line
    finally:
        if line.phone.started:
            await line.hang_up()
        else:
            theirs.close()
        await runtime.shutdown()


__all__ = ["CallFailed", "Line", "joined"]
