from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.sandbox.wire.backlog import WARNING_PERCENT, Backlog


def filled(
    seconds: float, limit: float = 40.0
) -> tuple[Backlog, list[Any]] | tuple[Backlog, list[tuple[int, float]]]:
    """Return a backlog into which a frame went every 20 ms, and each warning with its time."""
    backlog = Backlog(limit)
    warned = []
    for frame in range(round(seconds * 50) + 1):
        now = frame / 50
        backlog.put(f"frame {frame}", now)
        warned += [(percent, now) for percent in backlog.warnings(now)]
    return backlog, warned


def test_warnings_come_at_30_60_and_90_percent_of_40_seconds() -> None:
    backlog, warned = filled(39.9)
    assert warned == [(30, 12.0), (60, 24.0), (90, 36.0)]
    assert not backlog.full(39.9)


def test_it_is_full_at_its_limit() -> None:
    assert filled(39.98)[0].full(39.98) is False
    assert filled(40.0)[0].full(40.0) is True


def test_messages_come_out_in_order() -> None:
    backlog, _ = filled(0.1)
    assert [backlog.take() for _ in range(len(backlog))] == [f"frame {n}" for n in range(6)]
    with pytest.raises(IndexError):
        backlog.take()


def test_seconds_are_those_of_the_oldest_message() -> None:
    backlog, _ = filled(10.0)
    for _ in range(100):
        backlog.take()
    assert backlog.seconds(10.0) == pytest.approx(8.0)


def test_an_empty_backlog_holds_nothing_however_late_it_is() -> None:
    backlog = Backlog()
    assert (len(backlog), backlog.seconds(1e6), backlog.full(1e6)) == (0, 0.0, False)
    assert backlog.warnings(1e6) == ()


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_a_limit_of_nothing_is_refused(limit: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        Backlog(limit)


@given(
    limit=st.floats(0.1, 100),
    steps=st.lists(st.tuples(st.floats(0, 30), st.integers(0, 10)), max_size=60),
)
def test_each_warning_comes_once_in_rising_order_until_it_is_empty(
    limit: float, steps: list[tuple[float, int]]
) -> None:
    backlog = Backlog(limit)
    now = 0.0
    given_since_empty: list[Any] = []
    for wait, taken in steps:
        now += wait
        backlog.put("frame", now)
        new = backlog.warnings(now)
        given_since_empty += new
        assert given_since_empty == list(WARNING_PERCENT[: len(given_since_empty)])
        filled_percent = 100 * backlog.seconds(now) / limit
        assert all(percent <= filled_percent + 1e-5 for percent in new)
        missing = WARNING_PERCENT[len(given_since_empty) :]
        assert all(percent > filled_percent - 1e-5 for percent in missing)
        for _ in range(min(taken, len(backlog))):
            backlog.take()
        if not len(backlog):
            given_since_empty = []
