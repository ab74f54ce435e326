"""A PostgreSQL of its own for a benchmark or for tests, which can be stopped and started."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from benchmarks.errors import BenchmarkError
from benchmarks.linux import end_with_parent


_START_SECONDS = 60.0


class PostgresServer:
    """A PostgreSQL on a Unix socket.

    Args:
        folder: For its files; it is made.

    """

    name = "PostgreSQL"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = self.url_of("postgres")
        folder.mkdir()
        # It refuses to run as root.
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user is not None:
            folder.parent.chmod(0o755)
            shutil.chown(folder, self._user)
        made = subprocess.run(
            [program("initdb"), "-D", folder / "data", "-U", "mediaserver", "-A", "trust", "-N"],
            capture_output=True,
            check=False,
            timeout=120,
            user=self._user,
            cwd=folder,
        )
        if made.returncode:
            raise BenchmarkError(f"initdb: {made.stderr.decode().strip()[-300:]}")
        self.start()

    @property
    def runs(self) -> bool:
        """Whether it was started, and not stopped since."""
        return self._process is not None

    def url_of(self, database: str) -> str:
        """Return the URL of one of its databases."""
        return f"postgresql+psycopg://mediaserver@/{database}?host={self._folder}"

    def start(self) -> None:
        """Let everybody write to it again, with what was in it."""
        self._process = subprocess.Popen(
            [program("postgres"), "-D", self._folder / "data", "-k", self._folder, "-h", "", "-F"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=self._user,
            cwd=self._folder,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        ready = [program("pg_isready"), "-q", "-h", str(self._folder)]
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
            self._process.kill()  # if it still runs
            self._process.wait()
            self._process = None

    def end(self) -> None:
        """End it."""
        self.stop()


def program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs, or an empty text."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")])
    return shutil.which(name, path=path) or ""
