"""A worker, as its supervisor knows it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from mediaserver.server.workers.channel import Channel
from mediaserver.server.workers.crew import CrewWorker, WorkerStage
from mediaserver.server.workers.messages import StartFailed, StopWorker
from mediaserver.server.workers.table import WorkerRow


class StartedProcess(Protocol):
    """A process that was started."""

    @property
    def pid(self) -> int:
        """The number of the process."""

    def send_signal(self, signal: int) -> None:
        """Send it a signal."""

    async def wait(self) -> int:
        """Wait for its end and return its status; minus the number of the signal that killed it."""


class WorkerProcess:
    """A process of asyncio's that signals do not deprive of its exit status.

    `asyncio.subprocess.Process.send_signal` asks first whether the process has ended. If it just
    has, that takes the status away from asyncio, which then says 255.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def send_signal(self, signal: int) -> None:
        """Send it a signal."""
        if self._process.returncode is None:
            os.kill(self.pid, signal)

    async def wait(self) -> int:
        """Wait for its end and return its status; minus the number of the signal that killed it."""
        return await self._process.wait()


StartProcess: TypeAlias = Callable[[int], Awaitable[StartedProcess]]
"""Starts a worker that inherits this descriptor: its end of the channel."""


class Employed:
    """A worker, as its supervisor knows it.

    Args:
        member: Its place in the crew.
        row: Its row of the table.

    """

    channel: Channel

    def __init__(self, member: CrewWorker, row: WorkerRow) -> None:
        self.member = member
        self.row = row
        self.process: StartedProcess | None = None
        self.stops = 0
        """How many signals it was told to count."""
        self.kill_at = float("inf")
        self.ends_by = float("inf")
        """When it must have ended, once it has nothing left to do."""
        self.reason: StartFailed | None = None
        self.said_farewell = False
        self.aborted = False

    @property
    def name(self) -> str:
        """Its name on this machine."""
        return self.member.name

    @property
    def generation(self) -> int:
        """Which generation it belongs to."""
        return self.member.generation

    @property
    def stage(self) -> WorkerStage:
        """Where it is in its life."""
        return self.member.stage

    @property
    def pid(self) -> int:
        """The number of its process; 0 before it has one."""
        return 0 if self.process is None else self.process.pid

    @property
    def calls(self) -> int:
        """Its connected calls."""
        return self.row.active

    @property
    def reachable(self) -> bool:
        """Whether it takes what it is sent."""
        return not self.said_farewell and not self.channel.closed

    def is_late(self, since: float) -> bool:
        """Tell whether it was started before a time, and is not ready yet."""
        starting = self.member.stage is WorkerStage.STARTING and self.reason is None
        return starting and self.member.started < since

    def tell_to_stop(self, times: int) -> None:
        """Have it do what so many signals have a server do.

        The signal is for one that is starting: it may read no messages.
        """
        self.stops = max(self.stops, times)
        self.channel.send(StopWorker(times))
        self.signal(signal.SIGTERM)

    def signal(self, number: int) -> None:
        """Send a signal, if its process lives."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)
