"""Memory, descriptors and tasks of a server's processes, and its live calls, over time."""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.control import operator
from benchmarks.errors import BenchmarkError
from benchmarks.linux import resident_bytes


_ANSWER_SECONDS = 10.0


class Sample(NamedTuple):
    """A process at one time.

    Attributes:
        at: On the monotonic clock.
        megabytes: Resident memory.
        descriptors: Open file descriptors.
        threads: Threads.
        tasks: Tasks of asyncio; None where they are not counted.

    """

    at: float
    megabytes: float
    descriptors: int
    threads: int
    tasks: int | None


class SoakWatch:
    """Looks at a server again and again.

    Args:
        supervisor: The id of its process.
        admin: The Unix socket of its admin listener.
        tasks: The folder in which workers write how many tasks they have.

    """

    def __init__(self, supervisor: int, admin: Path, tasks: Path) -> None:
        self.samples: dict[str, list[Sample]] = {}
        """The samples of each process, by its name."""
        self.workers: dict[str, int] = {}
        """The process ids of the workers that live, the oldest first, by name."""
        self.ready: set[str] = set()
        """The workers that take calls."""
        self.oldest_call = 0.0
        """The longest that a call has lasted when it was listed, in seconds."""
        self.unanswered = 0
        """Looks at which the server did not answer."""
        self._supervisor = supervisor
        self._admin = admin
        self._tasks = tasks

    async def look(self) -> None:
        """Take a sample of each process."""
        try:
            await self.find_workers()
            for call in (await self.calls())["calls"]:
                self.oldest_call = max(self.oldest_call, call["seconds"])
        except BenchmarkError:
            self.unanswered += 1
        self._sample({"supervisor": self._supervisor, **self.workers})

    def _sample(self, processes: Mapping[str, int]) -> None:
        for name, pid in processes.items():
            with contextlib.suppress(OSError, RuntimeError):
                file = self._tasks / str(pid)
                self.samples.setdefault(name, []).append(
                    Sample(
                        time.monotonic(),
                        resident_bytes(pid) / 1e6,
                        len(list(Path(f"/proc/{pid}/fd").iterdir())),
                        len(list(Path(f"/proc/{pid}/task").iterdir())),
                        int(file.read_text()) if file.exists() else None,
                    )
                )

    async def find_workers(self) -> None:
        """Learn which workers live.

        Raises:
            BenchmarkError: The server does not answer.

        """
        listed = (await self._ask("/workers"))["workers"]
        found = {each["worker"]: each["pid"] for each in listed}
        self.ready = {each["worker"] for each in listed if each["state"] == "ready"}
        # Those that were known keep their place.
        known = {name: pid for name, pid in self.workers.items() if name in found}
        self.workers = {**known, **found}

    async def calls(self) -> Any:
        """Return the oldest live calls, and how many there are.

        Raises:
            BenchmarkError: The server does not answer.

        """
        return await self._ask("/calls?limit=10&state=live")

    async def _ask(self, path: str) -> Any:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS), operator(self._admin) as asked:
                status, body, _ = await asked.ask("GET", path)
        except (OSError, EOFError, ValueError) as error:
            raise BenchmarkError(f"{path}: {error!r}") from None
        if status != 200:
            raise BenchmarkError(f"{path}: {status}")
        return body
