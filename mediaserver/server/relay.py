"""Relays the bytes of a stream between its client and the process that serves it.

The process that has ended TLS does so. It reads from neither side faster than the other side takes,
and it has no deadlines of its own: the call has them, and ends both connections.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final, cast

from mediaserver.server.stream_socket import UNSENT_HIGH, bound_unsent


_KERNEL_BYTES: Final = 16_384
"""The kernel's buffer towards the other process. What waits in it counts as sent there."""


class StreamRelay:
    """Two connections, each of which sends what the other receives.

    Args:
        client: The connection to the client. Reading is paused.
        server: This process's end of the pair of sockets to the process that serves the stream, or
            the connection to another machine. Reading is paused.
        forget: Called with this object once both connections are closed.
        dead_peer_timeout: Seconds for which the client may acknowledge nothing.

    """

    def __init__(
        self,
        client: asyncio.Transport,
        server: socket.socket | asyncio.Transport,
        forget: Callable[[StreamRelay], object],
        *,
        dead_peer_timeout: float,
    ) -> None:
        self._forget = forget
        self._client, self._server = RelayEnd(self._lost), RelayEnd(self._lost)
        self._client.other, self._server.other = self._server, self._client
        bound_unsent(client, dead_peer_timeout)
        self._client.transport = client
        client.set_protocol(self._client)
        if not isinstance(server, socket.socket):
            bound_unsent(server, dead_peer_timeout)
            server.set_protocol(self._server)
            self._server.connection_made(server)
            server.resume_reading()
            return
        server.setblocking(False)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BYTES)
        self._joining = asyncio.create_task(self._join(server), name="relay of a stream")

    async def _join(self, sock: socket.socket) -> None:
        loop, server = asyncio.get_running_loop(), self._server
        try:
            await loop.connect_accepted_socket(lambda: server, sock)
        except BaseException:
            sock.close()
            server.connection_lost(None)
            raise

    def _lost(self) -> None:
        if self._client.lost and self._server.lost:
            self._forget(self)


class RelayEnd(asyncio.Protocol):
    """One connection of a relay.

    Args:
        closed: Called when it is closed.

    """

    __slots__ = ("_closed", "ended", "lost", "other", "transport")

    other: RelayEnd

    def __init__(self, closed: Callable[[], object]) -> None:
        self._closed = closed
        self.transport: asyncio.Transport | None = None
        self.ended = False
        """Whether it receives no more."""
        self.lost = False
        """Whether it is closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to relay, once the second of the two connections is there."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=UNSENT_HIGH)
        if self.other.lost:
            self.transport.abort()
        else:
            self.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Send it on the other side."""
        assert self.other.transport is not None, "nothing is read before both are there"
        self.other.transport.write(data)

    def eof_received(self) -> bool:
        """Pass on that this side sends no more; keep it open if it can still be sent to."""
        assert self.transport is not None, "it has received something"
        self.ended = True
        other = self.other.transport
        if other is None or self.other.lost:
            return False
        if self.other.ended or not other.can_write_eof():
            other.close()
        else:
            other.write_eof()
        return self.transport.can_write_eof() and not self.other.ended

    def pause_writing(self) -> None:
        """Read no more from the other side: this side does not take it."""
        other = self.other.transport
        if other is not None and not other.is_closing():
            other.pause_reading()

    def resume_writing(self) -> None:
        """Read from the other side again."""
        other = self.other.transport
        if other is not None and not other.is_closing():
            other.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the other side as this one was closed."""
        self.lost = True
        other = self.other
        if other.transport is not None and not other.lost:
            if exc is None:
                other.transport.close()
            else:
                other.transport.abort()
        self._closed()
