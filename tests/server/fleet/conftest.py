"""A Redis for these tests alone, where there is a redis-server."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mediaserver.agents import Echo
from mediaserver.routes import Route, Routes
from mediaserver.server.admin.directory import OwnCalls
from mediaserver.server.fleet import fleet as fleet_module
from mediaserver.server.fleet import mail as mail_module
from mediaserver.server.fleet.breaker import Breaker
from mediaserver.server.fleet.directory import FleetDirectory
from mediaserver.server.fleet.fleet import Fleet
from mediaserver.server.fleet.keys import FleetKeys
from mediaserver.server.fleet.store import FleetStore
from mediaserver.server.neighbours import Alone
from mediaserver.server.runtime import Runtime
from mediaserver.settings import Settings
from tests.server.admin.live import FakeControl


_START_SECONDS = 30.0

_PATIENCE = 10.0


class PrivateRedis:
    """A redis-server on a Unix socket, without files."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "redis.sock"
        self.url = f"unix://{self._socket}"
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self.start()

    def start(self) -> None:
        """Start it, with nothing in it."""
        self._process = subprocess.Popen(
            [
                "redis-server",
                *("--port", "0", "--unixsocket", str(self._socket)),
                *("--save", "", "--appendonly", "no", "--dir", str(self._socket.parent)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        limit = time.monotonic() + _START_SECONDS
        while not self._answers():
            assert time.monotonic() < limit, "redis-server did not start"
            assert self._process.poll() is None, "redis-server ended"
            time.sleep(0.01)

    def _answers(self) -> bool:
        return self.command(b"PING").startswith(b"+PONG")

    def command(self, command: bytes) -> bytes:
        """Return how the answer to a command begins."""
        with socket.socket(socket.AF_UNIX) as sock, contextlib.suppress(OSError):
            sock.settimeout(_PATIENCE)
            sock.connect(str(self._socket))
            sock.sendall(command + b"\r\n")
            return sock.recv(16)
        return b""

    def clean(self) -> None:
        """Have it run, with nothing in it."""
        if self._process is None:
            self.start()
        self.thaw()
        assert self.command(b"FLUSHALL").startswith(b"+OK")

    def freeze(self) -> None:
        """Have it answer nobody, as if the network were cut."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it go on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it; everything in it is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None
            self._socket.unlink(missing_ok=True)


@dataclass
class Node:
    """A process of a fleet, without the daemon."""

    runtime: Runtime
    fleet: Fleet
    directory: FleetDirectory
    control: FakeControl


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give Redis and the nodes ten seconds to answer: on a busy machine they are slow, not away."""
    monkeypatch.setattr(fleet_module, "_CLAIM_SECONDS", _PATIENCE)
    monkeypatch.setattr(mail_module, "TAKEN_SECONDS", _PATIENCE)


@pytest.fixture
async def start_node(private_redis: PrivateRedis, _patient: None) -> AsyncIterator[Any]:
    """Start nodes of one fleet: ``await start_node("a", Route(…), max_calls_account=2)``."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(name: str, *routes: Route, lost_after: float = 30.0, **more: Any) -> Node:
            settings = Settings(redis=private_redis.url, secret="s" * 16, **more)  # type: ignore[arg-type]
            runtime = Runtime(settings, Routes(*(routes or [Route(Echo)])), process=name)
            store = FleetStore(
                private_redis.url,
                name,
                FleetKeys(),
                Breaker(runtime.clock, seconds=0.05),
                lost_after=lost_after,
                seconds=_PATIENCE,
            )
            machine = name.rpartition("/")[0] or name
            fleet = Fleet(runtime, Alone(), machine=machine, store=store)
            runtime.fleet = runtime.neighbours = fleet
            control = FakeControl()
            fleet.own = OwnCalls(runtime, control)
            directory = FleetDirectory(fleet.own, fleet)
            await runtime.startup()
            stack.push_async_callback(runtime.shutdown)
            async with asyncio.timeout(30):
                await fleet.mail.listens.wait()
            await fleet.beat()
            return Node(runtime, fleet, directory, control)

        yield start


@pytest.fixture(scope="session")
def _redis_server() -> Iterator[PrivateRedis | None]:
    if shutil.which("redis-server") is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = PrivateRedis(Path(folder))
        yield server
        server.kill()


@pytest.fixture
def private_redis(_redis_server: PrivateRedis | None) -> Iterator[PrivateRedis]:
    """Return a Redis that runs and has nothing in it."""
    if _redis_server is None:
        if os.environ.get("MEDIASERVER_TESTS_NEED_REDIS"):
            pytest.fail("there is no redis-server: make fleet installs it")
        pytest.skip("there is no redis-server: make fleet installs it")
    _redis_server.clean()
    yield _redis_server
    _redis_server.thaw()
