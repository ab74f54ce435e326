"""Listeners beside that of the calls: for operators, and for metrics."""

from __future__ import annotations

import asyncio
import functools
import math
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any, Final, Protocol, cast

import anyio
import uvicorn
from starlette.applications import Starlette
from uvicorn.server import ServerState

from mediaserver.server.admin.access import UNIX_PEER
from mediaserver.server.admin.app import create_admin_app, create_metrics_app
from mediaserver.server.admin.directory import Directory
from mediaserver.server.process.acceptor import Acceptor
from mediaserver.server.process.arrivals import Arrivals
from mediaserver.server.process.connections import HttpConnections
from mediaserver.server.process.descriptors import SpareDescriptors
from mediaserver.server.process.http import HttpConnection, HttpLimits, sweep_connections
from mediaserver.server.process.listening import bind_admin
from mediaserver.server.refusals import RefusalLog
from mediaserver.settings import Settings


_CONNECTIONS: Final = 100
"""Connections that may wait for a request."""

_SPARE_DESCRIPTORS: Final = 4
"""Connections that are answered when no other descriptor is left, in a process without calls."""

_SWEEP_SECONDS: Final = 0.5

_CLOSE_SECONDS: Final = 2.0
"""Seconds in which requests may be answered once the listener closes."""
_TICK: Final = 0.01


class SideFigures(Protocol):
    """The counters of a listener, such as a server's."""

    accept_failures: int
    tls_failures: int


class _OwnFigures:
    accept_failures = 0
    tls_failures = 0


class SideConnection(HttpConnection):
    """A connection that cannot become a WebSocket, and that knows the user of a Unix socket."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for a request."""
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        if sock.family == socket.AF_UNIX:
            user, process = _peer_of(sock)
            self.client = (f"{UNIX_PEER}{user}", process)

    def _take_stream(self, rest: bytes) -> None:
        self._take_without_upgrade(b"GET", "1.1", rest)


class SideListeners:
    """The listeners for operators and for metrics.

    Args:
        settings: say where operators are served.
        metrics: the sockets that are for metrics alone.

    Raises:
        BindError: the address for operators cannot be listened on.

    """

    def __init__(self, settings: Settings, metrics: Sequence[socket.socket] = ()) -> None:
        self._settings = settings
        self.metrics = metrics
        """The sockets for metrics alone."""
        self.admin = bind_admin(settings)
        """The sockets for operators."""
        self._listeners: list[SideListener] = []
        self._spare: SpareDescriptors | None = None

    def serve(
        self,
        directory: Directory,
        figures: SideFigures | None = None,
        spare: SpareDescriptors | None = None,
    ) -> None:
        """Serve them from now on, in the running event loop.

        Args:
            directory: answers what is asked.
            figures: count what fails.
            spare: descriptors for the time when no other is left.

        """
        settings = self._settings
        figures = figures or _OwnFigures()
        if spare is None:
            spare = self._spare = SpareDescriptors(_SPARE_DESCRIPTORS)
        for sockets, app in (
            (self.admin, create_admin_app(directory, settings)),
            (self.metrics, create_metrics_app(directory, settings.metrics_token)),
        ):
            if sockets:
                self._listeners.append(SideListener(sockets, app, settings, figures, spare))
        # The first use of anyio imports its part for asyncio. The first trace would do so in
        # mid-call, and hold up the event loop for 30 ms.
        anyio.current_time()

    async def close(self) -> None:
        """Listen no more, and close the connections once they have been answered."""
        for listener in self._listeners:
            await listener.close()
        if self._spare is not None:
            self._spare.close()


class SideListener:
    """Serves an application without TLS, on sockets of its own, in the running event loop.

    Nothing that callers do keeps it from answering: it shares no limit with their connections.

    Args:
        sockets: where to listen.
        app: the application.
        settings: limits of a request.
        figures: counts what fails.
        spare: descriptors for the time when no other is left.

    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        app: Starlette,
        settings: Settings,
        figures: SideFigures,
        spare: SpareDescriptors,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._held = HttpConnections(_CONNECTIONS)
        limits = HttpLimits(
            header_timeout=settings.header_timeout,
            idle_timeout=settings.idle_timeout,
            max_header_bytes=settings.max_header_bytes,
            max_body_bytes=settings.max_body_bytes,
        )
        refusals = RefusalLog(self._loop.time)
        config = uvicorn.Config(
            app,
            interface="asgi3",
            http=cast(Any, functools.partial(SideConnection, limits, refusals, self._held)),
            ws="none",
            lifespan="off",
            proxy_headers=False,
            server_header=False,
            log_config=None,
            access_log=settings.access_log,
            timeout_keep_alive=math.ceil(settings.idle_timeout),
        )
        config.load()
        self._state = ServerState()
        make = functools.partial(
            cast(Any, config.http_protocol_class),
            config=config,
            server_state=self._state,
            app_state={},
        )
        arrivals = Arrivals(make, self._held, figures)
        self._acceptors = [Acceptor(sock, arrivals, self._held, spare, figures) for sock in sockets]
        self._sweeping = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        sweep_connections(self._held.waiting, self._loop.time())
        self._sweeping = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    async def close(self) -> None:
        """Listen no more, and close the connections once they have been answered."""
        for acceptor in self._acceptors:
            acceptor.close()
        self._sweeping.cancel()
        connections = cast("set[Any]", self._state.connections)
        for connection in tuple(connections):
            connection.shutdown()
        ticks = round(_CLOSE_SECONDS / _TICK)
        for _ in range(ticks):
            if connections:
                await asyncio.sleep(_TICK)
        for connection in tuple(connections):
            connection.drop()


def _peer_of(sock: socket.socket) -> tuple[int, int]:
    """Return the ids of the user and the process at the other end of a Unix socket.

    Linux tells them. Elsewhere the mode of the socket's file alone decides who connects.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return os.geteuid(), 0
    size = struct.calcsize("3i")
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    process, user, _ = struct.unpack("3i", credentials)
    return user, process
