"""Moves a connection to the process that serves its request, before anything is answered.

Without TLS the socket itself is moved. Where this process has ended TLS, it goes on to decrypt and
encrypt, and what it relays goes through a pair of sockets whose other end is moved. A connection is
moved once: the process that takes it serves it.
"""

from __future__ import annotations

import asyncio
import os
import socket

from mediaserver.server.elsewhere import elsewhere
from mediaserver.server.relay import StreamRelay
from mediaserver.server.relocation import HandedConnection, Relocation
from mediaserver.server.runtime import Runtime


class Mover:
    """Moves the connections of one process.

    Args:
        runtime: The process's; its `Runtime.relocation` is the way to the others.

    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @property
    def is_among_several(self) -> bool:
        """Whether there may be other processes."""
        return self._runtime.relocation is not None

    def move(
        self, transport: asyncio.Transport, query_string: str, connection: HandedConnection
    ) -> bool:
        """Move a connection if its request is served elsewhere, and tell whether it was moved.

        Args:
            transport: The connection. Reading is paused, and its protocol has done with it.
            query_string: The query of its request.
            connection: What was read of it.

        """
        runtime, relocation = self._runtime, self._runtime.relocation
        if relocation is None:
            return False
        place = elsewhere(
            query_string,
            own=runtime.process,
            reaches=relocation.reaches,
            secret=runtime.settings.secret.get_secret_value(),
            now=runtime.wall_clock(),
        )
        if place is None:
            return False
        reason = f"{place.process} does not take it"
        try:
            if connection.secure:
                moved = self._relay(relocation, transport, place.process, connection)
            else:
                moved = _hand_over(relocation, transport, place.process, connection)
        except OSError as error:
            # No descriptor is left, for instance.
            moved, reason = False, str(error)
        if not moved:
            runtime.refusals.note("request is not brought to its process", reason=reason)
        runtime.counters.connections_moved += moved
        return moved

    def _relay(
        self,
        relocation: Relocation,
        transport: asyncio.Transport,
        process: str,
        connection: HandedConnection,
    ) -> bool:
        ours, theirs = socket.socketpair()
        if not relocation.hand_over(process, theirs, connection):
            ours.close()
            theirs.close()
            return False
        relays, timeout = self._runtime.relays, self._runtime.settings.dead_peer_timeout
        relay = StreamRelay(transport, ours, relays.discard, dead_peer_timeout=timeout)
        relays.add(relay)
        return True


def _hand_over(
    relocation: Relocation,
    transport: asyncio.Transport,
    process: str,
    connection: HandedConnection,
) -> bool:
    if transport.get_write_buffer_size():
        # An earlier response has not left. No client asks for more before it has read it.
        return False
    sock = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
    if not relocation.hand_over(process, sock, connection):
        sock.close()
        return False
    # The other descriptor keeps the connection open, so the client notices nothing.
    transport.set_protocol(asyncio.Protocol())
    transport.abort()
    return True
