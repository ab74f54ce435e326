import asyncio
import socket
from typing import Any, cast

import pytest

from mediaserver.server.stream_socket import UNSENT_HIGH, bound_unsent


class Transport:
    def __init__(self, sock: socket.socket | None) -> None:
        self.sock = sock
        self.high: int | None = None

    def set_write_buffer_limits(self, high: int) -> None:
        self.high = high

    def get_extra_info(self, name: str) -> Any:
        return {"socket": self.sock}[name]


def bounded(sock: socket.socket | None) -> Transport:
    transport = Transport(sock)
    bound_unsent(cast(asyncio.Transport, transport), 12.5)
    return transport


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux alone has it")
def test_the_kernel_drops_a_peer_that_acknowledges_nothing() -> None:
    with socket.socket() as sock:
        default = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        assert bounded(sock).high == UNSENT_HIGH
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 12_500
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) != default


def test_other_sockets_have_a_bounded_write_buffer_alone() -> None:
    assert bounded(None).high == UNSENT_HIGH
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert bounded(ours).high == UNSENT_HIGH
