"""The supervisor: listens, hands each connection to a worker, and looks after the workers.

It imports no handler. New workers read the code, the certificates and the settings anew, and old
ones go on with theirs until their calls are over; the listening sockets stay open all the while.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import structlog

from mediaserver.server.elsewhere import unique_name
from mediaserver.server.process.systemd import Notifier
from mediaserver.server.workers.blocked_workers import BlockedWorkers
from mediaserver.server.workers.channel import Channel, Unsent, channel_pair, unread_messages
from mediaserver.server.workers.crew import (
    Crew,
    ReloadFailedError,
    WorkerEnd,
    WorkerGoneError,
)
from mediaserver.server.workers.dispatch import ConnectionDispatcher
from mediaserver.server.workers.employed import Employed, StartProcess
from mediaserver.server.workers.messages import (
    Farewell,
    LastFigures,
    Leaving,
    ListeningAddress,
    Move,
    Orders,
    Ready,
    Replied,
    Retire,
    StartFailed,
    Told,
    UsedNonce,
    WorkerMessage,
)
from mediaserver.server.workers.open_questions import OpenQuestions
from mediaserver.server.workers.reception import Reception
from mediaserver.server.workers.table import WorkerState, WorkerTable


log = structlog.get_logger(__name__)

_TICK: Final = 0.1
_LAST_RESORT: Final = 5.0
"""Seconds after which a process that does not end is killed: one that was told to stop at once, or
whose start is not wanted any more."""


class Supervisor:
    """The supervisor of a machine's workers, on the running event loop.

    The first SIGTERM or SIGINT lets the workers drain, the second has them close their calls, and
    the third ends them at once. SIGHUP replaces them by new ones.

    Args:
        size: How many workers serve at a time.
        listeners: The listening sockets, and the addresses that the workers know them by.
        start: Starts the process of a worker.
        starts_within: Seconds after which a worker that is not ready counts as failed.
        ends_within: Seconds after which a worker that has nothing left to do is killed.
        blocked_within: Seconds after which a worker whose event loop stands still is ended, where
            systemd sets no limit; None for never.
        calls_limit: Most calls of all workers, until they say what they have read.
        node: The name of this server among several, if it has one.
        notifier: Tells systemd about the process.
        ready: Called once, when the first workers take calls.

    """

    def __init__(
        self,
        size: int,
        listeners: Sequence[tuple[socket.socket, ListeningAddress]],
        start: StartProcess,
        *,
        starts_within: float = 180.0,
        ends_within: float = 270.0,
        blocked_within: float | None = None,
        calls_limit: int = 0,
        node: str | None = None,
        notifier: Notifier | None = None,
        ready: Callable[[], object] = lambda: None,
    ) -> None:
        self.crew = Crew(size)
        self.table = WorkerTable()
        self.workers: dict[str, Employed] = {}
        """Those that live, by name."""
        self.machine = unique_name(node)
        """The first part of the names of all workers."""
        self.deaths: Counter[str] = Counter()
        """Workers that died unasked, by what ended them: ``status 1``, ``signal 9``."""
        self.reloads: Counter[str] = Counter()
        """Reloads, by outcome: ``done``, ``failed``."""
        self.calls_limit = calls_limit
        """Most calls of all workers, as those have read it that serve."""
        self._listeners = listeners
        self._start = start
        self._starts_within = starts_within
        self._ends_within = ends_within
        self._notifier = notifier or Notifier({})
        self._blocked = BlockedWorkers(
            self._notifier.watchdog or blocked_within, time.monotonic_ns()
        )
        self._ready = ready
        self._dispatcher = ConnectionDispatcher(self.machine, self.crew, self.workers)
        self._loop = asyncio.get_running_loop()
        self._reception = Reception([sock for sock, _ in listeners], self._dispatcher.taker)
        self._stops = 0
        self._status = 0
        self._over = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        # Those who wait for a generation to serve.
        self._reloading: list[tuple[int, asyncio.Future[str | None]]] = []
        # The generations of which a worker says what is served.
        self._announced: set[int] = set()
        self._questions = OpenQuestions()
        self.told_last: Callable[[str, bytes], object] = lambda name, body: None
        """Called with the name and the last figures of a worker that ends."""

    # What others ask of it

    def stop(self) -> None:
        """Do the same as a signal."""
        self._stops += 1
        self._notifier.stopping()
        self.crew.stop()
        self._end_reloads(self.crew.starting + 1, "the server is stopping")
        log.info(
            ("stopping", "closing calls", "stopping at once")[min(self._stops, 3) - 1],
            workers=len(self.workers),
        )
        for worker in tuple(self.workers.values()):
            worker.tell_to_stop(self._stops)
            if self._stops > 2:
                worker.kill_at = min(worker.kill_at, self._loop.time() + _LAST_RESORT)
        self._end_if_alone()

    def request_reload(self) -> None:
        """Replace the workers by new ones, as SIGHUP does."""
        self._begin_reload(self._loop.create_future())

    async def reload(self) -> None:
        """Replace the workers by new ones, and wait until those take the calls.

        Raises:
            ReloadFailedError: They could not start.

        """
        done: asyncio.Future[str | None] = self._loop.create_future()
        self._begin_reload(done)
        if (failure := await done) is not None:
            raise ReloadFailedError(failure)

    def _begin_reload(self, done: asyncio.Future[str | None]) -> None:
        """Begin a reload, now or after another one; `done` gets why it failed, or None."""
        if self.crew.stopping:
            done.set_result("the server is stopping")
            return
        at_once = self.crew.reload()
        self._reloading.append((self.crew.starting + (not at_once), done))
        if at_once:
            self._begin_generation()
        else:
            log.info("reloading once the workers that are starting are ready")

    def _begin_generation(self) -> None:
        self._notifier.reloading()
        log.info("reloading", generation=self.crew.starting)
        self._employ()

    @property
    def stopping(self) -> bool:
        """Whether all workers were asked to go."""
        return self.crew.stopping

    @property
    def accept_failures(self) -> int:
        """Times that no descriptor was left for a connection."""
        return self._reception.failures

    def living(self) -> list[Employed]:
        """Return the workers that live."""
        return list(self.workers.values())

    async def ask(self, name: str, body: bytes, *, within: float) -> bytes:
        """Ask a worker something, and return its reply.

        Raises:
            WorkerGoneError: There is no such worker, it ends, or it does not reply within these
                seconds.

        """
        if (worker := self.workers.get(name)) is None:
            raise WorkerGoneError(f"there is no worker {name}")
        return await self._questions.ask(worker, body, within=within)

    # Its life

    async def run(self) -> int:
        """Run until the last worker has ended, and return the exit status."""
        with self._signals_taken():
            self._employ()
            while not self._over.is_set():
                self._tick()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._over.wait(), _TICK)
        self._reception.close()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self.table.close()
        log.info("stopped", status=self._status)
        return self._status

    @contextlib.contextmanager
    def _signals_taken(self) -> Iterator[None]:
        taken: list[tuple[int, Callable[[], None]]] = [
            (signal.SIGTERM, self.stop),
            (signal.SIGINT, self.stop),
        ]
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            # Under nohup it stays ignored.
            taken.append((signal.SIGHUP, self.request_reload))
        for number, action in taken:
            self._loop.add_signal_handler(number, action)
        try:
            yield
        finally:
            for number, _ in taken:
                self._loop.remove_signal_handler(number)

    def _tick(self) -> None:
        now = self._loop.time()
        self._blocked.tick(time.monotonic_ns())
        self._employ()
        for worker in tuple(self.workers.values()):
            if now >= worker.ends_by:
                worker.ends_by = float("inf")
                worker.kill_at = now
                log.error(
                    "worker does not end and is killed",
                    worker=worker.name,
                    seconds=self._ends_within,
                    hint="a thread of a handler may still run: end it when the lifespan closes",
                )
            if now >= worker.kill_at:
                worker.kill_at = float("inf")
                worker.signal(signal.SIGKILL)
            if worker.is_late(now - self._starts_within):
                reason = f"a worker was not ready after {self._starts_within:g} s"
                worker.reason = StartFailed(reason, 1)
                worker.kill_at = now
            if worker.row.state is WorkerState.DRAINING:
                # Somebody else has asked it to go.
                self.crew.leave(worker.name)
            if self._blocked.includes(worker.row):
                self._abort(worker)
        self._reception.open()
        if self._is_alive():
            calls = sum(each.row.active for each in self.workers.values())
            doing = "draining" if self._stops else "reloading" if self.crew.reloading else "serving"
            self._notifier.alive(f"{doing} {calls} calls with {len(self.workers)} workers")

    def _is_alive(self) -> bool:
        """Tell whether not all workers stand still."""
        takers = [self.workers[each.name] for each in self.crew.takers()]
        return (
            self._notifier.watchdog is None
            or not takers
            or not all(self._blocked.includes(each.row) for each in takers)
        )

    def _abort(self, worker: Employed) -> None:
        """End a worker whose loop has stood still: nobody but its own callers is harmed."""
        if worker.aborted:
            return
        worker.aborted = True
        log.error(
            "worker is blocked and is ended",
            worker=worker.name,
            calls=worker.row.active,
            seconds=self._blocked.seconds,
            hint="WatchdogSec= of the systemd unit sets the limit"
            if self._notifier.watchdog
            else "--worker-watchdog sets the limit",
        )
        worker.signal(signal.SIGABRT)
        worker.kill_at = self._loop.time() + _LAST_RESORT

    # Workers

    def _employ(self) -> None:
        """Start the workers that are missing."""
        for _ in range(self.crew.starts(self._loop.time())):
            try:
                worker, theirs = self._new_worker()
            except (LookupError, OSError) as error:
                name = "none"
                self.crew.started(name, self._loop.time())
                self._let_go(name, 1, StartFailed(f"a worker cannot be started: {error}", 1), 0)
                return
            task = self._loop.create_task(self._watch(worker, theirs), name=f"worker {worker.name}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _new_worker(self) -> tuple[Employed, socket.socket]:
        """Return a worker that has its orders, and the end of the channel for its process.

        Raises:
            LookupError: There are too many workers.
            OSError: No descriptor is left.

        """
        with contextlib.ExitStack() as undo:
            row = self.table.take(time.monotonic_ns())
            undo.callback(row.free)
            ours, theirs = channel_pair()
            undo.callback(ours.close)
            undo.callback(theirs.close)
            table = os.dup(self.table.descriptor)
            undo.pop_all()
        announces = self.crew.starting not in self._announced
        self._announced.add(self.crew.starting)
        worker = Employed(self.crew.started(row.name, self._loop.time()), row)
        self.workers[worker.name] = worker
        worker.channel = Channel(
            ours, partial(self._receive, worker), partial(self._lose, worker, theirs)
        )
        orders = Orders(
            row.index,
            f"{self.machine}/{row.name}",
            tuple(address for _, address in self._listeners),
            announces,
        )
        worker.channel.send(orders, table)
        return worker, theirs

    async def _watch(self, worker: Employed, theirs: socket.socket) -> None:
        """Start the process of a worker, and wait for its end.

        Its end of the channel stays open here as well: what the process has not read when it dies
        is thus not lost. No other process inherits it.
        """
        status = 1
        try:
            worker.process = await self._start(theirs.fileno())
            if worker.stops:
                worker.signal(signal.SIGTERM)
            status = await worker.process.wait()
        except (OSError, RuntimeError) as error:
            # RuntimeError: on Python 3.11, asyncio has no thread left that waits for the process.
            why = getattr(error, "strerror", None) or error
            worker.reason = StartFailed(f"a process cannot be started: {why}", status)
        # What it said last may not have been read.
        worker.channel.finish()
        theirs.close()
        del self.workers[worker.name]
        self._questions.ended(worker)
        calls = worker.row.active
        worker.row.free()
        self._let_go(worker.name, status, worker.reason, calls)

    def _let_go(self, name: str, status: int, failed: StartFailed | None, calls: int) -> None:
        """Do what the end of a worker requires."""
        generation = self.crew.starting
        departure = self.crew.ended(name, self._loop.time())
        cause = f"signal {-status}" if status < 0 else f"status {status}"
        reason = failed.reason if failed else f"the worker ended before it was ready, with {cause}"
        match departure:
            case WorkerEnd.EXPECTED:
                # If it has said why it cannot start, it was of a generation that is given up.
                if status > 0 and failed is None:
                    log.warning("worker ended with an error", worker=name, status=status)
                    if self.crew.stopping:
                        self._status = self._status or status
            case WorkerEnd.LOST:
                self.deaths[cause] += 1
                log.error("worker died", worker=name, by=cause, calls=calls)
            case WorkerEnd.FAILED_START:
                self.deaths[cause] += 1
                for line in reason.splitlines():
                    log.error("worker did not start", worker=name, reason=line)
            case WorkerEnd.FAILED_RELOAD:
                self.reloads["failed"] += 1
                for line in reason.splitlines():
                    log.error("reload failed", reason=line, hint="the old workers go on")
                self._end_reloads(generation, reason)
                for member in self.crew.given_up():
                    self._send_away(self.workers[member.name])
                self._notifier.ready()
                if self.crew.reloading:
                    self._begin_generation()
            case WorkerEnd.FAILED_FIRST:
                for line in reason.splitlines():
                    log.error("startup failed", reason=line)
                self._status = failed.status if failed else max(status, 1)
                self.crew.stop()
                self._end_reloads(generation + 1, reason)
                for each in tuple(self.workers.values()):
                    self._send_away(each)
        self._employ()
        self._end_if_alone()

    def _send_away(self, worker: Employed) -> None:
        """Stop a worker whose start is not wanted any more."""
        self.crew.leave(worker.name)
        worker.tell_to_stop(1)
        worker.kill_at = min(worker.kill_at, self._loop.time() + _LAST_RESORT)

    def _await_end(self, worker: Employed) -> None:
        """Limit how long a worker that has nothing left to do may take to end."""
        worker.ends_by = min(worker.ends_by, self._loop.time() + self._ends_within)

    def _end_if_alone(self) -> None:
        if self.crew.stopping and not self.workers:
            self._over.set()

    def _end_reloads(self, last: int, failure: str | None = None) -> None:
        """Tell those who wait for a generation, up to this one, what became of it."""
        for generation, done in tuple(self._reloading):
            if generation <= last:
                self._reloading.remove((generation, done))
                if not done.done():
                    done.set_result(failure)

    # Messages

    def _receive(self, worker: Employed, message: WorkerMessage, descriptor: int) -> None:
        match message:
            case Ready():
                self._welcome(worker)
                if message.calls_limit is not None and worker.generation <= self.crew.serving:
                    self.calls_limit = message.calls_limit
            case StartFailed():
                worker.reason = message
                self._await_end(worker)
            case Leaving():
                self.crew.leave(worker.name)
                worker.said_farewell = True
                worker.channel.send(Farewell())
                self._await_end(worker)
            case Move():
                self._dispatcher.move(worker, message, descriptor)
            case Told() | UsedNonce():
                for other in self.workers.values():
                    if other is not worker and other.reachable:
                        other.channel.send(message)
            case Replied():
                self._questions.replied(message)
            case LastFigures():
                self.told_last(worker.name, message.body)
            case _:
                log.error("unexpected message of a worker", kind=type(message).__name__)

    def _welcome(self, worker: Employed) -> None:
        """Note that a worker is ready; the last one of a generation relieves the older ones."""
        before = self.crew.serving
        for each in self.crew.ready(worker.name):
            old = self.workers[each.name]
            self.crew.leave(old.name)
            old.channel.send(Retire())
        if self.crew.serving != before:
            if before:
                self.reloads["done"] += 1
                log.info("reloaded", generation=self.crew.serving, workers=self.crew.size)
            else:
                self._ready()
            self._end_reloads(self.crew.serving)
            self._notifier.ready()
            if self.crew.reloading:
                self._begin_generation()
        self._reception.open()

    def _lose(self, worker: Employed, theirs: socket.socket, unsent: Unsent) -> None:
        """Give to others what a worker that is gone has not read from its end of the channel."""
        self._await_end(worker)
        self._dispatcher.give_unread(unread_messages(theirs) + unsent)
