"""Bounds what a stream's connection may leave unsent, and for how long."""

from __future__ import annotations

import asyncio
import socket
from typing import Final


UNSENT_HIGH: Final = 32_768
"""Bytes in the write buffer above which sending stops: three seconds of mu-law."""

_SEND_BUFFER: Final = 65_536
"""The kernel's send buffer. A large one would hide a peer that has stopped reading."""


def bound_unsent(transport: asyncio.Transport, dead_peer_timeout: float) -> None:
    """Bound the buffers of a connection.

    Args:
        transport: The connection.
        dead_peer_timeout: Seconds after which the kernel drops it if its peer acknowledges nothing.

    """
    transport.set_write_buffer_limits(high=UNSENT_HIGH)
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            timeout_ms = round(dead_peer_timeout * 1000)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
