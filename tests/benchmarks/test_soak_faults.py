"""Which fault is injected when."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.soak_faults import KILL, PEERS, PERIODS, RELOAD, fault_schedule


@given(st.integers(10, 400), st.integers())
@settings(max_examples=30)
def test_each_second_has_one_fault(seconds: int, seed: int) -> None:
    faults = fault_schedule(seconds, Random(seed))
    assert [each.at for each in faults] == list(range(seconds))


@given(st.integers())
@settings(max_examples=30)
def test_the_last_half_leaves_the_oldest_worker_alone(seed: int) -> None:
    last = fault_schedule(600, Random(seed))[300:]
    assert RELOAD not in {each.kind for each in last}
    assert all(each.spares_oldest for each in last)


@given(st.integers(10, 60), st.integers())
@settings(max_examples=30)
def test_a_short_run_has_all_that_is_worse_than_a_peer(seconds: int, seed: int) -> None:
    assert {each.kind for each in fault_schedule(seconds, Random(seed))} >= set(PERIODS)


def test_the_same_seed_gives_the_same_faults() -> None:
    assert fault_schedule(300, Random(7)) == fault_schedule(300, Random(7))
    assert fault_schedule(300, Random(7)) != fault_schedule(300, Random(8))


@pytest.mark.parametrize("seed", range(3))
def test_a_long_run_kills_about_once_a_minute_and_has_all_peers(seed: int) -> None:
    kinds = Counter(each.kind for each in fault_schedule(2_700, Random(seed)))
    assert 35 <= kinds[KILL] <= 60
    assert max(kinds[each] for each in PEERS) - min(kinds[each] for each in PEERS) <= 1
