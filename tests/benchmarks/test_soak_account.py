"""Calls against their records."""

from collections import Counter

import pytest

from benchmarks.soak_account import (
    KEPT_SECONDS,
    LOST,
    STUCK_SECONDS,
    Account,
    MadeCall,
    RecordedStream,
    account,
)


NOTHING = Account(Counter(), 0, Counter(), 0, 0, Counter(), Counter(), 0)
CALL = MadeCall("s1", "honest", 100.0, 120.0, heard=True)
ROW = RecordedStream("s1", "n/1.1", 120.1, "plivo")


def test_calls_with_their_records_agree() -> None:
    assert account([CALL], [ROW], {}) == NOTHING


def test_a_call_without_a_record_is_missing() -> None:
    assert account([CALL], [], {}) == NOTHING._replace(missing=Counter(honest=1))


def test_a_stream_that_the_server_may_not_have_begun_needs_no_record() -> None:
    assert account([CALL._replace(heard=False)], [], {}) == NOTHING


@pytest.mark.parametrize(("after", "fresh"), [(0.5, 1), (KEPT_SECONDS + 0.1, 0), (-0.1, 0)])
def test_a_kill_may_take_what_began_in_the_second_before(after: float, fresh: int) -> None:
    found = account([CALL], [], {"n/1.1": CALL.began + after})
    assert (found.fresh, found.missing.total()) == (fresh, 1 - fresh)


def test_a_record_without_an_end_is_counted() -> None:
    row = ROW._replace(ended=None, cause=None)
    assert account([CALL], [row], {}) == NOTHING._replace(endless=Counter(honest=1))


def test_a_record_without_a_stream_needs_an_end_only() -> None:
    row = ROW._replace(stream=None)
    assert account([CALL], [ROW, row], {}) == NOTHING
    found = account([CALL], [ROW, row._replace(ended=None)], {})
    assert found.endless == Counter({"without a start": 1})


def test_records_that_are_too_many_are_counted() -> None:
    found = account([CALL], [ROW, ROW, ROW._replace(stream="s2")], {})
    assert (found.twice, found.unknown) == (1, 1)


def test_a_call_that_the_server_kept_too_long_is_stuck() -> None:
    row = ROW._replace(ended=CALL.over + STUCK_SECONDS + 0.1)
    assert account([CALL], [row], {}) == NOTHING._replace(stuck=Counter(honest=1))


@pytest.mark.parametrize(
    ("kills", "wrong"),
    [({}, 1), ({"n/1.1": 119.9}, 0), ({"n/1.1": 120.5}, 0), ({"n/1.1": 122.0}, 1)],
    ids=["never", "while it lived", "in the second after it", "later"],
)
def test_only_a_kill_makes_a_call_lost(kills: dict[str, float], wrong: int) -> None:
    assert account([CALL], [ROW._replace(cause=LOST)], kills).wrongly_lost.total() == wrong


def test_a_call_that_a_kill_cut_must_be_lost() -> None:
    cut = CALL._replace(cut=True)
    kills = {"n/1.1": 119.9}
    assert account([cut], [ROW], kills).not_lost == 1
    assert account([cut], [ROW._replace(cause=LOST)], kills) == NOTHING
    assert account([CALL], [ROW], kills) == NOTHING
