import asyncio
from typing import Any

import pytest

from mediaserver.server.coalescing import FREE_TURNS, Coalescing


class Loop:
    """An event loop that runs what is ready, a turn at a time."""

    def __init__(self) -> None:
        self.ready: list[Any] = []

    def call_soon(self, callback: Any) -> asyncio.Handle:
        loop: Any = self
        handle = asyncio.Handle(callback, (), loop)
        self.ready.append(handle)
        return handle

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: Any) -> None:
        raise context["exception"]

    def look(self) -> None:
        """Run to the end of the next look at the sockets."""
        for _ in range(FREE_TURNS + 1):
            self.turn()

    def turn(self) -> None:
        ready, self.ready = self.ready, []
        for handle in ready:
            if not handle.cancelled():
                handle._run()


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[Any] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def calls() -> set[int]:
    return set(range(20))


@pytest.fixture
def coalescing(loop: Any, clock: Any, calls: Any) -> Coalescing:
    return Coalescing(loop, calls, interval=0.001, clock=clock, sleep=clock.sleep)


def test_few_calls_hold_nothing_back(coalescing: Coalescing, loop: Loop, calls: set[int]) -> None:
    calls.pop()
    coalescing.look()
    assert not loop.ready


def test_looks_are_an_interval_apart(coalescing: Coalescing, loop: Loop, clock: Clock) -> None:
    coalescing.look()
    loop.turn()
    for _ in range(5):
        loop.look()
    assert clock.now == pytest.approx(100.0 + 5 * 0.001)


def test_a_few_turns_between_are_free(coalescing: Coalescing, loop: Loop, clock: Clock) -> None:
    coalescing.look()
    for _ in range(1 + FREE_TURNS):
        loop.turn()
    assert clock.slept == []
    loop.turn()
    assert len(clock.slept) == 1


def test_a_look_that_comes_late_is_not_held_back(
    coalescing: Coalescing, loop: Loop, clock: Clock
) -> None:
    coalescing.look()
    loop.turn()
    clock.now += 0.004
    loop.look()
    assert clock.slept == []


def test_time_lost_is_not_made_up(coalescing: Coalescing, loop: Loop, clock: Clock) -> None:
    coalescing.look()
    loop.turn()
    clock.now += 0.004
    loop.look()
    loop.look()
    assert clock.slept == [pytest.approx(0.001)]


def test_work_between_counts(coalescing: Coalescing, loop: Loop, clock: Clock) -> None:
    coalescing.look()
    loop.turn()
    clock.now += 0.0004
    loop.look()
    assert clock.slept == [pytest.approx(0.0006)]


def test_it_ends_when_calls_get_few(coalescing: Coalescing, loop: Loop, calls: set[int]) -> None:
    coalescing.look()
    loop.turn()
    calls.pop()
    loop.turn()
    assert not loop.ready


def test_it_begins_again(coalescing: Coalescing, loop: Loop, calls: set[int]) -> None:
    coalescing.look()
    call = calls.pop()
    loop.turn()
    calls.add(call)
    coalescing.look()
    assert len(loop.ready) == 1


def test_looking_again_does_not_double_it(coalescing: Coalescing, loop: Loop) -> None:
    coalescing.look()
    coalescing.look()
    assert len(loop.ready) == 1


def test_stopping_holds_nothing_back(coalescing: Coalescing, loop: Loop, clock: Clock) -> None:
    coalescing.look()
    coalescing.stop()
    loop.turn()
    assert not loop.ready
    assert clock.slept == []


def test_stopping_before_it_began_does_nothing(coalescing: Coalescing) -> None:
    coalescing.stop()


def test_an_interval_of_0_switches_it_off(loop: Any, clock: Any, calls: Any) -> None:
    Coalescing(loop, calls, interval=0.0, clock=clock, sleep=clock.sleep).look()
    assert not loop.ready
