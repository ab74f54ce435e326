"""What Linux tells of a TCP socket: tcp(7), TCP_INFO.

Elsewhere, and of other sockets, nothing is known: then nothing waits.
"""

from __future__ import annotations

import socket
import struct
from typing import Final, Protocol


_UNACKED: Final = 24
"""Offset of ``tcpi_unacked``: of a listening socket, the connections that wait to be accepted."""
_LAST_DATA_RECEIVED: Final = 52
"""Offset of ``tcpi_last_data_recv``, in milliseconds."""
_TCP_INFO: Final = getattr(socket, "TCP_INFO", None)


class TcpSocket(Protocol):
    """What is asked of a socket; also what a transport returns as its own."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """Return an option's value."""


def backlog_of(listening: TcpSocket) -> int:
    """Return the number of connections that wait to be accepted."""
    return _field(listening, _UNACKED)


def seconds_since_data(connection: TcpSocket) -> float:
    """Return how long ago the peer's last data arrived.

    Asked when the data is read, this is how long it has waited to be read. The kernel counts in
    steps of its own clock: 1 to 10 ms.
    """
    return _field(connection, _LAST_DATA_RECEIVED) / 1000


def _field(sock: TcpSocket, offset: int) -> int:
    if _TCP_INFO is None:
        return 0
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, offset + 4)
    except OSError:
        return 0
    return int(struct.unpack_from("=I", info, offset)[0]) if len(info) >= offset + 4 else 0
