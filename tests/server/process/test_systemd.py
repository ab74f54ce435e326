import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from mediaserver.server.process.listening import BindError, address_of
from mediaserver.server.process.systemd import Notifier, given_sockets, listening_sockets
from mediaserver.settings import Settings


CODE = """
import os, sys
from mediaserver.server.process.listening import BindError, address_of
from mediaserver.server.process.systemd import given_sockets
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": sys.argv[3]}
try:
    calls, metrics = given_sockets()
except BindError as error:
    sys.exit(str(error))
print([address_of(sock)[1] for sock in calls], [address_of(sock)[1] for sock in metrics])
assert "LISTEN_FDS" not in os.environ and not os.get_inheritable(3)
"""


def run_with(first: socket.socket, second: socket.socket, names: str) -> tuple[str, str]:
    """What a process that has these sockets as its third and fourth descriptor makes of them."""
    descriptors = [first.fileno(), second.fileno()]
    process = subprocess.run(
        [sys.executable, "-c", CODE, *map(str, descriptors), names],
        pass_fds=descriptors,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return process.stdout, process.stderr


def test_the_sockets_that_systemd_listens_on_are_taken() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as calls,
        socket.create_server(("127.0.0.1", 0)) as metrics,
    ):
        printed, _ = run_with(calls, metrics, "mediaserver.socket:metrics")
        assert printed == f"[{calls.getsockname()[1]}] [{metrics.getsockname()[1]}]\n"


def test_a_socket_that_cannot_be_accepted_from_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as calls, socket.socket() as silent:
        _, said = run_with(calls, silent, "mediaserver.socket:other.socket")
        assert "other.socket" in said
        assert "ListenStream=" in said


@pytest.mark.parametrize("environment", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}])
def test_sockets_of_another_process_are_left_alone(environment: dict[str, str]) -> None:
    assert given_sockets(environment) == ([], [])


class Service:
    """systemd's end, and a notifier with a clock."""

    def __init__(self, path: str, **variables: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.bind("\0" + path[1:] if path.startswith("@") else path)
        self.now = 100.0
        self.environment = {"NOTIFY_SOCKET": path, "PATH": "/bin", **variables}
        self.notifier = Notifier(self.environment, clock=lambda: self.now)

    def said(self) -> list[str]:
        """Return what it was told until now."""
        told = []
        while True:
            try:
                told.append(self.sock.recv(1000).decode())
            except BlockingIOError:
                return told


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(str(tmp_path / "notify"), WATCHDOG_USEC="30000000")
    yield service
    service.sock.close()


def test_systemd_is_told_what_the_server_does(service: Service) -> None:
    assert service.environment == {"PATH": "/bin"}
    service.notifier.ready()
    service.notifier.reloading()
    service.notifier.stopping()
    ready, reloading, stopping = service.said()
    assert (ready, stopping) == ("READY=1", "STOPPING=1")
    first, second = reloading.split("\n")
    assert first == "RELOADING=1"
    assert int(second.removeprefix("MONOTONIC_USEC=")) > 0


def test_a_server_that_is_alive_says_so_in_time(service: Service) -> None:
    beats = []
    for _ in range(60):
        service.now += 1
        service.notifier.alive("serving")
        beats += [service.now for line in service.said() if line == "WATCHDOG=1"]
    assert service.notifier.watchdog == 30
    assert [later - earlier for earlier, later in pairwise(beats)] == [10] * 5


def test_the_status_is_passed_on_when_it_changes_and_not_too_often(service: Service) -> None:
    said = []
    for calls in (0, 1, 2, 3, 3, 3, 3, 3):
        service.notifier.alive(f"{calls} calls")
        said += [line for line in service.said() if line.startswith("STATUS")]
        service.now += 1
    assert said == ["STATUS=0 calls", "STATUS=3 calls"]


def test_an_abstract_address_is_known() -> None:
    service = Service(f"@mediaserver-test-{os.getpid()}")
    service.notifier.ready()
    assert service.said() == ["READY=1"]
    service.sock.close()


def test_a_watchdog_of_another_process_is_not_served(tmp_path: Path) -> None:
    service = Service(str(tmp_path / "notify"), WATCHDOG_USEC="1000000", WATCHDOG_PID="1")
    assert service.notifier.watchdog is None
    service.notifier.alive("serving")
    assert service.said() == ["STATUS=serving"]
    service.sock.close()


def test_without_systemd_nothing_happens(tmp_path: Path) -> None:
    silent = Notifier({})
    silent.ready()
    silent.alive("serving")
    gone = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    gone.ready()


def test_without_systemd_the_addresses_of_the_settings_are_listened_on() -> None:
    calls, metrics = listening_sockets(Settings(port=0, metrics="127.0.0.1:0"))
    assert len(calls) == len(metrics) == 1
    taken = f"127.0.0.1:{address_of(metrics[0])[1]}"
    with pytest.raises(BindError):
        listening_sockets(Settings(port=0, metrics=taken))
    for sock in calls + metrics:
        sock.close()
