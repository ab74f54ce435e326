"""A supervisor whose workers and clients are played by a test."""

import asyncio
import os
import socket
from typing import Any

from mediaserver.server.workers.channel import Channel, Unsent
from mediaserver.server.workers.messages import (
    ClientConnection,
    ListeningAddress,
    Orders,
    Ready,
    WorkerMessage,
)
from mediaserver.server.workers.supervisor import Supervisor
from mediaserver.server.workers.table import WorkerState, WorkerTable
from tests.server.until import until


class FakeWorker:
    """A worker in the same process, which does what a test says."""

    def __init__(self, descriptor: int) -> None:
        self.pid = 0
        self.got: list[WorkerMessage] = []
        self.sockets: list[socket.socket] = []
        self.signals: list[int] = []
        self.lost = False
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.channel = Channel(socket.socket(fileno=os.dup(descriptor)), self._receive, self._gone)

    async def begin(self, *, calls_limit: int | None = None) -> None:
        await until(lambda: self.got)
        self.channel.send(Ready(calls_limit))
        self.row.state = WorkerState.READY

    def _receive(self, message: WorkerMessage, descriptor: int) -> None:
        self.got.append(message)
        if isinstance(message, Orders):
            self.process = message.process
            self.table = WorkerTable(descriptor)
            self.row = self.table.row(message.row)
            self.row.state = WorkerState.OPENING
        elif isinstance(message, ClientConnection):
            self.sockets.append(socket.socket(fileno=descriptor))
            self.row.adopted += 1
            self.row.active += 1

    def _gone(self, unsent: Unsent) -> None:
        self.lost = True

    def send_signal(self, signal: int) -> None:
        self.signals.append(signal)

    async def wait(self) -> int:
        return await self._ended

    def die(self, status: int) -> None:
        """End as a process that is killed, which reads and says nothing more."""
        asyncio.get_running_loop().remove_reader(self.channel._sock.fileno())
        self._ended.set_result(status)

    def end(self, status: int = 0) -> None:
        """End as the process would."""
        self.channel.close()
        if not self._ended.done():
            self._ended.set_result(status)

    def close(self) -> None:
        self.end()
        for sock in self.sockets:
            sock.close()
        if hasattr(self, "table"):
            self.table.close()


class Machine:
    """A supervisor of workers that a test plays."""

    def __init__(self, size: int = 2, **options: Any) -> None:
        self.started: list[FakeWorker] = []
        self.fails: list[Exception] = []
        self.is_ready = 0
        # A pair in place of a listener and its clients: each message is one that connects.
        self.listener = Listener()
        self.supervisor = Supervisor(
            size,
            [(self.listener, ListeningAddress("127.0.0.1", 8000))],  # type: ignore[list-item]
            self._start,
            ready=self._note_ready,
            **options,
        )
        self.task = asyncio.create_task(self.supervisor.run())

    async def _start(self, descriptor: int) -> FakeWorker:
        if self.fails:
            raise self.fails.pop()
        self.started.append(FakeWorker(descriptor))
        return self.started[-1]

    def _note_ready(self) -> None:
        self.is_ready += 1

    def accept(self) -> None:
        """Accept at once what waits at the listener."""
        self.supervisor._reception.accept(0)

    async def workers(self, *, number: int = 2) -> list[FakeWorker]:
        """Wait until workers have started and have their orders."""
        await until(lambda: len(self.started) >= number and all(each.got for each in self.started))
        return self.started[-number:]

    async def serve(self) -> list[FakeWorker]:
        """Start the first workers completely."""
        workers = (await self.workers())[:2]
        for each in workers:
            await each.begin()
        await until(lambda: self.supervisor.crew.serving == 1)
        return workers


class Listener:
    """Accepts the connections that a test makes: both ends are in this process."""

    def __init__(self) -> None:
        self._wakes, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._waiting: list[socket.socket] = []
        self.clients: list[socket.socket] = []
        self.errors: list[OSError] = []

    def connect(self) -> socket.socket:
        client, accepted = socket.socketpair()
        client.setblocking(False)
        self._waiting.append(accepted)
        self.clients.append(client)
        self._wakes.send(b"!")
        return client

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        if self.errors:
            raise self.errors.pop()
        self._woken.recv(1)
        return self._waiting.pop(0), ("192.0.2.1", 40_000)

    def fileno(self) -> int:
        return self._woken.fileno()

    def setblocking(self, blocks: bool) -> None:
        pass

    def close(self) -> None:
        for each in (self._wakes, self._woken, *self._waiting, *self.clients):
            each.close()
