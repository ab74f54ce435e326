"""A database of its own for call records in a benchmark, which can be stopped and started."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from benchmarks.linux import end_with_parent
from benchmarks.processes import BenchmarkError, stop


_START_SECONDS = 60.0


class StoppableDatabase(Protocol):
    """A database."""

    name: str
    """What it is."""
    url: str
    """For the setting `records`."""

    def stop(self) -> None:
        """Let nobody write to it."""

    def start(self) -> None:
        """Let everybody write to it again, with what was in it."""


@contextlib.contextmanager
def private_database(folder: Path) -> Iterator[StoppableDatabase]:
    """Run a PostgreSQL for the duration of the block, or open SQLite where there is none.

    Raises:
        BenchmarkError: It does not start.

    """
    postgres = bool(_program("initdb"))
    database = PostgresServer(folder / "postgres") if postgres else LockedSqlite(folder)
    try:
        yield database
    finally:
        database.end()


class PostgresServer:
    """A PostgreSQL on a Unix socket.

    Args:
        folder: For its files; it is made.

    """

    name = "PostgreSQL"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql+psycopg://mediaserver@/postgres?host={folder}"
        folder.mkdir()
        # It refuses to run as root.
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user is not None:
            folder.parent.chmod(0o755)
            shutil.chown(folder, self._user)
        made = subprocess.run(
            [_program("initdb"), "-D", folder / "data", "-U", "mediaserver", "-A", "trust", "-N"],
            capture_output=True,
            check=False,
            timeout=120,
            user=self._user,
            cwd=folder,
        )
        if made.returncode:
            raise BenchmarkError(f"initdb: {made.stderr.decode().strip()[-300:]}")
        self.start()

    def start(self) -> None:
        """Let everybody write to it again, with what was in it."""
        self._process = subprocess.Popen(
            [_program("postgres"), "-D", self._folder / "data", "-k", self._folder, "-h", "", "-F"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=self._user,
            cwd=self._folder,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        ready = [_program("pg_isready"), "-q", "-h", str(self._folder)]
        deadline = time.monotonic() + _START_SECONDS
        while subprocess.run(ready, timeout=30, check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise BenchmarkError("PostgreSQL did not start")
            time.sleep(0.05)

    def stop(self) -> None:
        """Let nobody write to it: end it at once, without a word to its clients."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_START_SECONDS)
            stop(self._process)
            self._process = None

    def end(self) -> None:
        """End it."""
        self.stop()


class LockedSqlite:
    """A SQLite database, which is locked while it is stopped.

    Args:
        folder: For its file.

    """

    name = "SQLite"

    def __init__(self, folder: Path) -> None:
        self._path = folder / "calls.db"
        self.url = f"sqlite:///{self._path}"
        self._lock: sqlite3.Connection | None = None

    def stop(self) -> None:
        """Let nobody write to it."""
        self._lock = sqlite3.connect(
            self._path, timeout=20, isolation_level=None, check_same_thread=False
        )
        self._lock.execute("BEGIN EXCLUSIVE")

    def start(self) -> None:
        """Let everybody write to it again."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def end(self) -> None:
        """Close it."""
        self.start()


def _program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs, or an empty text."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")])
    return shutil.which(name, path=path) or ""
