"""A started runtime, a server in this event loop, and a server in a process of its own."""

import asyncio
import contextlib
import gc
import json
import os
import queue
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop
from websockets.server import ServerProtocol

from mediaserver.agents import Echo
from mediaserver.call import Session
from mediaserver.call.inbox import Inbox
from mediaserver.call.playout import Playout
from mediaserver.handler import Handler
from mediaserver.routes import Route, Routes
from mediaserver.server.asgi import AsgiLink
from mediaserver.server.connection import StreamConnection
from mediaserver.server.process.daemon import Daemon, load_certificates
from mediaserver.server.process.http import HttpConnection
from mediaserver.server.process.listening import bind, bind_metrics
from mediaserver.server.process.side_listener import SideListeners
from mediaserver.server.runtime import Runtime
from mediaserver.server.server_call import ServerCall
from mediaserver.settings import Settings
from mediaserver.stream import Stream
from mediaserver.testing import VirtualTimeLoop


def pytest_configure(config: Any) -> None:
    config.addinivalue_line("markers", "real_time: run in a loop of the system's clock")
    config.addinivalue_line("markers", "each_loop: run in asyncio's loop and in uvloop's")
    config.addinivalue_line("markers", "fleet: needs a redis-server, as from `make fleet`")


def pytest_asyncio_loop_factories(item: Any) -> Any:
    if item.get_closest_marker("each_loop"):
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    if item.get_closest_marker("real_time"):
        return {"real": asyncio.new_event_loop}
    return {"virtual": VirtualTimeLoop}


@pytest.fixture(autouse=True)
def _nothing_blocks(nothing_blocks: None) -> None:
    """Hold for each of these tests."""


@pytest.fixture
async def start_runtime() -> AsyncIterator[Any]:
    """Start runtimes: ``await start_runtime(*routes, **settings)``.

    A lost stream ends at once, unless `reconnect_seconds` is given.
    """
    async with contextlib.AsyncExitStack() as stack:

        async def start(*routes: Any, **settings: Any) -> Runtime:
            runtime = Runtime(
                Settings(**{"reconnect_seconds": 0.0, **settings}),
                Routes(*(routes or [Route(Echo)])),
                clock=asyncio.get_running_loop().time,
                wall_clock=lambda: 1_800_000_000.0,
            )
            await runtime.startup()
            stack.push_async_callback(runtime.shutdown)
            return runtime

        yield start


@pytest.fixture
def left_of_calls() -> Iterator[Callable[[], list[str]]]:
    """Collect no garbage, and tell which parts of calls there are that were not there before."""
    gc.collect()
    gc.freeze()  # what was there before is then passed over, which saves most of the time
    gc.disable()
    yield lambda: [type(each).__name__ for each in gc.get_objects() if isinstance(each, _PARTS)]
    gc.enable()


_PARTS = (
    *(HttpConnection, StreamConnection, ServerProtocol, AsgiLink),
    *(ServerCall, Session, Inbox, Playout, Stream, Handler),
)


@dataclass(frozen=True)
class Certified:
    """A certificate of 127.0.0.1 with its key, and how a client trusts it."""

    file: Path
    client: ssl.SSLContext


@pytest.fixture(scope="session")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    authority = trustme.CA()
    file = tmp_path_factory.mktemp("certified") / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(file)
    client = ssl.create_default_context()
    client.minimum_version = ssl.TLSVersion.TLSv1_3
    authority.configure_trust(client)
    return Certified(file, client)


@dataclass
class Served:
    daemon: Daemon
    runtime: Runtime
    port: int
    task: asyncio.Task[None]

    @property
    def url(self) -> str:
        scheme = "https" if self.runtime.settings.tls else "http"
        return f"{scheme}://127.0.0.1:{self.port}"

    @property
    def stream_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/stream"


@pytest.fixture
async def start_daemon() -> AsyncIterator[Any]:
    """Start servers in this event loop: ``await start_daemon(*routes, **settings)``.

    With ``completely=False`` it returns as soon as the server takes connections.
    """
    served = []

    async def start(*routes: Any, completely: bool = True, **options: Any) -> Served:
        settings = Settings(port=0, **options)
        runtime = Runtime(settings, Routes(*(routes or [Route(Echo)])))
        side = await asyncio.to_thread(SideListeners, settings, bind_metrics(settings))
        daemon = Daemon(runtime, load_certificates(settings), side=side)
        sockets = bind(settings)
        port = sockets[0].getsockname()[1]
        task = asyncio.create_task(daemon.serve(sockets))
        served.append(Served(daemon, runtime, port, task))
        while not (daemon.started or task.done()) and (completely or runtime.started.is_set()):
            await asyncio.sleep(0)
        return served[-1]

    yield start
    for each in served:
        for _ in range(3):
            each.daemon.stop()
    for each in served:
        await each.task


# Gives its socket to the command that it becomes, as systemd does.
_GIVES = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


class ServerProcess:
    """``mediaserver serve`` in a process of its own, and what it logs."""

    def __init__(
        self, *arguments: Any, cwd: Any = None, env: Any = None, listens: Any = None
    ) -> None:
        self.logged: list[Any] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        command = [sys.executable, "-m", "mediaserver", "serve", *arguments]
        if listens is not None:
            command = [sys.executable, "-S", "-c", _GIVES, str(listens.fileno()), *command]
        self.process = subprocess.Popen(
            [*command, "--log-format", "json"],
            pass_fds=[] if listens is None else [listens.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env={**os.environ, **(env or {})},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, event: str, *, within: float = 60.0) -> dict[str, int | str]:
        """Return the next log entry of this name.

        Fail if the process ends before it comes, or if it takes more than `within` seconds.
        """
        deadline = time.monotonic() + within
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {event!r} within {within:g} s: {self.logged}") from None
            if line is None:
                raise AssertionError(f"ended without {event!r}: {self.logged}")
            entry = json.loads(line) if line.startswith("{") else {"event": line}
            self.logged.append(entry)
            if entry["event"] == event:
                return entry

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> Any:
        """Return the exit status, once everything logged has been read."""
        while (line := self._lines.get(timeout=60)) is not None:
            self.logged.append(json.loads(line) if line.startswith("{") else {"event": line})
        self._lines.put(None)
        return self.process.wait(60)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def start_process() -> Iterator[Callable[..., Any]]:
    """Start servers in processes of their own: ``start_process(*arguments)``."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: Any, **options: Any) -> ServerProcess:
            process = ServerProcess(*arguments, **options)
            stack.callback(process.close)
            return process

        yield start
