"""Accepts the connections of one listening socket.

An event loop's own server says nothing when the descriptors run out; libuv's closes the connections
that it cannot take. Here, connections that wait for nothing make room, and the last descriptors
are kept for questions such as whether the process is alive.
"""

from __future__ import annotations

import asyncio
import select
import socket
from typing import Final, Protocol

from mediaserver.server.process.arrivals import Arrivals
from mediaserver.server.process.connections import HttpConnections
from mediaserver.server.process.descriptors import EXHAUSTED, ShortageLog, SpareDescriptors
from mediaserver.server.process.tcp_info import backlog_of


_AT_ONCE: Final = 32
"""Connections that are accepted in one turn of the loop. The requests of those accepted before may
have come already: they are read first, so that none is taken for an idle one."""

_PAUSE: Final = 0.02
"""Seconds without accepting after the descriptors ran out."""

_DROPPED_AT_ONCE: Final = 16
"""Waiting connections that are closed when the descriptors have run out."""


class AcceptFigures(Protocol):
    """The counters of an acceptor, such as a server's."""

    accept_failures: int


class Acceptor:
    """Accepts connections.

    It has what uvicorn uses of an `asyncio.Server`.

    Args:
        sock: The listening socket.
        arrivals: Take the connections.
        connections: Those of the process.
        spare: Descriptors for the time when no other is left.
        figures: Counts what fails.

    """

    def __init__(
        self,
        sock: socket.socket,
        arrivals: Arrivals,
        connections: HttpConnections,
        spare: SpareDescriptors,
        figures: AcceptFigures,
    ) -> None:
        self._sock = sock
        self._arrivals = arrivals
        self._connections = connections
        self._spare = spare
        self._figures = figures
        self._loop = asyncio.get_running_loop()
        self._paused: asyncio.TimerHandle | None = None
        self._shortage = ShortageLog(self._loop.time)
        self._pending = select.poll()
        self._pending.register(sock.fileno(), select.POLLIN)
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._accept)

    @property
    def backlog(self) -> int:
        """Number of connections that wait to be accepted."""
        return backlog_of(self._sock)

    def close(self) -> None:
        """Accept no more, and drop the connections whose handshake is not over."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
        if self._paused is not None:
            self._paused.cancel()
        self._sock.close()
        self._arrivals.drop()

    async def wait_closed(self) -> None:
        """Wait until the last handshake has ended."""
        await self._arrivals.wait_gone()

    def _accept(self) -> None:
        # Without TLS a connection arrives in the next turns of the loop.
        for _ in range(_AT_ONCE if self._arrivals.encrypted else _AT_ONCE - len(self._arrivals)):
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
        # That of a Unix socket is an empty text.
        self._arrivals.take(sock, address[0] if address else "", spare=spare)
        return True

    def _run_out(self, error: OSError) -> None:
        """Make room for a connection that could not be accepted."""
        self._figures.accept_failures += 1
        self._shortage.note(error.strerror, failures=self._figures.accept_failures)
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
