import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from mediaserver.server.admission import Admission, Places
from mediaserver.server.workers.table import WorkerState, WorkerTable


@pytest.fixture
def table() -> Iterator[WorkerTable]:
    table = WorkerTable()
    yield table
    table.close()


def test_what_one_process_writes_another_reads(table: WorkerTable) -> None:
    row = table.take(now=5)
    other = WorkerTable(os.dup(table.descriptor))
    seen = other.row(row.index)
    assert (seen.state, seen.beat) == (WorkerState.STARTING, 5)
    row.state, row.adopted, row.waiting = WorkerState.READY, 7, 3
    row.reserved, row.active, row.beat = 2, 4, 9
    assert (seen.state, seen.adopted, seen.waiting) == (WorkerState.READY, 7, 3)
    assert (seen.reserved, seen.active, seen.beat) == (2, 4, 9)
    seen.sent = 9
    assert row.under_way == 2
    other.close()


def test_places_are_counted_over_all_workers_that_live(table: WorkerTable) -> None:
    first, second, third = (table.take(now=1) for _ in range(3))
    first.active, second.active, third.reserved = 1, 10, 100
    assert table.taken() == Places(active=11, reserved=100)
    assert first.others() == Places(active=10, reserved=100)
    assert third.others() == Places(active=11, reserved=0)
    second.free()
    assert table.taken() == Places(active=1, reserved=100)


_RACE = """
import sys
from mediaserver.server.admission import Admission
from mediaserver.server.workers.table import WorkerTable

table = WorkerTable(int(sys.argv[1]))
admission = Admission(1, counts=table.row(int(sys.argv[2])))
print("ready", flush=True)
sys.stdin.readline()
most = 0
for number in range(3_000):
    call_id = str(number)
    slots = [admission.reserve(call_id) and admission.admit(call_id), admission.admit()]
    with table.locked():
        most = max(most, sum(table.taken()))
    for slot in filter(None, slots):
        slot.release()
print(most)
"""


def test_workers_that_admit_at_the_same_moment_never_exceed_the_limit(table: WorkerTable) -> None:
    rows = [table.take(now=1) for _ in range(2)]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _RACE, str(table.descriptor), str(row.index)],
            pass_fds=[table.descriptor],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for row in rows
    ]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("\n")
            worker.stdin.flush()
        said = [worker.communicate(timeout=60)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    assert said == ["1\n", "1\n"]
    assert table.taken() == Places(0, 0)


def test_a_worker_that_dies_gives_its_places_back(table: WorkerTable) -> None:
    dying, living = table.take(now=1), table.take(now=1)
    admission = Admission(2, counts=dying)
    admission.admit()
    admission.reserve("a")
    assert Admission(2, counts=living).free == 0
    dying.free()
    assert Admission(2, counts=living).free == 2


def test_the_row_of_a_dead_worker_is_used_again_under_another_name(table: WorkerTable) -> None:
    row, beside = table.take(now=1), table.take(now=1)
    row.active = row.reserved = row.waiting = row.adopted = 5
    name = row.name
    assert name == "1.1"
    row.free()
    assert table.find(name) is None
    again = table.take(now=2)
    assert (again.index, again.name) == (row.index, "1.2")
    assert again.active == again.reserved == again.waiting == again.under_way == 0
    assert table.find(name) is None
    assert table.find("1.2") is not None
    assert [each.name for each in table.workers()] == ["1.2", beside.name]


@pytest.mark.parametrize("name", ["", "1", "0.0", "999999.1", "-1.1", "one.two", "1.1.1", "²"])
def test_a_name_that_no_worker_has_finds_none(table: WorkerTable, name: str) -> None:
    table.take(now=1)
    assert table.find(name) is None


def test_a_full_table_says_so(table: WorkerTable) -> None:
    for _ in range(255):
        table.take(now=1)
    with pytest.raises(LookupError, match="255 workers live already"):
        table.take(now=1)
    with pytest.raises(IndexError):
        table.row(256)


def test_while_one_process_counts_the_others_wait(table: WorkerTable) -> None:
    # POSIX locks belong to a process.
    code = (
        "import fcntl, sys\n"
        "try: fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "except BlockingIOError: print('locked')"
    )
    command = [sys.executable, "-S", "-c", code, str(table.descriptor)]
    with table.row(1).locked():
        said = subprocess.check_output(command, pass_fds=[table.descriptor], timeout=60)
    assert said == b"locked\n"


def test_a_system_without_files_in_memory_has_one_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    table = WorkerTable()
    assert not os.get_inheritable(table.descriptor)
    assert table.take(now=1).name == "1.1"
    table.close()
