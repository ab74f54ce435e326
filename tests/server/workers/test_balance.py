import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.server.workers.balance import Balance
from mediaserver.server.workers.table import WorkerState


@dataclass
class Worker:
    """A worker that takes what it was sent only when it runs."""

    index: int
    state: WorkerState = WorkerState.READY
    sent: int = 0
    adopted: int = 0
    waiting: int = 0
    reserved: int = 0
    active: int = 0
    beat: int = 0
    under_way: int = field(init=False, default=0)

    def __getattribute__(self, name: str) -> object:
        if name == "under_way":
            return self.sent - self.adopted
        return super().__getattribute__(name)

    def run(self) -> None:
        self.active += self.sent - self.adopted
        self.adopted = self.sent


def connect(balance: Balance, workers: list[Worker]) -> None:
    chosen = balance.choose(workers, 0)
    assert chosen is not None
    balance.sent(chosen)


@pytest.mark.parametrize("burst", [1, 50])
@pytest.mark.parametrize("number", [2, 3])
def test_calls_are_even_after_churn(burst: int, number: int) -> None:
    balance, workers = Balance(), [Worker(index) for index in range(1, number + 1)]
    choose = random.Random(1)
    for _ in range(20):
        for _ in range(300 // burst):
            for _ in range(burst):
                connect(balance, workers)
            for worker in workers:
                worker.run()
        assert max(each.active for each in workers) - min(each.active for each in workers) <= 1
        for _ in range(300):
            busy = [each for each in workers for _ in range(each.active)]
            choose.choice(busy).active -= 1


@given(st.lists(st.tuples(*[st.integers(0, 9)] * 4), min_size=1, max_size=5))
def test_the_worker_that_has_least_is_chosen(loads: list[tuple[int, ...]]) -> None:
    workers = [
        Worker(index, sent=sent, waiting=waiting, reserved=reserved, active=active)
        for index, (sent, waiting, reserved, active) in enumerate(loads)
    ]
    chosen = Balance().choose(workers, 0)
    assert chosen is not None
    assert sum(loads[chosen.index]) == min(map(sum, loads))


def test_workers_that_have_the_same_take_turns() -> None:
    balance, workers = Balance(), [Worker(index) for index in (1, 2, 3)]
    order = []
    for _ in range(6):
        chosen = balance.choose(workers, 0)
        assert chosen is not None
        balance.sent(chosen)
        # Its connection is over before the next one comes.
        chosen.adopted = chosen.sent
        order.append(chosen.index)
    assert order == [1, 2, 3, 1, 2, 3]


@pytest.mark.parametrize(
    ("states", "chosen"),
    [
        ([WorkerState.READY, WorkerState.OPENING, WorkerState.DRAINING], 0),
        ([WorkerState.STARTING, WorkerState.OPENING, WorkerState.DRAINING], 1),
        ([WorkerState.STARTING, WorkerState.STARTING, WorkerState.DRAINING], 2),
    ],
)
def test_the_worker_that_can_do_most_for_a_caller_is_chosen(
    states: list[WorkerState], chosen: int
) -> None:
    workers = [Worker(index, state=state, active=9 - index) for index, state in enumerate(states)]
    assert Balance().choose(workers, 0) is workers[chosen]


def test_nobody_is_chosen_while_all_are_starting() -> None:
    assert Balance().choose([Worker(1, state=WorkerState.STARTING)], 0) is None
    assert Balance().choose([], 0) is None


def test_workers_that_are_behind_get_nothing_more_until_they_have_run() -> None:
    balance, workers = Balance(), [Worker(1), Worker(2)]
    for _ in range(2 * 512):
        connect(balance, workers)
    assert balance.choose(workers, 0) is None
    workers[1].run()
    assert balance.choose(workers, 0) is workers[1]


def test_a_worker_whose_loop_is_blocked_is_passed_over() -> None:
    workers = [Worker(1, beat=0), Worker(2, beat=5_000_000_000, active=100)]
    assert Balance().choose(workers, 5_500_000_000) is workers[1]
    assert Balance().choose(workers[:1], 5_500_000_000) is workers[0]
