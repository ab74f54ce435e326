import asyncio
import contextlib
import errno
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from mediaserver.server.process.systemd import Notifier
from mediaserver.server.workers.channel import Channel, Unsent
from mediaserver.server.workers.crew import ReloadFailedError, WorkerGoneError, WorkerStage
from mediaserver.server.workers.messages import (
    Ask,
    ClientConnection,
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
    StopWorker,
    Told,
    UsedNonce,
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


@pytest.fixture
async def start_machine() -> AsyncIterator[Callable[..., Machine]]:
    machines: list[Machine] = []

    def start(size: int = 2, **options: Any) -> Machine:
        machines.append(Machine(size, **options))
        return machines[-1]

    yield start
    for machine in machines:
        machine.supervisor.stop()
        while not machine.task.done():
            for each in machine.started:
                each.end()
            await asyncio.sleep(0.01)
        for each in machine.started:
            each.close()
        machine.listener.close()
        await machine.task


@pytest.fixture
async def machine(start_machine: Callable[..., Machine]) -> Machine:
    machine = start_machine()
    await machine.serve()
    return machine


def said(logged: Any, event: str) -> list[dict[str, Any]]:
    return [dict(line) for line in logged if line["event"] == event]


async def test_connections_wait_until_the_first_workers_take_them_and_are_shared_evenly(
    start_machine: Callable[..., Machine],
) -> None:
    machine = start_machine()
    for _ in range(40):
        machine.listener.connect()
    workers = await machine.serve()
    await until(lambda: sum(len(each.sockets) for each in workers) == 40)
    assert [len(each.sockets) for each in workers] == [20, 20]
    assert machine.is_ready == 1
    assert workers[0].got[-1] == ClientConnection(0, ("192.0.2.1", 40_000))


async def test_each_worker_has_its_orders(machine: Machine) -> None:
    first, second = (each.got[0] for each in machine.started)
    name = machine.supervisor.machine
    addresses = (ListeningAddress("127.0.0.1", 8000),)
    assert first == Orders(1, f"{name}/1.1", addresses, announces=True)
    assert second == Orders(2, f"{name}/2.1", addresses, announces=False)


async def test_the_workers_names_begin_with_the_servers(
    start_machine: Callable[..., Machine],
) -> None:
    machine = start_machine(node="node1")
    await machine.serve()
    orders = machine.started[0].got[0]
    assert isinstance(orders, Orders)
    assert orders.process.startswith("node1/")


async def test_a_worker_that_dies_is_logged_counted_and_replaced(machine: Machine) -> None:
    dead, other = machine.started
    dead.row.active = 7
    with capture_logs() as logged:
        dead.end(-9)
        await machine.workers(number=3)
    (line,) = said(logged, "worker died")
    assert (line["worker"], line["by"], line["calls"]) == ("1.1", "signal 9", 7)
    assert machine.supervisor.deaths == {"signal 9": 1}
    assert machine.supervisor.table.taken() == (0, 0)
    new = machine.started[2]
    assert new.process.endswith("/1.2")
    # Until it takes calls, the other one gets what comes.
    for _ in range(3):
        machine.listener.connect()
    await until(lambda: len(other.sockets) == 3)
    await new.begin()
    machine.listener.connect()
    await until(lambda: len(new.sockets) == 1)


async def test_new_workers_relieve_the_old_ones(machine: Machine) -> None:
    old = list(machine.started)
    reloading = asyncio.create_task(machine.supervisor.reload())
    new = [(await machine.workers(number=3))[-1]]
    assert not any(isinstance(each, Retire) for worker in old for each in worker.got)
    await new[0].begin()
    # They start one after the other.
    new.append((await machine.workers(number=4))[-1])
    assert not reloading.done()
    await new[1].begin()
    await reloading
    await until(lambda: all(each.got[-1] == Retire() for each in old))
    machine.listener.connect()
    await until(lambda: any(each.sockets for each in new))
    old[0].channel.send(Leaving())
    await until(lambda: old[0].got[-1] == Farewell())
    with capture_logs() as logged:
        for each in old:
            each.end()
        await until(lambda: len(machine.supervisor.workers) == 2)
    assert logged == []
    assert machine.supervisor.reloads == {"done": 1}


async def test_the_workers_that_serve_say_how_many_calls_may_be(
    start_machine: Callable[..., Machine],
) -> None:
    machine = start_machine(calls_limit=200)
    for each in await machine.workers():
        await each.begin(calls_limit=100)
    await until(lambda: machine.supervisor.calls_limit == 100)
    reloading = asyncio.create_task(machine.supervisor.reload())
    for number in (3, 4):
        # Those of a reload that may still fail do not count.
        assert machine.supervisor.calls_limit == 100
        await (await machine.workers(number=number))[-1].begin(calls_limit=50)
    await reloading
    assert machine.supervisor.calls_limit == 50


async def test_connections_for_which_no_descriptor_is_left_are_counted(machine: Machine) -> None:
    machine.listener.errors.append(OSError(errno.EMFILE, "Too many open files"))
    machine.supervisor._reception.accept(0)
    assert machine.supervisor.accept_failures == 1


async def test_a_reload_that_is_asked_for_during_a_start_follows_it(
    start_machine: Callable[..., Machine],
) -> None:
    machine = start_machine()
    await machine.workers()
    with capture_logs() as logged:
        reloading = asyncio.create_task(machine.supervisor.reload())
        await machine.serve()
        for number in (3, 4):
            assert not reloading.done()
            await (await machine.workers(number=number))[-1].begin()
        await reloading
    events = [line["event"] for line in logged]
    assert events == [
        "reloading once the workers that are starting are ready",
        "reloading",
        "reloaded",
    ]


async def test_a_reload_that_fails_leaves_the_old_workers_serving(machine: Machine) -> None:
    old = list(machine.started)
    reloading = asyncio.create_task(machine.supervisor.reload())
    new = [(await machine.workers(number=3))[-1]]
    await new[0].begin()
    new.append((await machine.workers(number=4))[-1])
    with capture_logs() as logged:
        new[1].channel.send(StartFailed("my_agent.py:3: SyntaxError", 2))
        new[1].end(2)
        with pytest.raises(ReloadFailedError, match="SyntaxError"):
            await reloading
    (line,) = said(logged, "reload failed")
    assert line["reason"] == "my_agent.py:3: SyntaxError"
    assert machine.supervisor.reloads == {"failed": 1}
    await until(lambda: new[0].signals == [signal.SIGTERM])
    # It hangs, so it is killed at last.
    await asyncio.sleep(10)
    assert new[0].signals == [signal.SIGTERM, signal.SIGKILL]
    new[0].end(-9)
    machine.listener.connect()
    await until(lambda: any(each.sockets for each in old))
    assert len(machine.started) == 4


async def test_a_reload_that_waits_for_another_is_not_lost_with_it(machine: Machine) -> None:
    reloading = asyncio.create_task(machine.supervisor.reload())
    broken = (await machine.workers(number=3))[-1]
    again = asyncio.create_task(machine.supervisor.reload())
    # The handler is mended meanwhile.
    await asyncio.sleep(1)
    broken.end(2)
    with pytest.raises(ReloadFailedError):
        await reloading
    for number in (4, 5):
        assert not again.done()
        await (await machine.workers(number=number))[-1].begin()
    await again
    assert machine.supervisor.reloads == {"failed": 1, "done": 1}


async def test_a_reload_does_not_wait_for_a_server_that_cannot_start(
    start_machine: Callable[..., Machine],
) -> None:
    machine = start_machine(1)
    (worker,) = await machine.workers(number=1)
    reloading = asyncio.create_task(machine.supervisor.reload())
    await asyncio.sleep(0)
    worker.end(2)
    with pytest.raises(ReloadFailedError, match="status 2"):
        await reloading
    assert await machine.task == 2


async def test_a_reload_without_a_free_descriptor_fails_and_leaves_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_descriptors(descriptor: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    before = len(os.listdir("/dev/fd"))
    with monkeypatch.context() as short, capture_logs() as logged:
        short.setattr(os, "dup", out_of_descriptors)
        with pytest.raises(ReloadFailedError, match="Too many open files"):
            await machine.supervisor.reload()
    assert said(logged, "reload failed")
    assert len(os.listdir("/dev/fd")) == before
    assert [row.index for row in machine.supervisor.table.workers()] == [1, 2]
    assert not machine.task.done()


async def test_a_first_start_that_fails_is_said_in_a_line(
    start_machine: Callable[..., Machine],
) -> None:
    machine = start_machine()
    first, second = await machine.workers()
    with capture_logs() as logged:
        for each in (first, second):
            each.channel.send(StartFailed("there is no module my_agent", 2))
            each.end(2)
        assert await machine.task == 2
    assert [line["reason"] for line in said(logged, "startup failed")] == [
        "there is no module my_agent"
    ]
    assert machine.is_ready == 0


async def test_a_worker_that_never_gets_ready_is_not_waited_for(
    start_machine: Callable[..., Machine],
) -> None:
    machine = start_machine(1, starts_within=30.0)
    (worker,) = await machine.workers(number=1)
    with capture_logs() as logged:
        await asyncio.sleep(31)
        assert worker.signals == [signal.SIGKILL]
        worker.end(-9)
        assert await machine.task == 1
    (line,) = said(logged, "startup failed")
    assert line["reason"] == "a worker was not ready after 30 s"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(11, "Resource temporarily unavailable"), "Resource temporarily unavailable"),
        (RuntimeError("can't start new thread"), "can't start new thread"),
    ],
)
async def test_a_process_that_cannot_be_started_is_said(
    start_machine: Callable[..., Machine], error: Exception, reason: str
) -> None:
    machine = start_machine(1)
    machine.fails.append(error)
    with capture_logs() as logged:
        assert await machine.task == 1
    (line,) = said(logged, "startup failed")
    assert line["reason"] == f"a process cannot be started: {reason}"
    assert not machine.supervisor.workers


