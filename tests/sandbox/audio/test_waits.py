from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.sandbox.audio.waits import (
    Reached,
    Waits,
    first_beginning,
    first_silence,
    last_heard,
    reached_at,
)
from mediaserver.sandbox.errors import CallEnded, WaitTimeoutError
from mediaserver.testing import run_virtual


AT_TWO = reached_at(2.0)
SPELLS = st.lists(st.integers(1, 50), max_size=12).map(
    lambda steps: [
        (sum(steps[: 2 * index + 1]) / 10, sum(steps[: 2 * index + 2]) / 10)
        for index in range(len(steps) // 2)
    ]
)
TIMES = st.integers(0, 600).map(lambda tenths: tenths / 10)


def waiting(act: Callable[[Waits], object], reached: Reached = AT_TWO, limit: float = 5.0) -> float:
    """Wait from 1.0 s on for 2.0 s, while `act` does something with the waits."""

    async def scenario() -> float:
        waits = Waits(lambda: "the call is up")
        task = asyncio.create_task(waits.until("the time", reached, now=1.0, limit=limit))
        await asyncio.sleep(0)
        assert waits
        act(waits)
        assert not waits
        return await task

    return run_virtual(scenario())


def test_a_wait_ends_with_the_time_at_which_its_condition_came_true() -> None:
    def look(waits: Waits) -> None:
        waits.look(1.98)
        waits.look(2.0)

    assert waiting(look) == 2.0


def test_a_wait_ends_at_its_limit_with_what_was_awaited() -> None:
    with pytest.raises(
        WaitTimeoutError, match=r"^waited 5\.00 s for the time; the call is up$"
    ) as late:
        waiting(lambda waits: waits.look(6.0), lambda _: None)
    assert isinstance(late.value, TimeoutError)


def test_what_comes_true_at_the_limit_is_in_time() -> None:
    assert waiting(lambda waits: waits.look(6.0), reached_at(6.0)) == 6.0


def test_without_a_limit_a_wait_lasts_as_long_as_the_call() -> None:
    def last(waits: Waits) -> None:
        waits.look(1e9)
        waits.end()

    with pytest.raises(CallEnded, match="waited for the time; the call is up"):
        waiting(last, lambda _: None, limit=math.inf)


def test_a_wait_that_was_given_up_is_forgotten() -> None:
    async def scenario() -> None:
        waits = Waits(lambda: "")
        task = asyncio.create_task(waits.until("x", lambda _: None, now=0.0, limit=1.0))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        waits.look(9.0)
        assert not waits

    run_virtual(scenario())


@given(SPELLS, TIMES)
def test_the_first_beginning_is_no_earlier_than_asked_and_none_is_passed_over(
    spells: list[tuple[float, float]], after: float
) -> None:
    found = first_beginning(spells, after)
    later = [start for start, _ in spells if start >= after]
    assert found == (later[0] if later else None)


@given(SPELLS, TIMES, TIMES, TIMES.filter(bool))
def test_a_silence_found_is_silent_and_no_earlier_one_was(
    spells: list[tuple[float, float]], after: float, more: float, seconds: float
) -> None:
    now = max([after, *(end for _, end in spells)]) + more
    over = first_silence(spells, seconds, after=after, now=now)
    since = [after, *(end for _, end in spells if end > after)]
    silent = [
        time + seconds
        for time in since
        if time + seconds <= now + 1e-6
        and not any(start < time + seconds - 1e-6 and end > time + 1e-6 for start, end in spells)
    ]
    assert over == (pytest.approx(min(silent)) if silent else None)


def test_what_was_heard_last_is_said() -> None:
    assert last_heard("the agent", []) == "the agent has not been heard"
    heard = last_heard("the agent", [(0.0, 1.0), (2.0, 3.456)])
    assert heard == "the agent was last heard from 2.00 s to 3.46 s"
