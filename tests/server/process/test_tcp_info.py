import socket
import struct
import sys
from typing import Any

import pytest

from mediaserver.server.process import tcp_info
from mediaserver.server.process.tcp_info import backlog_of, seconds_since_data


class Answering:
    """A socket that answers with a `tcp_info` of so many bytes."""

    def __init__(self, unacked: int = 0, last_data_received: int = 0, size: int = 232) -> None:
        self._info = struct.pack("=24xI24xI176x", unacked, last_data_received)[:size]

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        return self._info[:size]


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_connections_that_wait_to_be_accepted_are_counted() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=10) as listening:
        assert backlog_of(listening) == 0
        clients = [socket.create_connection(listening.getsockname()) for _ in range(3)]
        assert backlog_of(listening) == 3
        listening.accept()[0].close()
        assert backlog_of(listening) == 2
        for client in clients:
            client.close()


def test_the_time_since_data_came_is_in_seconds() -> None:
    assert seconds_since_data(Answering(last_data_received=1_500)) == 1.5
    assert backlog_of(Answering(unacked=7)) == 7


def test_of_sockets_that_are_not_tcp_nothing_is_known() -> None:
    ours, theirs = socket.socketpair()
    assert backlog_of(ours) == 0
    assert seconds_since_data(theirs) == 0
    ours.close()
    theirs.close()


def test_an_answer_that_is_too_short_tells_nothing() -> None:
    assert seconds_since_data(Answering(last_data_received=1_500, size=40)) == 0


def test_on_other_systems_nothing_is_known(monkeypatch: Any) -> None:
    monkeypatch.setattr(tcp_info, "_TCP_INFO", None)
    assert backlog_of(Answering(unacked=7)) == 0
