"""systemd: sockets that it listens on for the server, and what it wants to know of the server.

See sd_listen_fds(3) and sd_notify(3). Where systemd has not started the process, nothing happens.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, MutableMapping
from typing import Final, NamedTuple

import structlog

from mediaserver.server.process.listening import BindError, bind, bind_metrics
from mediaserver.settings import Settings


log = structlog.get_logger(__name__)

_FIRST_DESCRIPTOR: Final = 3
_METRICS_NAME: Final = "metrics"

VARIABLES: Final = (
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
)
"""What systemd sets in the environment; it is meant for this process alone."""

_STATUS_INTERVAL: Final = 5.0


class GivenSockets(NamedTuple):
    """The listening sockets that systemd has passed."""

    calls: list[socket.socket]
    metrics: list[socket.socket]
    """Those that the socket unit names ``metrics`` (``FileDescriptorName=``)."""


def given_sockets(environment: MutableMapping[str, str] | None = None) -> GivenSockets:
    """Return the sockets that systemd has passed; none without socket activation.

    Raises:
        BindError: A socket is not one that a server can accept connections from.

    """
    environment = os.environ if environment is None else environment
    names = environment.pop("LISTEN_FDNAMES", "").split(":")
    number = int(environment.pop("LISTEN_FDS", 0))
    given = GivenSockets([], [])
    if environment.pop("LISTEN_PID", None) != str(os.getpid()):
        return given
    for index in range(number):
        name = names[index] if index < len(names) else ""
        sock = _listening(_FIRST_DESCRIPTOR + index, name)
        (given.metrics if name == _METRICS_NAME else given.calls).append(sock)
    return given


def listening_sockets(settings: Settings) -> tuple[list[socket.socket], list[socket.socket]]:
    """Return the sockets for calls and those for metrics alone, of systemd or of the settings.

    Raises:
        BindError: An address does not exist, or is in use, or systemd's socket is not one.

    """
    given = given_sockets()
    if given.calls:
        log.info(
            "sockets are systemd's",
            hint="--host and --port are not used; ListenStream= of the socket unit is",
        )
    calls = given.calls or bind(settings)
    try:
        return calls, given.metrics or bind_metrics(settings)
    except BindError:
        for sock in calls:
            sock.close()
        raise


def _listening(descriptor: int, name: str) -> socket.socket:
    sock = socket.socket(fileno=descriptor)
    # Like every descriptor of Python's, it is not for the children.
    os.set_inheritable(descriptor, False)
    listens = sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM
    if not listens or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise BindError(
            f"systemd passed {name or 'a socket'}, which does not listen on an address of TCP:"
            " give the socket unit ListenStream= with a port, and Accept=no"
        )
    return sock


class Notifier:
    """Tells systemd that the server is ready, reloading, stopping and alive.

    Args:
        environment: Has systemd's variables, which are taken out of it.
        clock: Monotonic seconds.

    """

    def __init__(
        self,
        environment: MutableMapping[str, str] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        environment = os.environ if environment is None else environment
        self._path = environment.pop("NOTIFY_SOCKET", None)
        microseconds = int(environment.pop("WATCHDOG_USEC", 0))
        self.watchdog: float | None = None
        """Seconds after which systemd restarts a server that has not said that it is alive."""
        if environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
            self.watchdog = microseconds / 1e6 or None
        self._clock = clock
        self._beaten = self._described = float("-inf")
        self._status = ""

    def ready(self) -> None:
        """Say that the server has started, or that it has reloaded."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Say that a reload has begun; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the server has been asked to stop."""
        self._send("STOPPING=1")

    def alive(self, status: str) -> None:
        """Say that the server is alive. May be called often: it is passed on when it is due.

        Args:
            status: What it does, for ``systemctl status``.

        """
        if self._path is None:
            return
        now = self._clock()
        if self.watchdog is not None and now - self._beaten >= self.watchdog / 3:
            self._beaten = now
            self._send("WATCHDOG=1")
        if status != self._status and now - self._described >= _STATUS_INTERVAL:
            self._described, self._status = now, status
            self._send(f"STATUS={status}")

    def _send(self, *lines: str) -> None:
        if self._path is None:
            return
        # Its name may begin with @ for the abstract namespace.
        address = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
        ):
            sock.setblocking(False)
            sock.sendto("\n".join(lines).encode(), address)
