import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from mediaserver.server.pacing import Pacer
from mediaserver.testing import stall


class Member:
    """Writes down when it was ticked; wants `wanted` ticks."""

    def __init__(self, wanted: int = 1_000_000, then: Callable[..., Any] | None = None) -> None:
        self.times: list[Any] = []
        self._wanted = wanted
        self._then = then

    def tick(self) -> bool:
        self.times.append(asyncio.get_running_loop().time())
        if self._then is not None:
            self._then()
        return len(self.times) < self._wanted


def make_pacer(*, period: float = 0.1, phases: int = 10) -> Pacer:
    return Pacer(asyncio.get_running_loop(), period=period, phases=phases)


def intervals(times: list[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(times)]


async def test_each_member_is_ticked_once_a_period() -> None:
    pacer = make_pacer(period=0.1, phases=10)
    members = [Member() for _ in range(25)]
    for member in members:
        pacer.add(member)
    await asyncio.sleep(10)
    for member in members:
        assert len(member.times) == pytest.approx(100, abs=1)
        assert intervals(member.times) == pytest.approx([0.1] * (len(member.times) - 1))
    pacer.stop()


async def test_members_are_spread_over_the_phases() -> None:
    pacer = make_pacer(period=0.1, phases=10)
    members = [Member() for _ in range(30)]
    for member in members:
        pacer.add(member)
    await asyncio.sleep(0.1)
    moments = [round(member.times[0], 3) for member in members]
    assert {moment: moments.count(moment) for moment in moments} == {
        round(0.01 * step, 3): 3 for step in range(1, 11)
    }
    pacer.stop()


async def test_the_phases_stay_even_when_members_leave() -> None:
    pacer = make_pacer(period=0.1, phases=10)
    members = [Member() for _ in range(30)]
    for member in members:
        pacer.add(member)
    for member in members[::10]:
        pacer.discard(member)
    late = [Member() for _ in range(3)]
    for member in late:
        pacer.add(member)
    await asyncio.sleep(0.1)
    assert {round(member.times[0], 3) for member in late} == {0.01}
    pacer.stop()


async def test_after_a_stall_each_member_is_ticked_at_once_and_once_only() -> None:
    pacer = make_pacer(period=0.1, phases=10)
    members = [Member() for _ in range(10)]
    for member in members:
        pacer.add(member)
    await asyncio.sleep(0.205)
    for member in members:
        member.times.clear()
    stall(1.0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [len(member.times) for member in members] == [1] * 10
    await asyncio.sleep(0.1)
    assert [len(member.times) for member in members] == [2] * 10
    pacer.stop()


async def test_after_a_short_stall_only_the_phases_it_missed_are_ticked() -> None:
    pacer = make_pacer(period=0.1, phases=10)
    members = [Member() for _ in range(10)]
    for member in members:
        pacer.add(member)
    await asyncio.sleep(0.005)
    stall(0.03)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [len(member.times) for member in members] == [1] * 3 + [0] * 7
    pacer.stop()


async def test_stalls_do_not_shift_the_grid() -> None:
    pacer = make_pacer(period=0.1, phases=10)
    member = Member()
    pacer.add(member)
    for _ in range(20):
        await asyncio.sleep(0.5)
        stall(0.033)
    await asyncio.sleep(0.5)
    off_grid = [time for time in member.times if abs(time * 100 - round(time * 100)) > 1e-6]
    # Only the ticks that a stall held up.
    assert len(off_grid) <= 20
    assert abs(member.times[-1] * 100 - round(member.times[-1] * 100)) < 1e-6
    pacer.stop()


async def test_there_is_no_timer_while_nobody_wants_ticks() -> None:
    loop: Any = asyncio.get_running_loop()
    pacer = make_pacer()
    assert not loop._scheduled
    pacer.add(Member(wanted=3))
    await asyncio.sleep(1)
    assert len(pacer) == 0
    assert not loop._scheduled


async def test_the_timer_passes_over_phases_without_a_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pacer = make_pacer(period=0.1, phases=10)
    member = Member()
    timers = []
    loop = asyncio.get_running_loop()
    call_at = loop.call_at

    def counting(when: float, callback: Any, *args: Any, **options: Any) -> asyncio.TimerHandle:
        if callback == pacer._tick:
            timers.append(when)
        return call_at(when, callback, *args, **options)

    monkeypatch.setattr(loop, "call_at", counting)
    pacer.add(member)
    await asyncio.sleep(1)
    assert len(member.times) == 10
    assert len(timers) == 11
    pacer.stop()


@pytest.mark.parametrize("after", [0.0, 0.025, 0.055, 0.095])
async def test_a_call_of_a_phase_that_the_timer_passed_over_is_ticked_within_its_period(
    after: float,
) -> None:
    pacer = make_pacer(period=0.1, phases=10)
    members = [Member() for _ in range(6)]
    pacer.add(members[0])
    await asyncio.sleep(0.01 + after)
    for member in members[1:]:
        pacer.add(member)
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(0.55)
    for index, member in enumerate(members):
        assert [round(time * 100) % 10 for time in member.times] == [index + 1] * len(member.times)
        assert intervals(member.times) == pytest.approx([0.1] * (len(member.times) - 1))
        assert index == 0 or member.times[0] <= began + 0.1 + 1e-9
    pacer.stop()


async def test_it_starts_again_after_it_was_idle() -> None:
    pacer = make_pacer()
    first = Member(wanted=1)
    pacer.add(first)
    await asyncio.sleep(5)
    second = Member(wanted=2)
    pacer.add(second)
    await asyncio.sleep(5)
    assert len(first.times) == 1
    assert second.times == pytest.approx([second.times[0], second.times[0] + 0.1])
    assert 5 < second.times[0] <= 5.1 + 1e-9


async def test_adding_twice_is_adding_once() -> None:
    pacer = make_pacer()
    member = Member()
    pacer.add(member)
    pacer.add(member)
    assert len(pacer) == 1
    await asyncio.sleep(1)
    assert len(member.times) == pytest.approx(10, abs=1)
    pacer.stop()


async def test_discarding_a_stranger_does_nothing() -> None:
    pacer = make_pacer()
    pacer.discard(Member())
    assert len(pacer) == 0


async def test_a_member_discarded_in_the_midst_of_a_tick_gets_none() -> None:
    pacer = make_pacer(phases=1)
    members: list[Any] = []

    def end_the_other() -> None:
        for other in members:
            if not other.times:
                pacer.discard(other)

    members += [Member(then=end_the_other), Member(then=end_the_other)]
    for member in members:
        pacer.add(member)
    await asyncio.sleep(1)
    assert sorted(len(member.times) for member in members) == [0, 10]
    assert len(pacer) == 1
    pacer.stop()


async def test_a_member_added_in_the_midst_of_a_tick_waits_for_its_turn() -> None:
    pacer = make_pacer(phases=1)
    late = Member()
    pacer.add(Member(wanted=1, then=lambda: pacer.add(late)))
    await asyncio.sleep(1.05)
    assert late.times == pytest.approx([0.2 + 0.1 * step for step in range(9)])
    pacer.stop()


async def test_stopping_in_the_midst_of_a_tick_is_the_end() -> None:
    loop: Any = asyncio.get_running_loop()
    pacer = make_pacer()
    member = Member(then=pacer.stop)
    pacer.add(member)
    await asyncio.sleep(1)
    assert len(member.times) == 1
    assert not loop._scheduled


async def test_a_member_that_fails_is_dropped_and_reported_and_the_others_go_on() -> None:
    loop = asyncio.get_running_loop()
    reported = []
    loop.set_exception_handler(lambda _, context: reported.append(context))
    pacer = make_pacer(phases=1)

    def fail() -> None:
        raise RuntimeError("a bug")

    good, bad = Member(), Member(then=fail)
    for member in (bad, good, Member(wanted=1)):
        pacer.add(member)
    await asyncio.sleep(1.05)
    assert (len(good.times), len(bad.times)) == (10, 1)
    assert [str(context["exception"]) for context in reported] == ["a bug"]
    assert len(pacer) == 1
    pacer.stop()
