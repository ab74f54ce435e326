"""Moves a connection to the process that serves its request, before anything is answered.

Without TLS the socket itself is moved. Where this process has ended TLS, it goes on to decrypt and
encrypt, and what it relays goes through a pair of sockets whose other end is moved. A connection is
moved once: the process that takes it serves it.

To another machine a stream is relayed, marked so that it is not relayed again. If that machine does
not take the connection at once, the stream is served here.
"""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import ssl
from typing import Any, Final
from urllib.parse import urlsplit

from mediaserver.server.elsewhere import Elsewhere, MoveTo, RelayTo, elsewhere
from mediaserver.server.relay import StreamRelay
from mediaserver.server.relocation import HandedConnection, Relocation
from mediaserver.server.runtime import Runtime
from mediaserver.server.trust.relayed import RelayedClient, mark, marked_client


_DIAL_SECONDS: Final = 0.5
"""Seconds within which another machine must take a connection."""


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
        place = self._place(query_string)
        if not isinstance(place, MoveTo):
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

    @property
    def is_in_fleet(self) -> bool:
        """Whether there may be other machines."""
        return self._runtime.fleet is not None

    def machine_of(self, query_string: str) -> str | None:
        """Return the URL of the machine that serves a stream; None for this one."""
        place = self._place(query_string)
        return place.address if isinstance(place, RelayTo) else None

    def relayed_client(self, given: str, url: str) -> RelayedClient | None:
        """Return the client of a stream that another machine relays, if its mark is valid."""
        secret = self._runtime.settings.secret.get_secret_value()
        return marked_client(given, url, secret, self._runtime.wall_clock())

    def mark_of(self, client: tuple[str, int], url: str, *, secure: bool) -> str:
        """Return the mark of a stream that is relayed."""
        runtime = self._runtime
        known = RelayedClient(*client[:2], secure, runtime.wall_clock())
        return mark(known, url, runtime.settings.secret.get_secret_value())

    async def dial(self, address: str) -> asyncio.Transport | None:
        """Connect to another machine; None if it is not reached at once."""
        parts = urlsplit(address)
        tls: dict[str, Any] = {}
        if parts.scheme == "https":
            # The certificate is the one that callers are shown.
            public = urlsplit(self._runtime.settings.public_url or address)
            tls = {"ssl": _tls(), "server_hostname": public.hostname}
        try:
            async with asyncio.timeout(_DIAL_SECONDS):
                transport, _ = await asyncio.get_running_loop().create_connection(
                    asyncio.Protocol, str(parts.hostname), parts.port or 80, **tls
                )
        except OSError as error:
            reason = str(error) or f"no answer within {_DIAL_SECONDS:g} s"
            self._runtime.refusals.note("stream is not relayed", to=address, reason=reason)
            return None
        transport.pause_reading()
        return transport

    def relay(self, client: asyncio.Transport, machine: asyncio.Transport, head: bytes) -> None:
        """Relay between a client and another machine, which has read nothing yet."""
        runtime = self._runtime
        machine.write(head)
        timeout = runtime.settings.dead_peer_timeout
        relay = StreamRelay(client, machine, runtime.relays.discard, dead_peer_timeout=timeout)
        runtime.relays.add(relay)
        runtime.counters.connections_moved += 1

    def _place(self, query_string: str) -> Elsewhere | None:
        runtime, relocation, fleet = self._runtime, self._runtime.relocation, self._runtime.fleet
        return elsewhere(
            query_string,
            own=runtime.process,
            reaches=relocation.reaches if relocation is not None else lambda process: False,
            address_of=fleet.address_of if fleet is not None else lambda process: None,
            secret=runtime.settings.secret.get_secret_value(),
            now=runtime.wall_clock(),
        )

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


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


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
