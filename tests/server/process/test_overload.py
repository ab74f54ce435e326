from dataclasses import dataclass, field
from typing import Any

import pytest
from structlog.testing import capture_logs

from mediaserver.server.counters import ServerCounters
from mediaserver.server.process.overload import (
    CALM,
    LATE,
    LONG_WAIT,
    MANY,
    TICK,
    TICKS_TO_BEGIN,
    TICKS_TO_END,
    Overload,
)


class Watched:
    """An overload, and the clock that it goes by."""

    def __init__(self) -> None:
        self.now = 100.0
        self.figures = ServerCounters(())
        self.overload = Overload(self.figures, clock=lambda: self.now)

    def tick(self, *waited: float, backlog: int = 0, late: float = 0.0, times: int = 1) -> bool:
        """Let requests come that waited so long, then a tick; return whether it is overloaded."""
        for _ in range(times):
            for each in waited:
                self.overload.turns_away(each)
            self.now += TICK + late
            self.overload.tick(backlog)
        return self.figures.overloaded

    def overwhelm(self) -> None:
        assert self.tick(LONG_WAIT, times=TICKS_TO_BEGIN)


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.mark.parametrize(
    "sign",
    [{"backlog": MANY}, {"late": LATE + 0.001}],
    ids=["connections wait", "the loop is late"],
)
def test_it_begins_after_a_few_ticks_in_a_row(watched: Watched, sign: dict[str, Any]) -> None:
    assert not watched.tick(times=TICKS_TO_BEGIN - 1, **sign)
    assert not watched.tick()
    assert not watched.tick(times=TICKS_TO_BEGIN - 1, **sign)
    assert watched.tick(**sign)


def test_it_begins_when_every_request_waits_long(watched: Watched) -> None:
    assert not watched.tick(3 * LONG_WAIT, LONG_WAIT, times=TICKS_TO_BEGIN - 1)
    assert watched.tick(LONG_WAIT)


def test_a_stall_after_which_requests_wait_no_longer_is_no_overload(watched: Watched) -> None:
    assert not watched.tick(5.0, 2.0, 0.004, late=5.0)
    assert not watched.tick(5.0, 0.004, times=100)


def test_nothing_is_turned_away_before_it_begins(watched: Watched) -> None:
    assert not watched.overload.turns_away(100.0)


def test_what_waited_is_turned_away_and_what_did_not_is_taken(watched: Watched) -> None:
    watched.overwhelm()
    assert watched.overload.turns_away(CALM * LONG_WAIT + 0.001)
    assert not watched.overload.turns_away(CALM * LONG_WAIT)


@pytest.mark.parametrize("sign", [{"backlog": MANY}, {"late": LATE + 0.001}])
def test_everything_is_turned_away_while_the_loop_cannot_follow(
    watched: Watched, sign: dict[str, Any]
) -> None:
    watched.overwhelm()
    watched.tick(**sign)
    assert watched.overload.turns_away(0.0)
    watched.tick()
    assert not watched.overload.turns_away(0.0)


def test_it_ends_after_a_second_without_a_sign(watched: Watched) -> None:
    watched.overwhelm()
    assert watched.tick(0.004, times=TICKS_TO_END - 1)
    assert watched.tick(0.004, CALM * LONG_WAIT + 0.001)
    assert watched.tick(0.004, times=4)
    assert not watched.tick(0.004, times=2)
    assert not watched.overload.turns_away(100.0)


def test_it_goes_on_while_requests_are_turned_away(watched: Watched) -> None:
    watched.overwhelm()
    assert watched.tick(0.004, CALM * LONG_WAIT + 0.001, times=100)


def test_a_stall_once_a_second_does_not_prolong_it_for_ever(watched: Watched) -> None:
    watched.overwhelm()
    for _ in range(3):
        watched.tick(0.15, 0.004)
        watched.tick(0.004, times=9)
    assert not watched.figures.overloaded


def test_the_backlog_is_shown(watched: Watched) -> None:
    watched.tick(backlog=7)
    assert watched.figures.backlog == 7


def test_the_log_tells_when_it_begins_and_ends(watched: Watched) -> None:
    with capture_logs() as lines:
        watched.tick(backlog=200, times=TICKS_TO_BEGIN)
        watched.overload.turns_away(1.0)
        watched.overload.turns_away(1.0)
        watched.tick(times=TICKS_TO_END + 1)
    begun, ended = lines
    assert begun["event"] == "overloaded: new calls are turned away"
    assert begun["backlog"] == 200
    assert ended == {
        "event": "no longer overloaded",
        "log_level": "info",
        "seconds": pytest.approx(TICK * TICKS_TO_END, abs=0.11),
        "turned_away": 2,
    }


@dataclass
class Queue:
    """A loop that reads requests in the order in which they came, 32 in a turn.

    A call takes a 600th of a second, and to turn one away a fifth of that.
    """

    rate: int
    taken: int = 0
    turned_away: int = 0
    waits: list[float] = field(default_factory=list)

    def run(self, seconds: float) -> None:
        watched = Watched()
        begun, next_tick = watched.now, watched.now + TICK
        while watched.now < begun + seconds:
            for _ in range(32):
                waited = watched.now - begun - len(self.waits) / self.rate
                if waited < 0:
                    watched.now += 0.001
                    break
                self.waits.append(waited)
                if watched.overload.turns_away(waited):
                    self.turned_away += 1
                    watched.now += 1 / 3000
                else:
                    self.taken += 1
                    watched.now += 1 / 600
            if watched.now >= next_tick:
                next_tick += TICK
                watched.overload.tick(round((watched.now - begun) * self.rate) - len(self.waits))


@pytest.mark.parametrize("rate", [700, 1_200, 2_400])
def test_more_than_can_be_taken_waits_shortly_and_as_much_as_can_be_is_taken(rate: int) -> None:
    queue = Queue(rate)
    queue.run(10)
    # In the first second the overload is found out.
    assert max(queue.waits[2 * rate :]) < LONG_WAIT
    # What it costs to turn the others away is lost.
    assert queue.taken + queue.turned_away / 5 > 0.97 * 10 * 600


def test_nothing_is_turned_away_that_can_be_taken() -> None:
    queue = Queue(550)
    queue.run(10)
    assert queue.turned_away == 0
