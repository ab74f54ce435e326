"""Connections that were accepted, until their TLS handshake is over and they can be read."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, Protocol

from mediaserver.server.process.connections import HttpConnections
from mediaserver.server.relocation import HandedConnection


MakeProtocol = Callable[..., asyncio.Protocol]
"""Makes a connection's protocol; takes `address`, `spare` and `handed`."""


class ArrivalFigures(Protocol):
    """The counters of what arrives, such as a server's."""

    tls_failures: int


class Arrivals:
    """Takes accepted connections through the TLS handshake, and gives each its protocol.

    Args:
        make_protocol: Makes the protocol of a connection.
        connections: Those of the process.
        figures: Counts what fails.
        context: For TLS; None for plain HTTP.
        handshake_timeout: Seconds within which a TLS handshake must end.

    """

    def __init__(
        self,
        make_protocol: MakeProtocol,
        connections: HttpConnections,
        figures: ArrivalFigures,
        *,
        context: ssl.SSLContext | None = None,
        handshake_timeout: float = 10.0,
    ) -> None:
        self._make_protocol = make_protocol
        self._connections = connections
        self._figures = figures
        self._tls: dict[str, Any] = {}
        if context is not None:
            self._tls = {
                "ssl": context,
                "ssl_handshake_timeout": handshake_timeout,
                # The memory of a connection is held until its peer has said goodbye as well.
                "ssl_shutdown_timeout": handshake_timeout,
            }
        self._loop = asyncio.get_running_loop()
        self._arriving: set[_Arrival] = set()

    def __len__(self) -> int:
        """Return the number of connections that cannot be read yet."""
        return len(self._arriving)

    @property
    def encrypted(self) -> bool:
        """Whether connections begin with a TLS handshake."""
        return bool(self._tls)

    def take(
        self,
        sock: socket.socket,
        host: str,
        *,
        spare: bool = False,
        handed: HandedConnection | None = None,
    ) -> None:
        """Take an accepted connection.

        Args:
            sock: Its socket.
            host: The client's address.
            spare: Whether it has a descriptor of the reserve.
            handed: What another process has read of it. It is not encrypted any more.

        """
        arrival = _Arrival(sock, self._connections.client_of(host))
        arrival.task = self._loop.create_task(self._connect(arrival, spare=spare, handed=handed))
        arrival.task.add_done_callback(lambda _: self._arrived(arrival))
        self._arriving.add(arrival)
        self._connections.wait(arrival)

    def drop(self) -> None:
        """Drop the connections whose handshake is not over."""
        for arrival in tuple(self._arriving):
            arrival.drop()

    async def wait_gone(self) -> None:
        """Wait until the last handshake has ended."""
        while self._arriving:
            await asyncio.wait([each.task for each in self._arriving])

    async def _connect(
        self, arrival: _Arrival, *, spare: bool, handed: HandedConnection | None
    ) -> None:
        def make() -> asyncio.Protocol:
            return self._make_protocol(address=arrival.address, spare=spare, handed=handed)

        sock, tls = arrival.sock, {} if handed is not None else self._tls
        try:
            # The event loop makes it non-blocking, and sets TCP_NODELAY.
            await self._loop.connect_accepted_socket(make, sock, **tls)
        except asyncio.CancelledError:
            sock.close()
        except OSError:
            sock.close()
            if tls:
                self._figures.tls_failures += 1

    def _arrived(self, arrival: _Arrival) -> None:
        if arrival.task.cancelled():
            # It was dropped before its task began.
            arrival.sock.close()
        self._arriving.discard(arrival)
        self._connections.discard(arrival)
        # The task's frame refers to the arrival: without this, both wait for the garbage collector,
        # and with them the memory of the connection's TLS.
        del arrival.task


class _Arrival:
    """A connection between its acceptance and the end of its TLS handshake."""

    task: asyncio.Task[None]

    def __init__(self, sock: socket.socket, address: str | None) -> None:
        self.sock = sock
        self.address = address

    def drop(self) -> None:
        """Close the connection at once."""
        self.task.cancel()