async def test_a_worker_that_only_ends_is_said_too(start_machine: Callable[..., Machine]) -> None:
    machine = start_machine(1)
    (worker,) = await machine.workers(number=1)
    with capture_logs() as logged:
        worker.end(-11)
        assert await machine.task == 1
    (line,) = said(logged, "startup failed")
    assert "signal 11" in line["reason"]


async def test_each_stop_is_passed_on(machine: Machine) -> None:
    first, second = machine.started
    machine.supervisor.stop()
    await until(lambda: first.got[-1] == second.got[-1] == StopWorker(1))
    # Callers still hear that all lines are busy.
    first.row.state = second.row.state = WorkerState.DRAINING
    machine.listener.connect()
    await until(lambda: first.sockets or second.sockets)
    machine.supervisor.stop()
    await until(lambda: first.got[-1] == second.got[-1] == StopWorker(2))
    first.end()
    machine.supervisor.stop()
    await until(lambda: second.got[-1] == StopWorker(3))
    # The signals are for workers that read nothing.
    assert second.signals == [signal.SIGTERM] * 3
    await asyncio.sleep(10)
    assert second.signals[-1] == signal.SIGKILL
    second.end(-9)
    assert await machine.task == 0


async def test_nothing_is_reloaded_while_the_server_stops(machine: Machine) -> None:
    machine.supervisor.stop()
    machine.supervisor.request_reload()
    with pytest.raises(ReloadFailedError, match="stopping"):
        await machine.supervisor.reload()
    assert len(machine.started) == 2


