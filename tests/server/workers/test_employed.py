import asyncio
import contextlib
import signal
import sys

import pytest

from mediaserver.server.workers.channel import Channel, channel_pair, receive_message
from mediaserver.server.workers.crew import CrewWorker, WorkerStage
from mediaserver.server.workers.employed import Employed, WorkerProcess
from mediaserver.server.workers.messages import StartFailed, StopWorker
from mediaserver.server.workers.table import WorkerTable


class Process:
    """A process that has ended, or not."""

    pid = 77

    def __init__(self, *, lives: bool) -> None:
        self.lives = lives
        self.signals: list[int] = []

    def send_signal(self, signal: int) -> None:
        if not self.lives:
            raise ProcessLookupError
        self.signals.append(signal)

    async def wait(self) -> int:
        return 0


async def test_a_worker_is_known_by_its_process_its_row_and_its_channel() -> None:
    table = WorkerTable()
    worker = Employed(CrewWorker("1.1", generation=1, started=100.0), table.take(now=1))
    ours, theirs = channel_pair()
    theirs.setblocking(False)
    worker.channel = Channel(ours, lambda message, descriptor: None, lambda unsent: None)
    worker.row.active = 3
    assert (worker.name, worker.pid, worker.calls) == ("1.1", 0, 3)
    worker.tell_to_stop(1)
    assert receive_message(theirs) == (StopWorker(1), -1)
    process = worker.process = Process(lives=True)
    worker.tell_to_stop(2)
    assert (worker.pid, worker.stops, process.signals) == (77, 2, [signal.SIGTERM])
    reached = [worker.reachable]
    worker.channel.close()
    reached.append(worker.reachable)
    assert reached == [True, False]
    theirs.close()
    table.close()


def test_a_signal_to_a_process_that_has_ended_is_no_error() -> None:
    table = WorkerTable()
    worker = Employed(CrewWorker("1.1", generation=1, started=0.0), table.take(now=1))
    worker.process = Process(lives=False)
    worker.signal(signal.SIGKILL)
    table.close()


@pytest.mark.real_time
async def test_signals_at_the_end_of_a_process_leave_it_its_status() -> None:
    waits = "import sys; sys.stdin.read(); raise SystemExit(3)"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", waits, stdin=asyncio.subprocess.PIPE
    )
    worker = WorkerProcess(process)
    assert process.stdin is not None
    process.stdin.close()
    async with asyncio.timeout(30):
        while process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                worker.send_signal(0)
            await asyncio.sleep(0)
        assert await worker.wait() == 3
    worker.send_signal(0)


@pytest.mark.real_time
async def test_a_signal_reaches_a_process() -> None:
    waits = "import sys; sys.stdin.read()"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", waits, stdin=asyncio.subprocess.PIPE
    )
    worker = WorkerProcess(process)
    worker.send_signal(signal.SIGKILL)
    async with asyncio.timeout(30):
        assert await worker.wait() == -signal.SIGKILL


@pytest.mark.parametrize(
    ("stage", "failed", "late"),
    [
        (WorkerStage.STARTING, False, True),
        (WorkerStage.STARTING, True, False),
        (WorkerStage.READY, False, False),
    ],
)
def test_only_a_worker_that_is_starting_can_be_late(
    stage: WorkerStage, failed: bool, late: bool
) -> None:
    table = WorkerTable()
    worker = Employed(CrewWorker("1.1", generation=1, started=100.0), table.take(now=1))
    worker.member.stage = stage
    worker.reason = StartFailed("no handler", 2) if failed else None
    assert worker.stage is stage
    assert worker.is_late(101.0) is late
    assert not worker.is_late(99.0)
    table.close()
