"""The server that is fuzzed: a whole one, in this process, which is reached over loopback."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from mediaserver.agents import Echo
from mediaserver.routes import Route, Routes
from mediaserver.server.process.daemon import Daemon
from mediaserver.server.process.listening import bind
from mediaserver.server.process.side_listener import SideListeners
from mediaserver.server.runtime import Runtime
from mediaserver.settings import Settings
from mediaserver.telemetry.logs import configure_logs


SPLIT: Final = b"\xf0SPLIT\xf0"
"""Separates the pieces of an input in a file."""
HANG_SECONDS: Final = 60.0
"""How long the server may take to end a connection whose client has sent everything."""
_CHUNK: Final = 65_536


class FuzzTarget:
    """A server, and what went wrong in it.

    Args:
        **settings: Of the server. By default, it checks no signatures and has no limit that inputs
            would soon reach, so that they come further.

    """

    def __init__(self, **settings: Any) -> None:
        given = {"max_calls": 100_000, "reconnect_seconds": 0.0, "reservation_seconds": 1.0}
        self._settings = Settings(**{"host": "127.0.0.1", "port": 0, **given, **settings})
        self.crashes: list[str] = []
        self.hangs: list[Sequence[bytes]] = []
        self.inputs = 0
        """Pieces that were sent."""
        self.connections = 0
        self.slowest: tuple[float, Sequence[bytes]] = 0.0, ()
        """The longest time to the end of a connection, in seconds, and what was sent on it."""
        self.port = 0

    async def __aenter__(self) -> Self:
        configure_logs("error", "console")
        root = logging.getLogger()
        self._log = _ErrorLog(self.crashes)
        self._others, root.handlers[:] = list(root.handlers), [self._log]
        asyncio.get_running_loop().set_exception_handler(self._unhandled)
        routes = Routes(Route(Echo))
        self.runtime = Runtime(self._settings, routes)
        side = SideListeners(self._settings, [])
        self._daemon = Daemon(self.runtime, None, side=side)
        sockets = bind(self._settings)
        self.port = sockets[0].getsockname()[1]
        self._serving = asyncio.create_task(self._daemon.serve(sockets))
        async with asyncio.timeout(HANG_SECONDS):
            while not self._daemon.started:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for _ in range(3):
            self._daemon.stop()
        try:
            async with asyncio.timeout(HANG_SECONDS):
                await self._serving
        except TimeoutError:
            self.crashes.append("the server did not stop")
        # A server that stops at once waits for no thread of its call records.
        for thread in threading.enumerate():
            if thread.name.startswith("call records"):
                await asyncio.to_thread(thread.join, HANG_SECONDS)
                if thread.is_alive():
                    self.crashes.append(f"the thread {thread.name!r} did not end")
        root = logging.getLogger()
        root.handlers[:] = self._others

    async def send(self, pieces: Sequence[bytes]) -> bytes:
        """Send pieces on one connection, wait until the server ends it, and return the response.

        A server that does not end it in time is noted in `hangs`, one that has died in `crashes`.
        """
        self.connections += 1
        loop = asyncio.get_running_loop()
        began = loop.time()
        response = b""
        with socket.socket() as sock:
            sock.setblocking(False)
            try:
                async with asyncio.timeout(HANG_SECONDS):
                    await loop.sock_connect(sock, ("127.0.0.1", self.port))
                    for piece in pieces:
                        self.inputs += 1
                        await loop.sock_sendall(sock, piece)
                        # The server reads each piece by itself, or several at once.
                        await asyncio.sleep(0)
                    sock.shutdown(socket.SHUT_WR)
                    while data := await loop.sock_recv(sock, _CHUNK):
                        response = (response + data)[:_CHUNK]
            except TimeoutError:
                self.hangs.append(list(pieces))
            except OSError:
                pass  # it was closed, as it may be
        if (took := loop.time() - began) > self.slowest[0]:
            self.slowest = took, list(pieces)
        if self._serving.done():
            self.crashes.append("the server has ended")
        return response

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.crashes.append(f"{context['message']}: {context.get('exception')!r}")


class _ErrorLog(logging.Handler):
    """Takes every error that the server logs for a crash of a part of it."""

    def __init__(self, crashes: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._crashes = crashes

    def emit(self, record: logging.LogRecord) -> None:
        self._crashes.append(self.format(record)[-4000:])


def keep(folder: Path, name: str, pieces: Sequence[bytes]) -> Path:
    """Write an input to a folder, so that it can be looked at and tried again."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.bin"
    path.write_bytes(SPLIT.join(pieces))
    return path
