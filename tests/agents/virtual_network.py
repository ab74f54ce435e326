"""A network inside one event loop, in virtual time: servers and clients of any library, no sockets.

A connection is a pair of connected sockets, between which the system delivers at once. So order
decides what a test sees, and not the machine.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
from collections.abc import Callable
from typing import Any

from mediaserver.testing.virtual_time import VirtualTimeLoop


Factory = Callable[[], asyncio.BaseProtocol]

_LOCALHOST = "127.0.0.1"


class _Socket(socket.socket):
    """An end of a connection, with the addresses of a TCP connection."""

    names: tuple[tuple[str, int], tuple[str, int]]

    @classmethod
    def of(cls, end: socket.socket, own: int, other: int) -> _Socket:
        made = cls(fileno=end.detach())
        made.setblocking(False)
        made.names = (_LOCALHOST, own), (_LOCALHOST, other)
        return made

    def getsockname(self) -> tuple[str, int]:
        return self.names[0]

    def getpeername(self) -> tuple[str, int]:
        return self.names[1]

    def setsockopt(self, *args: Any) -> None:
        """Do nothing: the options that libraries set are those of TCP."""


class _Listening:
    """Stands for a listening socket where a server's port is looked up."""

    family = socket.AF_INET

    def __init__(self, port: int) -> None:
        self._port = port

    def getsockname(self) -> tuple[str, int]:
        return _LOCALHOST, self._port


class VirtualListener(asyncio.AbstractServer):
    """A server of the network, in place of `asyncio.Server`."""

    def __init__(
        self, loop: VirtualNetworkLoop, factory: Factory, port: int, tls: ssl.SSLContext | None
    ) -> None:
        self._loop = loop
        self.factory = factory
        self.port = port
        self.tls = tls
        self.sockets = [_Listening(port)]

    def close(self) -> None:
        self._loop.listeners.pop(self.port, None)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def is_serving(self) -> bool:
        return self.port in self._loop.listeners

    async def start_serving(self) -> None:
        """Do nothing: it serves from the beginning."""

    async def serve_forever(self) -> None:
        await asyncio.Event().wait()

    async def wait_closed(self) -> None:
        pass


class VirtualNetworkLoop(VirtualTimeLoop):
    """A `VirtualTimeLoop` on which servers can be reached by host and port."""

    def __init__(self) -> None:
        super().__init__()
        self.listeners: dict[int, VirtualListener] = {}
        self._ports = itertools.count(50_000)
        self._handshakes: set[asyncio.Task[Any]] = set()

    async def create_server(  # type: ignore[override]
        self, protocol_factory: Factory, host: str | None = None, port: int = 0, **options: Any
    ) -> VirtualListener:
        port = port or next(self._ports)
        listener = VirtualListener(self, protocol_factory, port, options.get("ssl"))
        self.listeners[listener.port] = listener
        return listener

    async def create_connection(  # type: ignore[override]
        self, protocol_factory: Factory, host: str | None = None, port: int = 0, **options: Any
    ) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
        if options.get("sock") is not None:
            return await super().create_connection(protocol_factory, **options)
        listener = self.listeners.get(port)
        if listener is None:
            raise ConnectionRefusedError(f"nobody listens at {host}:{port}")
        local = next(self._ports)
        ours, theirs = socket.socketpair()
        there, here = _Socket.of(theirs, port, local), _Socket.of(ours, local, port)
        if listener.tls is None:  # whatever the client would have it be, it is local
            await self.connect_accepted_socket(listener.factory, there)
            return await super().create_connection(protocol_factory, sock=here)
        handshake = self.create_task(
            self.connect_accepted_socket(listener.factory, there, ssl=listener.tls)
        )
        self._handshakes.add(handshake)
        handshake.add_done_callback(self._handshakes.discard)
        return await super().create_connection(
            protocol_factory,
            sock=here,
            ssl=options.get("ssl"),
            server_hostname=options.get("server_hostname"),
        )