async def test_an_error_of_a_worker_that_stops_is_the_status(machine: Machine) -> None:
    machine.supervisor.stop()
    machine.started[0].end(1)
    machine.started[1].end(0)
    assert await machine.task == 1


async def test_an_error_of_a_worker_that_was_relieved_is_not_the_status(machine: Machine) -> None:
    reloading = asyncio.create_task(machine.supervisor.reload())
    for number in (3, 4):
        await (await machine.workers(number=number))[-1].begin()
    await reloading
    with capture_logs() as logged:
        for each in machine.started[:2]:
            each.end(1)
        await until(lambda: len(machine.supervisor.workers) == 2)
    assert len(said(logged, "worker ended with an error")) == 2
    machine.supervisor.stop()
    for each in machine.started[2:]:
        each.end()
    assert await machine.task == 0


async def test_a_worker_that_goes_by_itself_is_replaced(machine: Machine) -> None:
    machine.started[0].row.state = WorkerState.DRAINING
    await machine.workers(number=3)
    assert machine.started[2].process.endswith("/3.1")


@pytest.mark.parametrize(
    "message", [Told("hangup", {"CallUUID": "call-1"}), UsedNonce("nonce", used=False)]
)
async def test_what_a_worker_tells_reaches_the_others(
    machine: Machine, message: WorkerMessage
) -> None:
    first, second = machine.started
    first.channel.send(message)
    await until(lambda: second.got[-1] == message)
    assert message not in first.got


