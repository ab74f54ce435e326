import socket
from collections import Counter
from typing import Any

import pytest

from mediaserver.agents import Echo
from mediaserver.plivo.xml import parse_response
from mediaserver.routes import Route, Routes
from mediaserver.server.process.overload import MANY, TICKS_TO_BEGIN, Overload
from mediaserver.server.process.turning_away import TurningAway
from mediaserver.server.runtime import Runtime
from mediaserver.settings import Settings


class Connection:
    """A transport whose socket is no TCP socket."""

    def __init__(self) -> None:
        self._sock, other = socket.socketpair()
        other.close()

    def get_extra_info(self, name: str) -> Any:
        assert name == "socket"
        return self._sock

    def close(self) -> None:
        self._sock.close()


class Gate:
    """An overload, and what answers during one."""

    def __init__(self, **settings: Any) -> None:
        self.runtime = Runtime(Settings(**settings), Routes(Route(Echo)))
        self.overload = Overload(self.runtime.counters)
        self.turning_away = TurningAway(self.runtime, self.overload)

    def applies_to(self, url: bytes) -> bool:
        connection: Any = Connection()
        try:
            return self.turning_away.applies_to(url, connection)
        finally:
            connection.close()

    def overwhelm(self) -> None:
        for _ in range(TICKS_TO_BEGIN):
            self.overload.tick(MANY)


@pytest.mark.parametrize(
    ("url", "applies"),
    [
        (b"/answer", True),
        (b"/answer?path=/sales", True),
        (b"/fallback", True),
        (b"/hangup", False),
        (b"/status", False),
        (b"/healthz", False),
        (b"/answers", False),
    ],
)
def test_only_requests_to_answer_are_turned_away_and_only_in_overload(
    url: bytes, applies: bool
) -> None:
    gate = Gate()
    assert not gate.applies_to(url)
    gate.overwhelm()
    assert gate.applies_to(url) == applies


@pytest.mark.parametrize(
    ("url", "body", "is_new"),
    [
        (b"/answer", b"CallUUID=a&Event=StartApp", True),
        (b"/answer?CallUUID=a&Event=StartApp", b"", True),
        (b"/answer", b"CallUUID=a&Event=Hangup&CallStatus=completed", False),
        (b"/answer", b"CallUUID=a&Event=StartStream", False),
        (b"/answer", b"CallUUID=a", False),
    ],
)
def test_only_the_first_request_of_a_call_is_a_new_call(
    url: bytes, body: bytes, is_new: bool
) -> None:
    assert Gate().turning_away.is_new_call(url, body) == is_new


def test_the_response_says_that_all_lines_are_busy_and_is_counted() -> None:
    gate = Gate(busy_message="Try later.")
    head, _, document = gate.turning_away.respond(b"date: now\r\n").partition(b"\r\n\r\n")
    assert head.splitlines() == [
        b"HTTP/1.1 200 OK",
        b"date: now",
        b"content-type: application/xml",
        b"cache-control: no-store",
        b"content-length: %d" % len(document),
    ]
    assert "Try later." in str(parse_response(document))
    assert gate.runtime.counters.webhooks == Counter(busy=1)
    assert gate.runtime.counters.refused == Counter(overload=1)
