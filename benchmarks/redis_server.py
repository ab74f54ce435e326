"""A Redis of its own for a benchmark, in memory alone."""

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.errors import BenchmarkError
from benchmarks.linux import end_with_parent
from benchmarks.processes import stop


REDIS = shutil.which("redis-server") or ""
"""Path of the program; empty if it is not installed."""

_START_SECONDS = 10.0


class RedisServer:
    """A redis-server that keeps nothing when it ends.

    Args:
        directory: Where its log is written.
        addresses: Where it listens, at one port; the first must be this machine's loopback.

    """

    def __init__(self, directory: Path, *addresses: str) -> None:
        self._addresses = addresses or ("127.0.0.1",)
        with socket.create_server((self._addresses[0], 0)) as listener:
            self.port: int = listener.getsockname()[1]
        self._log = directory / "redis.log"
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, address: str = "127.0.0.1") -> str:
        """Return the URL by which it is reached at one of its addresses."""
        return f"redis://{address}:{self.port}/0"

    @property
    def pid(self) -> int:
        """The number of its process."""
        assert self._process is not None
        return self._process.pid

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run it for the duration of the block."""
        self.start()
        try:
            yield
        finally:
            self.kill()

    def start(self) -> None:
        """Start it, with nothing in it.

        Raises:
            BenchmarkError: It is not installed, or does not start.

        """
        if not REDIS:
            raise BenchmarkError("redis-server is missing: install the package redis-server")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(REDIS, "--port", str(self.port), "--bind", *self._addresses),
                    *("--protected-mode", "no", "--save", "", "--appendonly", "no"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                last = self._log.read_text().strip().splitlines()[-3:]
                raise BenchmarkError("\n    ".join(("redis-server did not start", *last)))
            time.sleep(0.02)

    def kill(self) -> None:
        """End it; everything in it is lost."""
        if self._process is not None:
            self._process.kill()
            stop(self._process)
            self._process = None

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(self._at, 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        return False

    @property
    def _at(self) -> tuple[str, int]:
        return self._addresses[0], self.port


@contextlib.contextmanager
def private_redis() -> Iterator[RedisServer]:
    """Run a Redis on loopback for the duration of the block."""
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(Path(folder))
        with server.running():
            yield server
