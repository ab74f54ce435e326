"""A worker: the daemon, with connections that its supervisor has accepted."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final

import msgspec
import structlog

from mediaserver.plivo.callbacks import CallbackError
from mediaserver.routes import Routes
from mediaserver.server.admin.directory import Directory, OwnCalls
from mediaserver.server.admin.questions import answer_question, metrics_answer
from mediaserver.server.joining import join_fleet
from mediaserver.server.neighbours import told_webhook
from mediaserver.server.process.announcing import announce_routes
from mediaserver.server.process.arrivals import Arrivals
from mediaserver.server.process.daemon import Daemon, load_certificates
from mediaserver.server.process.descriptors import (
    ShortageLog,
    SpareDescriptors,
    descriptor_limit,
    is_one_free,
)
from mediaserver.server.process.drain import Phase
from mediaserver.server.process.memory import settle_garbage_collection
from mediaserver.server.process.tls import Certificates
from mediaserver.server.relocation import HandedConnection
from mediaserver.server.runtime import Runtime
from mediaserver.server.workers.channel import Channel, Unsent
from mediaserver.server.workers.crewmates import Crewmates
from mediaserver.server.workers.duty import Duty
from mediaserver.server.workers.messages import (
    Ask,
    ClientConnection,
    Farewell,
    LastFigures,
    Leaving,
    Ready,
    Replied,
    Retire,
    StartFailed,
    StopWorker,
    Told,
    UsedNonce,
    WorkerMessage,
)
from mediaserver.server.workers.table import WorkerState
from mediaserver.settings import Settings
from mediaserver.telemetry.logs import configure_logs


log = structlog.get_logger(__name__)

_LAST_DESCRIPTORS: Final = 8
"""Connections that get one of so many descriptors, the highest, are closed after one response."""

_DROPPED_AT_ONCE: Final = 16
"""Waiting connections that are closed when the descriptors run out."""


class WorkerDaemon(Daemon):
    """A daemon whose connections come over the channel.

    Args:
        runtime: The state of the server.
        certificates: The certificates for TLS; None for plain HTTP.
        given: What the supervisor gave to the process.
        crewmates: The other workers.
        widen: As for the daemon.

    """

    def __init__(
        self,
        runtime: Runtime,
        certificates: Certificates | None,
        given: Duty,
        crewmates: Crewmates,
        *,
        widen: Callable[[Directory], Directory] = lambda own: own,
    ) -> None:
        self._row = given.row
        super().__init__(runtime, certificates, counted=self._count, widen=widen)
        self._duty = given
        self._crewmates = crewmates
        self._doors: list[Arrivals] = []
        self._few_descriptors = descriptor_limit()
        self._shortage = ShortageLog(time.monotonic)
        self._retires_by: float | None = None
        self._said_leaving = False
        self._farewell = False
        self._is_alone = False
        self._own_calls = OwnCalls(runtime, self)
        self._replying: set[asyncio.Task[None]] = set()
        self._parent = os.getppid()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal: without a supervisor, which says how often, further ones count as well."""
        if not self._stops or self._is_alone:
            super().handle_exit(sig, frame)

    def stop(self) -> None:
        """Do the same as a signal."""
        super().stop()
        if self._runtime.admission.closed:
            self._row.state = WorkerState.DRAINING

    def drain(self) -> bool:
        """Have the whole machine drain: by itself, a worker would only be replaced."""
        if self._stops or os.getppid() != self._parent:
            return super().drain()
        os.kill(self._parent, signal.SIGTERM)
        return True

    async def on_tick(self, counter: int) -> bool:
        """Do the periodic work, and begin to stop once a retired worker has no connections."""
        if self._retires_by is not None and not self._stops:
            over = time.monotonic() >= self._retires_by
            if over or not len(self._connections):
                self.stop()
        return await super().on_tick(counter)

    async def _tick(self, counter: int) -> bool:
        self._row.beat = time.monotonic_ns()
        if self.started:
            closed = self._runtime.admission.closed
            self._row.state = WorkerState.DRAINING if closed else WorkerState.READY
        self._few_descriptors = descriptor_limit() - _LAST_DESCRIPTORS
        return await super()._tick(counter)

    def _backlog(self) -> int:
        return self._row.under_way

    def _open(self, sockets: Sequence[socket.socket]) -> None:
        self.servers = []
        # Nothing else needs descriptors of a reserve: see `_adopt`.
        self._spare = SpareDescriptors(0)
        self._doors = [self._arrivals(self.config) for _ in self._duty.orders.addresses]
        self._crewmates.channel = Channel(self._duty.sock, self._receive, self._gone)
        self._channel = self._crewmates.channel
        self._row.beat = time.monotonic_ns()
        self._row.state = WorkerState.OPENING

    def _announce(self, sockets: Sequence[socket.socket]) -> None:
        orders = self._duty.orders
        if orders.announces:
            addresses = [(each.host, each.port) for each in orders.addresses]
            announce_routes(self._runtime.settings, self._runtime.routes, addresses)
        self._row.state = WorkerState.READY
        log.info("ready", pid=os.getpid())
        self._channel.send(Ready(self._runtime.settings.max_calls))

    def _start_failed(self, reasons: Sequence[str]) -> None:
        self._channel.send(StartFailed("\n".join(reasons), self.exit_status))

    def _close(self) -> None:
        super()._close()
        if self.started:
            self._channel.send(LastFigures(metrics_answer(self._own_calls)))
        self._channel.close()
        for door in self._doors:
            door.drop()

    def _is_idle(self) -> bool:
        """Tell whether no call is live, or expected, or on its way to this process."""
        if self._drain.phase is Phase.LEAVING or not super()._is_idle():
            return False
        if self._stops > 1 or self._farewell:
            return True
        if not self._said_leaving:
            self._said_leaving = True
            return not self._channel.send(Leaving())
        return False

    def _count(self, number: int) -> None:
        self._row.waiting = number

    def _receive(self, message: WorkerMessage, descriptor: int) -> None:
        runtime = self._runtime
        match message:
            case ClientConnection():
                self._adopt(message, descriptor)
            case Retire():
                settings = runtime.settings
                # Every response closes its connection, so that those are left that are idle.
                self._retires_by = (
                    time.monotonic() + settings.header_timeout + settings.idle_timeout
                )
            case StopWorker():
                while self._stops < message.times:
                    self.stop()
            case Farewell():
                self._farewell = True
            case Told():
                try:
                    runtime.overhear(told_webhook(message.kind, message.fields))
                except CallbackError as error:
                    log.warning("webhook of another worker not understood", reason=str(error))
            case UsedNonce():
                runtime.overhear_nonce(message.nonce, used=message.used)
            case Ask():
                replying = asyncio.create_task(self._reply(message))
                self._replying.add(replying)
                replying.add_done_callback(self._replying.discard)
            case _:
                log.error("unexpected message of the supervisor", kind=type(message).__name__)

    async def _reply(self, asked: Ask) -> None:
        try:
            body = await answer_question(self._own_calls, asked.body)
        except msgspec.DecodeError as error:
            log.error("a question of the supervisor could not be read", reason=str(error))
            return
        self._channel.send(Replied(asked.number, body))

    def _adopt(self, connection: ClientConnection, descriptor: int) -> None:
        if descriptor < 0 or descriptor >= self._few_descriptors:
            counters = self._runtime.counters
            counters.accept_failures += 1
            self._shortage.note(os.strerror(errno.EMFILE), failures=counters.accept_failures)
            has_room = self._connections.drop_oldest(_DROPPED_AT_ONCE) > 0
        else:
            has_room = True
        if descriptor >= 0:
            client, moved = connection.address, None
            if connection.moved:
                moved = HandedConnection(client, connection.decrypted, connection.head)
            self._doors[connection.listener].take(
                socket.socket(fileno=descriptor), client[0], spare=not has_room, handed=moved
            )
        # Only now, so that the connection is counted at any time.
        self._row.adopted += 1

    def _gone(self, unsent: Unsent) -> None:
        """Let the calls end: nobody can reach this process any more."""
        for _, descriptor in unsent:
            if descriptor >= 0:
                os.close(descriptor)
        self._farewell = self._is_alone = True
        if not self._stops:
            log.error("the supervisor is gone", hint="live calls go on, and no new ones come")
            self.stop()


def run_worker(settings: Settings, routes: Routes, given: Duty) -> int:
    """Run a worker until it is asked to stop, and return the exit status.

    Raises:
        TLSError: The certificate files cannot be used.

    """
    configure_logs(settings.log_level, settings.log_format, worker=given.name)
    certificates = load_certificates(settings)
    process = given.orders.process
    crewmates = Crewmates(given.table, process.rpartition("/")[0])
    runtime = Runtime(
        settings,
        routes,
        has_room=is_one_free,
        coalesces=True,
        process=process,
        counts=given.row,
        neighbours=crewmates,
    )
    runtime.relocation = crewmates
    widen = join_fleet(runtime, process.rpartition("/")[0])
    daemon = WorkerDaemon(runtime, certificates, given, crewmates, widen=widen)
    settle_garbage_collection()
    daemon.run([])
    return daemon.exit_status
