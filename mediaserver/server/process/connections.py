"""All connections that have not become a stream: which of them the server waits for.

A connection that waits for a request costs the server a descriptor and some memory, and costs its
client nothing. So their number is limited. The one that has waited longest makes room for a new
one: a client that wants an answer sends its request at once.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from mediaserver.settings import Network


_IPV6_PREFIX: Final = 64
"""Bits of an IPv6 address that tell one client from another: each has all addresses below."""


class HeldConnection(Protocol):
    """A connection, or one whose TLS handshake is not over."""

    address: str | None
    """The client, as `client_of` returns it; None if its connections are not counted."""

    def drop(self) -> None:
        """Close the connection at once, without a word."""


class HttpConnections:
    """The connections of one process that are not streams.

    Args:
        limit: Number of connections that may wait for their client.
        address_limit: The same for each client address; None for no limit.
        trusted: Networks of proxies, whose connections are not counted by address.
        dropped: Counts the connections that were closed to make room, by what there were too many
            of: ``idle``, ``address`` or ``descriptors``.
        counted: Called with the number of all connections when it may have changed.

    """

    def __init__(
        self,
        limit: int,
        *,
        address_limit: int | None = None,
        trusted: Sequence[Network] = (),
        dropped: Counter[str] | None = None,
        counted: Callable[[int], object] = lambda number: None,
    ) -> None:
        self.limit = limit
        self.dropped: Counter[str] = Counter() if dropped is None else dropped
        self.serving: set[HeldConnection] = set()
        """Those whose client waits for a response."""
        self.closed = 0
        """Connections that were closed, or have become a stream, until now."""
        self._counted = counted
        self._address_limit = address_limit
        self._trusted = trusted
        self._waiting: OrderedDict[HeldConnection, None] = OrderedDict()
        self._by_address: dict[str, OrderedDict[HeldConnection, None]] = {}

    def __len__(self) -> int:
        """Return the number of connections, whoever waits for whom."""
        return len(self._waiting) + len(self.serving)

    @property
    def waiting(self) -> list[HeldConnection]:
        """Those that the server waits for, by how long, the longest first."""
        return list(self._waiting)

    def client_of(self, host: str) -> str | None:
        """Return by what connections from `host` are counted; None if they are not."""
        if self._address_limit is None:
            return None
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return host or None
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if any(address in network for network in self._trusted):
            return None
        if isinstance(address, ipaddress.IPv6Address):
            return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))
        return str(address)

    def wait(self, connection: HeldConnection) -> None:
        """Count the connection as waiting from now on, and drop those that are too many."""
        address = connection.address
        if connection in self._waiting:
            # As many as before: only the order changes.
            self._waiting.move_to_end(connection)
            if address is not None:
                self._by_address[address].move_to_end(connection)
            return
        self.serving.discard(connection)
        self._waiting[connection] = None
        if address is not None:
            same = self._by_address.setdefault(address, OrderedDict())
            same[connection] = None
            if self._address_limit is not None and len(same) > self._address_limit:
                self._drop(next(iter(same)), "address")
        if len(self._waiting) > self.limit:
            self._drop(next(iter(self._waiting)), "idle")
        self._counted(len(self))

    def serve(self, connection: HeldConnection) -> None:
        """Count the connection as one whose client waits for a response."""
        self._forget_waiting(connection)
        self.serving.add(connection)

    def discard(self, connection: HeldConnection) -> None:
        """Count the connection no longer: it is closed, or has become a stream."""
        self.closed += 1
        self._forget_waiting(connection)
        self.serving.discard(connection)
        self._counted(len(self))

    def drop_oldest(self, number: int) -> int:
        """Drop the connections that have waited longest; return how many there were."""
        oldest = self.waiting[:number]
        for connection in oldest:
            self._drop(connection, "descriptors")
        return len(oldest)

    def _drop(self, connection: HeldConnection, cause: str) -> None:
        self.dropped[cause] += 1
        self._forget_waiting(connection)
        connection.drop()

    def _forget_waiting(self, connection: HeldConnection) -> None:
        self._waiting.pop(connection, None)
        address = connection.address
        same = None if address is None else self._by_address.get(address)
        if same is not None and address is not None:
            same.pop(connection, None)
            if not same:
                del self._by_address[address]