async def test_a_worker_is_asked_and_replies(machine: Machine) -> None:
    worker = machine.started[1]
    asking = asyncio.create_task(machine.supervisor.ask("2.1", b"calls?", within=5.0))
    await until(lambda: isinstance(worker.got[-1], Ask))
    question = worker.got[-1]
    assert isinstance(question, Ask)
    assert question.body == b"calls?"
    worker.channel.send(Replied(question.number, b"none"))
    assert await asking == b"none"
    # Nobody waits any more.
    worker.channel.send(Replied(question.number, b"again"))


async def test_a_worker_that_does_not_reply_is_not_waited_for(machine: Machine) -> None:
    with pytest.raises(WorkerGoneError, match="no worker 9\\.1"):
        await machine.supervisor.ask("9.1", b"calls?", within=5.0)
    with pytest.raises(WorkerGoneError, match="did not reply"):
        await machine.supervisor.ask("1.1", b"calls?", within=5.0)


async def test_a_worker_that_ends_while_it_is_asked_is_not_waited_for(machine: Machine) -> None:
    worker = machine.started[1]
    asking = asyncio.create_task(machine.supervisor.ask("2.1", b"calls?", within=3_600.0))
    await until(lambda: isinstance(worker.got[-1], Ask))
    worker.end(-9)
    with pytest.raises(WorkerGoneError, match="has ended"):
        await asking


async def test_the_last_figures_of_a_worker_are_passed_on(machine: Machine) -> None:
    told = []
    machine.supervisor.told_last = lambda name, body: told.append((name, body))
    machine.started[1].channel.send(LastFigures(b"figures"))
    machine.started[1].end()
    await until(lambda: "2.1" not in machine.supervisor.workers)
    assert told == [("2.1", b"figures")]


async def test_a_supervisor_tells_of_its_workers(machine: Machine) -> None:
    first, second = machine.supervisor.living()
    assert (first.name, first.stage, first.pid, first.calls) == ("1.1", WorkerStage.READY, 0, 0)
    second.row.active = 3
    assert second.calls == 3
    assert not machine.supervisor.stopping


async def test_a_connection_moves_to_the_worker_that_prepared_its_call(machine: Machine) -> None:
    first, second = machine.started
    connection = ClientConnection(0, ("192.0.2.1", 40_000), b"GET /", moved=True)
    client, ours = socket.socketpair()
    first.channel.send(Move(second.process, connection), ours.detach())
    await until(lambda: second.sockets)
    assert second.got[-1] == connection
    second.sockets[0].send(b"here")
    assert client.recv(100) == b"here"
    client.close()


@pytest.mark.parametrize("gone", ["another/2.1", "{machine}/2.7", "{machine}/9.1"])
async def test_a_connection_comes_back_if_that_worker_is_gone(machine: Machine, gone: str) -> None:
    first, second = machine.started
    to = gone.format(machine=machine.supervisor.machine)
    connection = ClientConnection(0, ("192.0.2.1", 40_000), b"GET /", moved=True)
    client, ours = socket.socketpair()
    first.channel.send(Move(to, connection), ours.detach())
    await until(lambda: first.sockets)
    assert not second.sockets
    client.close()


async def test_what_a_dead_worker_had_not_read_goes_to_another(machine: Machine) -> None:
    first, second = machine.started
    second.row.active = 1
    # Killed, a process closes its end without a word.
    first.die(-9)
    machine.listener.connect()
    machine.supervisor._reception.accept(0)
    assert first.row.sent == 1
    await until(lambda: second.sockets)
    assert not first.sockets


