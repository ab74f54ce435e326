import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.call.budget import Budget


def budget_of(clock: Any, **more: Any) -> Budget:
    rates = {"messages_per_second": 100.0, "bytes_per_second": 50_000.0, "burst_seconds": 30.0}
    return Budget(clock, **rates | more)


def test_what_was_held_up_may_come_at_once(clock: Any) -> None:
    budget = budget_of(clock)
    assert all(budget.spend(1, 400) for _ in range(3_000))
    assert not budget.spend(1, 400)


def test_the_full_rate_may_last(clock: Any) -> None:
    budget = budget_of(clock)
    for _ in range(120):
        clock.now += 1.0
        assert budget.spend(100, 50_000)


def test_what_was_not_used_is_kept_up_to_the_burst(clock: Any) -> None:
    budget = budget_of(clock)
    budget.spend(3_000, 0)
    clock.now += 3_600.0
    assert budget.spend(3_000, 0)
    assert not budget.spend(1, 0)


@pytest.mark.parametrize(
    ("messages", "size", "what"),
    [(4_000, 0, "too many messages: more than 100 a second and a burst of 3000"),
     (1, 2_000_000, "too many bytes: more than 50000 a second and a burst of 1500000")],
)  # fmt: skip
def test_it_says_what_there_was_too_much_of(
    clock: Any, messages: int, size: int, what: str
) -> None:
    budget = budget_of(clock)
    assert not budget.spend(messages, size)
    assert budget.excess == what


def test_a_peer_that_stopped_in_time_is_in_credit_again(clock: Any) -> None:
    budget = budget_of(clock)
    assert not budget.spend(3_050, 0)
    clock.now += 1.0
    assert budget.spend(1, 0)


@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.integers(0, 2_000), st.integers(0, 10**6)), max_size=30
    )
)
def test_no_more_passes_than_the_rate_and_two_bursts(steps: list[tuple[float, int, int]]) -> None:
    now = 0.0
    budget = budget_of(lambda: now)
    messages = size = 0
    for seconds, more_messages, more_bytes in steps:
        now += seconds
        if not budget.spend(more_messages, more_bytes):
            break
        messages += more_messages
        size += more_bytes
        assert messages <= math.ceil(100 * (now + 60))
        assert size <= math.ceil(50_000 * (now + 60))
