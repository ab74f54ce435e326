import asyncio

import pytest

from mediaserver.server.coalescing import FREE_TURNS, Coalescing


class Loop:
    """An event loop that runs what is ready, a turn at a time."""

    def __init__(self):
        self.ready = []

    def call_soon(self, callback):
        handle = asyncio.Handle(callback, (), self)
        self.ready.append(handle)
        return handle

    def get_debug(self):
        return False

    def call_exception_handler(self, context):
        raise context["exception"]

    def look(self):
        """Run to the end of the next look at the sockets."""
        for _ in range(FREE_TURNS + 1):
            self.turn()

    def turn(self):
        ready, self.ready = self.ready, []
        for handle in ready:
            if not handle.cancelled():
                handle._run()


class Clock:
    def __init__(self):
        self.now = 100.0
        self.slept = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def loop():
    return Loop()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def calls():
    return set(range(20))


@pytest.fixture
def coalescing(loop, clock, calls):
    return Coalescing(loop, calls, interval=0.001, clock=clock, sleep=clock.sleep)


def test_few_calls_hold_nothing_back(coalescing, loop, calls):
    calls.pop()
    coalescing.look()
    assert not loop.ready


def test_looks_are_an_interval_apart(coalescing, loop, clock):
    coalescing.look()
    loop.turn()
    for _ in range(5):
        loop.look()
    assert clock.now == pytest.approx(100.0 + 5 * 0.001)


def test_a_few_turns_between_are_free(coalescing, loop, clock):
    coalescing.look()
    for _ in range(1 + FREE_TURNS):
        loop.turn()
    assert clock.slept == []
    loop.turn()
    assert len(clock.slept) == 1


def test_a_look_that_comes_late_is_not_held_back(coalescing, loop, clock):
    coalescing.look()
    loop.turn()
    clock.now += 0.004
    loop.look()
    assert clock.slept == []


def test_time_lost_is_not_made_up(coalescing, loop, clock):
    coalescing.look()
    loop.turn()
    clock.now += 0.004
    loop.look()
    loop.look()
    assert clock.slept == [pytest.approx(0.001)]


def test_work_between_counts(coalescing, loop, clock):
    coalescing.look()
    loop.turn()
    clock.now += 0.0004
    loop.look()
    assert clock.slept == [pytest.approx(0.0006)]


def test_it_ends_when_calls_get_few(coalescing, loop, calls):
    coalescing.look()
    loop.turn()
    calls.pop()
    loop.turn()
    assert not loop.ready


def test_it_begins_again(coalescing, loop, calls):
    coalescing.look()
    call = calls.pop()
    loop.turn()
    calls.add(call)
    coalescing.look()
    assert len(loop.ready) == 1


def test_looking_again_does_not_double_it(coalescing, loop):
    coalescing.look()
    coalescing.look()
    assert len(loop.ready) == 1


def test_stopping_holds_nothing_back(coalescing, loop, clock):
    coalescing.look()
    coalescing.stop()
    loop.turn()
    assert not loop.ready
    assert clock.slept == []


def test_stopping_before_it_began_does_nothing(coalescing):
    coalescing.stop()


def test_an_interval_of_0_switches_it_off(loop, clock, calls):
    Coalescing(loop, calls, interval=0.0, clock=clock, sleep=clock.sleep).look()
    assert not loop.ready