async def test_what_a_worker_had_not_read_when_it_closed_goes_to_another(machine: Machine) -> None:
    first, second = machine.started
    second.row.active = 1
    machine.listener.connect()
    machine.supervisor._reception.accept(0)
    assert first.row.sent == 1
    # Its process goes on for a while.
    first.channel.close()
    await until(lambda: second.sockets)
    assert "1.1" in machine.supervisor.workers


async def test_what_did_not_reach_a_dead_worker_goes_to_another(machine: Machine) -> None:
    first, second = machine.started
    employed = machine.supervisor.workers["1.1"]
    second.row.active = 1
    # It reads nothing while the test does not wait.
    while not employed.channel.queued:
        employed.channel.send(Told("status", {"text": "x" * 10_000}))
    machine.listener.connect()
    machine.supervisor._reception.accept(0)
    assert first.row.sent == 1
    first.end(-9)
    await until(lambda: second.sockets)


async def test_a_worker_that_stands_still_is_ended_alone(
    start_machine: Callable[..., Machine], tmp_path: Any
) -> None:
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "60000000"}
        loop = asyncio.get_running_loop()
        machine = start_machine(notifier=Notifier(environment, clock=loop.time))
        first, second = await machine.serve()
        with capture_logs() as logged:
            first.row.beat = time.monotonic_ns() - 70_000_000_000
            await asyncio.sleep(1)
            assert first.signals == [signal.SIGABRT]
            await asyncio.sleep(10)
            assert first.signals == [signal.SIGABRT, signal.SIGKILL]
        assert second.signals == []
        (line,) = said(logged, "worker is blocked and is ended")
        assert line["worker"] == "1.1"
        await asyncio.sleep(30)
        assert "WATCHDOG=1" in told_to(systemd)
        # Only a server none of whose workers runs is restarted.
        second.row.beat = first.row.beat
        await asyncio.sleep(30)
        assert "WATCHDOG=1" not in told_to(systemd)


async def test_without_systemd_a_setting_limits_how_long_a_worker_stands_still(
    start_machine: Callable[..., Machine],
) -> None:
    machine = start_machine(blocked_within=30.0)
    first, second = await machine.serve()
    with capture_logs() as logged:
        first.row.beat = time.monotonic_ns() - 31_000_000_000
        second.row.beat = time.monotonic_ns()
        await asyncio.sleep(1)
    assert (first.signals, second.signals) == ([signal.SIGABRT], [])
    (line,) = said(logged, "worker is blocked and is ended")
    assert (line["seconds"], line["hint"]) == (30.0, "--worker-watchdog sets the limit")


async def test_a_pause_of_all_processes_ends_no_worker(
    start_machine: Callable[..., Machine],
) -> None:
    machine = start_machine(blocked_within=30.0)
    first, _ = await machine.serve()
    first.row.beat = machine.supervisor._ticked = time.monotonic_ns() - 60_000_000_000
    await asyncio.sleep(1)
    assert first.signals == []


@pytest.mark.parametrize("says", ["farewell", "nothing", "failure"])
async def test_a_worker_that_hangs_at_its_exit_is_killed(
    start_machine: Callable[..., Machine], says: str
) -> None:
    machine = start_machine(ends_within=100.0)
    first, second = await machine.serve()
    with capture_logs() as logged:
        if says == "farewell":
            first.channel.send(Leaving())
        elif says == "failure":
            first.channel.send(StartFailed("no handler", 2))
        else:
            first.channel.close()
        await asyncio.sleep(99)
        assert first.signals == []
        await asyncio.sleep(2)
    assert (first.signals, second.signals) == ([signal.SIGKILL], [])
    (line,) = said(logged, "worker does not end and is killed")
    assert (line["worker"], line["seconds"]) == ("1.1", 100.0)


def told_to(sock: socket.socket) -> list[str]:
    told = []
    while True:
        try:
            told.append(sock.recv(1000).decode())
        except BlockingIOError:
            return told
