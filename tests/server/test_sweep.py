import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mediaserver.server.sweep import Sweep
from mediaserver.testing import stall


class Member:
    def __init__(self, then: Callable[..., Any] | None = None) -> None:
        self.checks: list[Any] = []
        self._then = then

    def check(self, now: float, elapsed: float) -> None:
        self.checks.append((now, elapsed))
        if self._then is not None:
            self._then()


def make_sweep(**more: Any) -> Sweep:
    loop = asyncio.get_running_loop()
    return Sweep(loop, loop.time, **more)


async def test_members_are_checked_once_a_period_with_the_time_that_has_passed() -> None:
    sweep = make_sweep(period=0.5)
    member = Member()
    sweep.add(member)
    await asyncio.sleep(2.1)
    assert member.checks == [(0.5, 0.5), (1.0, 0.5), (1.5, 0.5), (2.0, 0.5)]
    sweep.stop()


async def test_a_stall_counts_as_two_periods_at_most() -> None:
    sweep = make_sweep(period=0.5)
    member = Member()
    sweep.add(member)
    await asyncio.sleep(0.6)
    stall(60)
    await asyncio.sleep(1)
    assert member.checks[1] == (pytest.approx(60.6), 1.0)
    assert member.checks[2] == (pytest.approx(61.1), pytest.approx(0.5))
    sweep.stop()


async def test_there_is_no_timer_while_there_is_nothing_to_check() -> None:
    loop: Any = asyncio.get_running_loop()
    sweep = make_sweep()
    member = Member()
    sweep.add(member)
    sweep.discard(member)
    await asyncio.sleep(5)
    assert not member.checks
    assert not loop._scheduled


async def test_idle_time_does_not_count_for_who_comes_after_it() -> None:
    sweep = make_sweep(period=0.5)
    first, second = Member(), Member()
    sweep.add(first)
    sweep.discard(first)
    await asyncio.sleep(30.2)
    sweep.add(second)
    await asyncio.sleep(0.5)
    assert second.checks == [(pytest.approx(30.7), pytest.approx(0.5))]
    sweep.stop()


async def test_members_may_leave_in_the_midst_of_a_sweep() -> None:
    sweep = make_sweep()
    members: list[Any] = []

    def leave_all() -> None:
        for member in members:
            sweep.discard(member)

    members += [Member(then=leave_all) for _ in range(3)]
    for member in members:
        sweep.add(member)
    await asyncio.sleep(5)
    assert sum(len(member.checks) for member in members) <= 3
    assert len(sweep) == 0


async def test_stopping_in_the_midst_of_a_sweep_is_the_end() -> None:
    loop: Any = asyncio.get_running_loop()
    sweep = make_sweep()
    member = Member(then=sweep.stop)
    sweep.add(member)
    await asyncio.sleep(5)
    assert len(member.checks) == 1
    assert not loop._scheduled


async def test_a_member_that_fails_is_reported_and_the_others_are_checked() -> None:
    loop = asyncio.get_running_loop()
    reported = []
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))

    def fail() -> None:
        raise RuntimeError("a bug")

    sweep = make_sweep(period=0.5)
    others = [Member() for _ in range(5)]
    for member in (Member(then=fail), *others):
        sweep.add(member)
    await asyncio.sleep(1.1)
    assert [len(member.checks) for member in others] == [2] * 5
    assert [str(error) for error in reported] == ["a bug"] * 2
    sweep.stop()
