"""The ledger of checkpoints alone: positions, times, and what is reported."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from mediaserver.call.checkpoints import Checkpoints
from mediaserver.call.runs import Runs


@dataclass
class Ledger:
    """Checkpoints of a stream of 8,000 bytes a second, whose first run begins at 100 s."""

    reports: list[tuple[str, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.checkpoints = Checkpoints(interval=1.0, report=lambda *told: self.reports.append(told))
        self.runs = Runs(8_000)
        self.runs.begin(0, 100.0)

    def send(self, sent: int, now: float = 100.0) -> list[str]:
        """Take out all that is due, and return the names."""
        names = []
        while (name := self.checkpoints.take_due(sent, now, self.runs)) is not None:
            names.append(name)
        return names

    def confirm(self, name: str, now: float, round_trip: float = 0.0) -> bool:
        return self.checkpoints.confirm(name, now, self.runs, round_trip)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def test_a_checkpoint_waits_for_the_audio_before_it(ledger: Ledger) -> None:
    ledger.checkpoints.add(800, "a")
    assert ledger.send(799) == []
    assert ledger.send(800) == ["a"]
    assert ledger.send(800) == []


def test_checkpoints_are_sent_by_position_and_then_in_the_order_they_were_set(
    ledger: Ledger,
) -> None:
    for position, name in ((800, "c"), (400, "a"), (800, "d"), (400, "b")):
        ledger.checkpoints.add(position, name)
    assert ledger.send(800) == ["a", "b", "c", "d"]


def test_our_own_are_numbered_and_reported_to_nobody(ledger: Ledger) -> None:
    ledger.checkpoints.add(0)
    assert ledger.send(0, now=100.0) == ["heard-1"]
    ledger.checkpoints.add(0)
    assert ledger.send(0, now=101.0) == ["heard-2"]
    ledger.checkpoints.settle(0)
    assert ledger.reports == []


def test_our_own_are_dropped_where_they_follow_too_soon(ledger: Ledger) -> None:
    ledger.checkpoints.add(0)
    ledger.checkpoints.add(0)
    ledger.checkpoints.add(0, "the handler's")
    assert ledger.send(0) == ["heard-1", "the handler's"]


def test_an_answer_reports_what_was_played_up_to_it(ledger: Ledger) -> None:
    for position, name in ((400, "a"), (800, "b"), (1_200, "c")):
        ledger.checkpoints.add(position, name)
    ledger.send(1_200)
    assert ledger.confirm("b", 100.1)
    assert ledger.reports == [("a", True), ("b", True)]
    assert ledger.checkpoints.confirmed == 800
    assert ledger.checkpoints.awaits(1_200)
    assert not ledger.checkpoints.awaits(800)


def test_an_answer_to_nothing_confirms_nothing(ledger: Ledger) -> None:
    assert not ledger.confirm("a stranger", 100.0)
    assert not ledger.checkpoints.ever_confirmed


def test_an_answer_never_takes_a_confirmation_back(ledger: Ledger) -> None:
    ledger.checkpoints.add(800, "a")
    ledger.checkpoints.add(0, "b")
    ledger.checkpoints.take_due(0, 100.0, ledger.runs)
    ledger.send(800)
    ledger.confirm("a", 100.1)
    ledger.checkpoints.add(0, "late")
    ledger.send(800)
    ledger.confirm("late", 100.2)
    assert ledger.checkpoints.confirmed == 800


def test_the_delay_is_what_an_answer_takes_beyond_the_networks_time(ledger: Ledger) -> None:
    ledger.checkpoints.add(800, "a")
    ledger.send(800)
    ledger.confirm("a", 100.25, round_trip=0.05)
    assert ledger.checkpoints.delay == pytest.approx(0.1)


def test_the_delay_is_the_shortest_of_the_last_three(ledger: Ledger) -> None:
    delays = []
    for number, late in enumerate((0.1, 0.3, 0.3, 0.2), 1):
        ledger.checkpoints.add(800 * number, f"{number}")
        ledger.send(800 * number)
        ledger.confirm(f"{number}", 100 + 0.1 * number + late)
        delays.append(ledger.checkpoints.delay)
    assert delays == pytest.approx([0.1, 0.1, 0.1, 0.2])


@pytest.mark.parametrize(("answered", "delay"), [(100.0, 0.0), (160.0, 2.0)])
def test_the_delay_stays_within_bounds(ledger: Ledger, answered: float, delay: float) -> None:
    ledger.checkpoints.add(800, "a")
    ledger.send(800)
    ledger.confirm("a", answered)
    assert ledger.checkpoints.delay == delay


def test_a_checkpoint_sent_after_its_audio_tells_no_delay(ledger: Ledger) -> None:
    ledger.checkpoints.add(800, "a")
    ledger.send(800, now=101.0)
    assert ledger.confirm("a", 101.0)
    assert ledger.checkpoints.delay == 0.0


def test_settling_reports_by_what_was_heard(ledger: Ledger) -> None:
    for position, name in ((400, "sent"), (800, "unheard"), (1_200, "waiting")):
        ledger.checkpoints.add(position, name)
    ledger.send(800)
    ledger.checkpoints.settle(400)
    assert ledger.reports == [("sent", True), ("unheard", False), ("waiting", False)]
    assert not ledger.checkpoints.awaits()
    assert ledger.send(1_200) == []


def test_taking_back_sends_again_what_lies_beyond_and_settles_the_rest(ledger: Ledger) -> None:
    for position, name in ((400, "a"), (800, "b"), (1_200, "c")):
        ledger.checkpoints.add(position, name)
    ledger.send(1_200)
    ledger.checkpoints.take_back(400, 400)
    assert ledger.reports == [("a", True)]
    assert ledger.send(1_200) == ["b", "c"]


def test_an_early_answer_after_a_clear_is_one_to_the_cleared_checkpoint(ledger: Ledger) -> None:
    ledger.checkpoints.add(800, "a")
    ledger.send(800)
    ledger.checkpoints.clear(100.0)
    ledger.checkpoints.settle(0)
    ledger.checkpoints.add(8_000, "a")
    ledger.send(8_000)
    assert not ledger.confirm("a", 100.1)
    assert ledger.reports == [("a", False)]
    assert ledger.confirm("a", 101.0)
    assert ledger.reports == [("a", False), ("a", True)]


def test_a_cleared_name_is_forgotten_after_a_second(ledger: Ledger) -> None:
    ledger.checkpoints.add(800, "a")
    ledger.send(800)
    ledger.checkpoints.clear(100.0)
    ledger.checkpoints.settle(0)
    ledger.checkpoints.clear(102.0)
    ledger.checkpoints.add(80_000, "a")
    ledger.send(80_000, now=102.0)
    assert ledger.confirm("a", 102.5)


def test_a_position_has_its_checkpoint_before_and_after_it_is_sent(ledger: Ledger) -> None:
    assert not ledger.checkpoints.stands_at(800)
    ledger.checkpoints.add(800, "a")
    assert ledger.checkpoints.stands_at(800)
    assert not ledger.checkpoints.awaits()
    ledger.send(800)
    assert ledger.checkpoints.stands_at(800)
    assert ledger.checkpoints.awaits()


def test_a_carrier_that_has_never_answered_owes_nothing(ledger: Ledger) -> None:
    ledger.checkpoints.add(800, "a")
    ledger.send(800)
    assert ledger.checkpoints.overdue(200.0) == 0


def test_a_carrier_owes_the_oldest_answer_from_when_its_audio_was_played(ledger: Ledger) -> None:
    for position, name in ((800, "a"), (1_600, "b"), (2_400, "c")):
        ledger.checkpoints.add(position, name)
    ledger.send(2_400)
    ledger.confirm("a", 100.1)
    assert ledger.checkpoints.overdue(100.15) == 0
    assert ledger.checkpoints.overdue(102.2) == pytest.approx(2.0)


def test_one_sent_late_is_owed_from_when_it_was_sent(ledger: Ledger) -> None:
    for name in ("a", "b"):
        ledger.checkpoints.add(0, name)
    ledger.send(0, now=110.0)
    ledger.confirm("a", 110.0)
    assert ledger.checkpoints.overdue(111.0) == pytest.approx(1.0)


def test_a_thousand_are_awaited_and_the_oldest_are_given_up(ledger: Ledger) -> None:
    for number in range(1_001):
        ledger.checkpoints.add(800, f"{number}")
    assert len(ledger.send(800)) == 1_001
    assert ledger.reports == [("0", False)]
    assert ledger.confirm("1000", 100.1)
    assert len(ledger.reports) == 1_001
