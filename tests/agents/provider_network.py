"""A network inside one event loop in which the addresses of providers lead to local servers.

So an agent runs as it is written: it connects to the hosts that its services know, by TLS.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from functools import cache
from typing import Any

import trustme

from tests.agents.virtual_network import Factory, VirtualNetworkLoop


@cache
def _authority() -> trustme.CA:
    return trustme.CA()


@cache
def client_tls() -> ssl.SSLContext:
    """Return what trusts the local servers, and no others."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _authority().configure_trust(context)
    return context


@cache
def _server_tls(host: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _authority().issue_cert(host).configure_cert(context)
    return context


class ProviderNetworkLoop(VirtualNetworkLoop):
    """A `VirtualNetworkLoop` in which local servers stand in for hosts."""

    def __init__(self) -> None:
        super().__init__()
        self._addresses: dict[str, str] = {}
        self._behind: dict[str, int] = {}

    async def stand_in(self, host: str, port: int) -> None:
        """Have a server that listens at a port of this loop stand in for a host."""
        server = await self.create_server(self.listeners[port].factory, ssl=_server_tls(host))
        address = self._addresses.setdefault(host, f"127.1.0.{len(self._addresses) + 1}")
        self._behind[address] = server.port

    async def getaddrinfo(  # type: ignore[override]
        self, host: str | bytes, port: int, **options: Any
    ) -> list[Any]:
        """Return the address of the server that stands in for a host."""
        host = host.decode() if isinstance(host, bytes) else host
        if host not in self._addresses or port != 443:
            raise socket.gaierror(f"no server stands in for {host}:{port}")
        there = (self._addresses[host], port)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", there)]

    async def create_connection(  # type: ignore[override]
        self, protocol_factory: Factory, host: str | None = None, port: int = 0, **options: Any
    ) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
        """Connect to a host by TLS, or to an address."""
        if host is not None and not host.startswith("127."):
            ((*_, (address, _)),) = await self.getaddrinfo(host, port)
            options |= {"ssl": client_tls(), "server_hostname": host}
            host = address
        port = self._behind.get(host or "", port)
        return await super().create_connection(protocol_factory, host, port, **options)
