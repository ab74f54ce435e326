import pytest

from mediaserver.server.process.drain import Drain, Phase


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def drain(clock: Clock) -> Drain:
    return Drain(delay=5, timeout=60, closing=10, clock=clock)


def enter(drain: Drain, phase: Phase) -> None:
    while drain.phase is not phase:
        assert drain.advance(idle=False) is not None


def test_it_serves_until_asked_to_stop(drain: Drain, clock: Clock) -> None:
    clock.now += 1_000
    assert drain.advance(idle=True) is None
    assert drain.phase is Phase.SERVING


def test_new_calls_are_taken_for_the_delay(drain: Drain, clock: Clock) -> None:
    drain.begin()
    clock.now += 4.9
    assert drain.advance(idle=True) is None
    assert drain.phase is Phase.LEAVING
    clock.now += 0.2
    assert drain.advance(idle=True) is Phase.DRAINING


def test_it_is_gone_when_the_last_call_has_ended(drain: Drain, clock: Clock) -> None:
    drain.begin()
    clock.now += 5
    assert drain.advance(idle=False) is Phase.DRAINING
    assert drain.advance(idle=False) is None
    assert drain.advance(idle=True) is Phase.GONE


def test_calls_are_closed_when_the_time_is_up(drain: Drain, clock: Clock) -> None:
    drain.begin()
    clock.now += 60
    assert drain.advance(idle=False) is Phase.DRAINING
    assert drain.advance(idle=False) is Phase.CLOSING
    assert drain.advance(idle=False) is None
    assert drain.advance(idle=True) is Phase.GONE


def test_closing_calls_are_not_waited_for_without_end(drain: Drain, clock: Clock) -> None:
    drain.begin()
    clock.now += 60
    enter(drain, Phase.CLOSING)
    clock.now += 9.9
    assert drain.advance(idle=False) is None
    clock.now += 0.2
    assert drain.advance(idle=False) is Phase.GONE


def test_hurrying_skips_the_delay_and_the_wait(drain: Drain) -> None:
    drain.begin()
    drain.hurry()
    enter(drain, Phase.CLOSING)


def test_hurrying_without_beginning_begins(drain: Drain) -> None:
    drain.hurry()
    assert drain.advance(idle=True) is Phase.DRAINING


def test_beginning_again_does_not_start_the_time_anew(drain: Drain, clock: Clock) -> None:
    drain.begin()
    clock.now += 4
    drain.begin()
    clock.now += 1
    assert drain.advance(idle=False) is Phase.DRAINING


def test_it_stays_gone(drain: Drain, clock: Clock) -> None:
    drain.begin()
    clock.now += 5
    drain.advance(idle=True)
    drain.advance(idle=True)
    assert drain.advance(idle=False) is None
    assert drain.phase is Phase.GONE


def test_it_waits_for_work_on_calls_that_are_over(drain: Drain, clock: Clock) -> None:
    drain.begin()
    clock.now += 5
    enter(drain, Phase.DRAINING)
    assert drain.advance(idle=True, working=True) is None
    assert drain.advance(idle=True) is Phase.GONE


def test_hurrying_does_not_cut_that_work_short(drain: Drain, clock: Clock) -> None:
    drain.hurry()
    enter(drain, Phase.DRAINING)
    assert drain.advance(idle=True, working=True) is Phase.CLOSING
    clock.now += 30
    assert drain.advance(idle=False, working=True) is None
    assert drain.advance(idle=False) is Phase.GONE
