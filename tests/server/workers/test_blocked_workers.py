from collections.abc import Iterator

import pytest

from mediaserver.server.workers.blocked_workers import BlockedWorkers
from mediaserver.server.workers.table import WorkerRow, WorkerState, WorkerTable


SECOND = 1_000_000_000


@pytest.fixture
def row() -> Iterator[WorkerRow]:
    table = WorkerTable()
    row = table.take(0)
    row.state = WorkerState.READY
    yield row
    table.close()


def run(blocked: BlockedWorkers, *, since: int, until: int) -> None:
    for second in range(since, until + 1):
        blocked.tick(second * SECOND)


def test_a_worker_that_has_not_beaten_for_too_long_is_blocked(row: WorkerRow) -> None:
    blocked = BlockedWorkers(30.0, 0)
    run(blocked, since=1, until=30)
    assert not blocked.includes(row)
    run(blocked, since=31, until=31)
    assert blocked.includes(row)
    row.beat = 31 * SECOND
    assert not blocked.includes(row)


@pytest.mark.parametrize("state", [WorkerState.STARTING, WorkerState.OPENING])
def test_a_worker_that_starts_may_take_its_time(row: WorkerRow, state: WorkerState) -> None:
    row.state = state
    blocked = BlockedWorkers(30.0, 0)
    run(blocked, since=1, until=60)
    assert not blocked.includes(row)


def test_without_a_limit_no_worker_is_blocked(row: WorkerRow) -> None:
    blocked = BlockedWorkers(None, 0)
    blocked.tick(3_600 * SECOND)
    assert not blocked.includes(row)


def test_a_pause_of_all_processes_blames_no_worker(row: WorkerRow) -> None:
    blocked = BlockedWorkers(30.0, 0)
    blocked.tick(60 * SECOND)
    assert not blocked.includes(row)
    # From then on it has as long as ever.
    run(blocked, since=61, until=90)
    assert not blocked.includes(row)
    run(blocked, since=91, until=91)
    assert blocked.includes(row)
