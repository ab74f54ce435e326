import asyncio
import contextlib
import errno
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from mediaserver.server.process.systemd import Notifier
from mediaserver.server.workers.crew import ReloadFailedError, WorkerStage
from mediaserver.server.workers.messages import (
    Farewell,
    LastFigures,
    Leaving,
    ListeningAddress,
    Orders,
    Retire,
    StartFailed,
    StopWorker,
    Told,
    UsedNonce,
    WorkerMessage,
)
from mediaserver.server.workers.table import WorkerState
from tests.server.until import until
from tests.server.workers.machine import Machine


def said(logged: Any, event: str) -> list[dict[str, Any]]:
    return [dict(line) for line in logged if line["event"] == event]


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
    machine.accept()
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
