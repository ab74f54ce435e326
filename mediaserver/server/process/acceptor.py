"""Accepts the connections of one listening socket.

An event loop's own server says nothing when the descriptors run out; libuv's closes the connections
that it cannot take. Here, connections that wait for nothing make room, and the last descriptors
are kept for questions such as whether the process is alive.
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, Protocol

import structlog

from mediaserver.server.process.connections import HttpConnections
from mediaserver.server.process.descriptors import EXHAUSTED, SpareDescriptors


log = structlog.get_logger(__name__)

_AT_ONCE: Final = 32
"""Connections that are accepted in one turn of the loop. The requests of those accepted before may
have come already: they are read first, so that none is taken for an idle one."""

_PAUSE: Final = 0.02
"""Seconds without accepting after the descriptors ran out."""

_DROPPED_AT_ONCE: Final = 16
"""Waiting connections that are closed when the descriptors have run out."""

_LOG_INTERVAL: Final = 60.0

MakeProtocol = Callable[..., asyncio.Protocol]
"""Makes a connection's protocol; takes `address` and `spare`."""


class AcceptFigures(Protocol):
    """The counters of an acceptor, such as a server's."""

    accept_failures: int
    tls_failures: int


class Acceptor:
    """Accepts connections, and takes them through the TLS handshake.

    It has what uvicorn uses of an `asyncio.Server`.

    Args:
        sock: The listening socket.
        make_protocol: Makes the protocol of a connection.
        connections: Those of the process.
        spare: Descriptors for the time when no other is left.
        figures: Counts what fails.
        context: For TLS; None for plain HTTP.
        handshake_timeout: Seconds within which a TLS handshake must end.

    """

    def __init__(
        self,
        sock: socket.socket,
        make_protocol: MakeProtocol,
        connections: HttpConnections,
        spare: SpareDescriptors,
        figures: AcceptFigures,
        *,
        context: ssl.SSLContext | None = None,
        handshake_timeout: float = 10.0,
    ) -> None:
        self._sock = sock
        self._make_protocol = make_protocol
        self._connections = connections
        self._spare = spare
        self._figures = figures
        self._tls: dict[str, Any] = {}
        if context is not None:
            self._tls = {
                "ssl": context,
                "ssl_handshake_timeout": handshake_timeout,
                # The memory of a connection is held until its peer has said goodbye as well.
                "ssl_shutdown_timeout": handshake_timeout,
            }
        self._arrivals: set[_Arrival] = set()
        self._loop = asyncio.get_running_loop()
        self._paused: asyncio.TimerHandle | None = None
        self._logged = -_LOG_INTERVAL
        self._pending = select.poll()
        self._pending.register(sock.fileno(), select.POLLIN)
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._accept)

    def close(self) -> None:
        """Accept no more, and drop the connections whose handshake is not over."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
        if self._paused is not None:
            self._paused.cancel()
        self._sock.close()
        for arrival in tuple(self._arrivals):
            arrival.drop()

    async def wait_closed(self) -> None:
        """Wait until the last handshake has ended."""
        while self._arrivals:
            await asyncio.wait([each.task for each in self._arrivals])

    def _accept(self) -> None:
        # Without TLS a connection arrives in the next turns of the loop.
        for _ in range(_AT_ONCE if self._tls else _AT_ONCE - len(self._arrivals)):
            if not self._accept_one(spare=False):
                return

    def _accept_one(self, *, spare: bool) -> bool:
        """Accept a connection, and tell whether there may be another."""
        try:
            sock, address = self._sock.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno not in EXHAUSTED:
                # The connection is gone already: accept(2) reports its errors.
                return True
            # Linux looks for a free descriptor before it looks for a connection.
            if not spare and self._pending.poll(0):
                self._run_out(error)
            return False
        arrival = _Arrival(sock, self._connections.client_of(address[0]))
        arrival.task = self._loop.create_task(self._connect(arrival, spare=spare))
        arrival.task.add_done_callback(lambda _: self._arrived(arrival))
        self._arrivals.add(arrival)
        self._connections.wait(arrival)
        return True

    async def _connect(self, arrival: _Arrival, *, spare: bool) -> None:
        def make() -> asyncio.Protocol:
            return self._make_protocol(address=arrival.address, spare=spare)

        sock = arrival.sock
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(make, sock, **self._tls)
        except asyncio.CancelledError:
            sock.close()
        except OSError:
            sock.close()
            if self._tls:
                self._figures.tls_failures += 1

    def _arrived(self, arrival: _Arrival) -> None:
        if arrival.task.cancelled():
            # It was dropped before its task began.
            arrival.sock.close()
        self._arrivals.discard(arrival)
        self._connections.discard(arrival)
        # The task's frame refers to the arrival: without this, both wait for the garbage collector,
        # and with them the memory of the connection's TLS.
        del arrival.task

    def _run_out(self, error: OSError) -> None:
        """Make room for a connection that could not be accepted."""
        self._figures.accept_failures += 1
        now = self._loop.time()
        if now - self._logged >= _LOG_INTERVAL:
            self._logged = now
            log.error(
                "no file descriptor left for a connection",
                error=error.strerror,
                failures=self._figures.accept_failures,
                hint="raise the limit of open files (ulimit -n, LimitNOFILE), or lower --max-calls",
            )
        if not self._connections.drop_oldest(_DROPPED_AT_ONCE):
            self._spare.refill()
            if self._spare.take():
                self._accept_one(spare=True)
        # Closed connections give their descriptors back in a later turn of the loop.
        self._loop.remove_reader(self._sock.fileno())
        self._paused = self._loop.call_later(_PAUSE, self._resume)

    def _resume(self) -> None:
        self._paused = None
        self._loop.add_reader(self._sock.fileno(), self._accept)
        self._spare.refill()


class _Arrival:
    """A connection between its acceptance and the end of its TLS handshake."""

    task: asyncio.Task[None]

    def __init__(self, sock: socket.socket, address: str | None) -> None:
        self.sock = sock
        self.address = address

    def drop(self) -> None:
        """Close the connection at once."""
        self.task.cancel()
