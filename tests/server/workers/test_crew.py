from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.server.workers.crew import Crew, CrewWorker, WorkerEnd, WorkerStage


class Staff:
    """A crew, and a clock; starts whoever is to be started."""

    def __init__(self, size: int = 2) -> None:
        self.crew = Crew(size)
        self.now = 0.0
        self.hired = 0

    def start(self) -> list[str]:
        names = []
        for _ in range(self.crew.starts(self.now)):
            self.hired += 1
            names.append(str(self.hired))
            self.crew.started(names[-1], self.now)
        return names

    def renew(self) -> list[str]:
        """Start workers until none is missing, and return those that are asked to go."""
        asked = []
        while started := self.start():
            asked += self.ready(*started)
        return asked

    def ready(self, *names: str) -> list[str]:
        return [each.name for name in names for each in self.crew.ready(name)]

    def ended(self, name: str) -> WorkerEnd:
        return self.crew.ended(name, self.now)

    @property
    def takers(self) -> list[str]:
        return names_of(self.crew.takers())


def names_of(workers: Iterable[CrewWorker]) -> list[str]:
    return [each.name for each in workers]


@pytest.fixture
def staff() -> Staff:
    """A crew of two that serve."""
    staff = Staff()
    assert staff.start() == ["1", "2"]
    assert staff.ready("1", "2") == []
    return staff


def test_workers_take_connections_while_the_first_generation_starts() -> None:
    staff = Staff()
    assert staff.start() == ["1", "2"]
    assert staff.takers == ["1", "2"]
    assert staff.crew.serving == 0
    assert not staff.crew.reloading
    staff.ready("1", "2")
    assert staff.crew.serving == 1
    assert staff.takers == ["1", "2"]
    assert staff.start() == []


def test_a_first_worker_that_cannot_start_ends_the_start() -> None:
    staff = Staff()
    staff.start()
    staff.ready("1")
    assert staff.ended("2") is WorkerEnd.FAILED_FIRST


def test_new_workers_take_over_once_all_of_them_are_ready(staff: Staff) -> None:
    assert staff.crew.reload()
    assert staff.start() == ["3"]
    assert staff.start() == []
    assert staff.crew.reloading
    assert staff.ready("3") == []
    assert staff.takers == ["1", "2"]
    assert staff.start() == ["4"]
    assert staff.ready("4") == ["1", "2"]
    assert staff.takers == ["3", "4"]
    assert staff.crew.starting == staff.crew.serving == 2
    for name in ("1", "2"):
        staff.crew.leave(name)
        assert staff.ended(name) is WorkerEnd.EXPECTED
    assert staff.start() == []


def test_workers_that_still_drain_are_not_asked_again(staff: Staff) -> None:
    staff.crew.reload()
    for name in staff.renew():
        staff.crew.leave(name)
    staff.crew.reload()
    assert staff.renew() == ["3", "4"]


def test_a_new_generation_that_fails_leaves_the_old_one_serving(staff: Staff) -> None:
    staff.crew.reload()
    staff.start()
    staff.ready("3")
    staff.start()
    assert staff.ended("4") is WorkerEnd.FAILED_RELOAD
    assert names_of(staff.crew.given_up()) == ["3"]
    assert staff.takers == ["1", "2"]
    assert staff.start() == []
    staff.crew.leave("3")
    assert staff.ended("3") is WorkerEnd.EXPECTED
    assert staff.crew.reload()
    assert staff.start() == ["5"]


def test_if_the_first_new_worker_fails_the_others_do_not_try(staff: Staff) -> None:
    staff.crew.reload()
    assert staff.start() == ["3"]
    assert staff.ended("3") is WorkerEnd.FAILED_RELOAD
    assert staff.crew.given_up() == []
    assert staff.start() == []


def test_a_reload_during_a_start_comes_after_it(staff: Staff) -> None:
    staff.crew.reload()
    staff.start()
    assert not staff.crew.reload()
    assert not staff.crew.reload()
    assert staff.ready("3") == []
    staff.start()
    assert staff.ready("4") == ["1", "2"]
    assert staff.renew() == ["1", "2", "3", "4"]
    assert staff.start() == []


def test_a_reload_that_waits_for_another_also_follows_its_failure(staff: Staff) -> None:
    staff.crew.reload()
    staff.start()
    staff.ready("3")
    staff.start()
    assert not staff.crew.reload()
    assert staff.ended("4") is WorkerEnd.FAILED_RELOAD
    assert names_of(staff.crew.given_up()) == ["3"]
    staff.crew.leave("3")
    assert staff.renew() == ["1", "2"]


def test_a_worker_that_lived_long_is_replaced_at_once(staff: Staff) -> None:
    staff.now = 100.0
    assert staff.ended("1") is WorkerEnd.LOST
    assert staff.takers == ["2"]
    assert staff.start() == ["3"]
    assert staff.takers == ["2", "3"]
    assert staff.ready("3") == []


def test_workers_that_die_young_are_replaced_more_and_more_slowly(staff: Staff) -> None:
    pauses, name = [], "1"
    for _ in range(9):
        staff.now += 1
        assert staff.ended(name) is WorkerEnd.LOST
        before = staff.now
        while not (started := staff.start()):
            staff.now += 0.25
        pauses.append(staff.now - before)
        (name,) = started
        staff.ready(name)
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    staff.now += 100
    staff.ended(name)
    assert len(staff.start()) == 1


def test_a_replacement_that_cannot_start_is_tried_again(staff: Staff) -> None:
    staff.now = 100.0
    staff.ended("1")
    assert staff.start() == ["3"]
    assert staff.ended("3") is WorkerEnd.FAILED_START
    assert staff.start() == []
    staff.now += 0.5
    assert staff.start() == ["4"]


def test_a_reload_starts_new_workers_without_a_pause(staff: Staff) -> None:
    for name in ("1", "2"):
        staff.ended(name)
    assert staff.start() == []
    staff.crew.reload()
    assert staff.start() == ["3", "4"]
    # Nobody else is left.
    assert staff.takers == ["3", "4"]


def test_a_worker_that_goes_by_itself_is_replaced_before_it_is_gone(staff: Staff) -> None:
    staff.crew.leave("1")
    assert staff.takers == ["2"]
    assert staff.start() == ["3"]
    assert staff.ended("1") is WorkerEnd.EXPECTED


def test_a_crew_that_stops_starts_nobody_and_still_takes_connections(staff: Staff) -> None:
    staff.crew.reload()
    staff.start()
    staff.crew.stop()
    assert staff.takers == ["1", "2", "3"]
    staff.crew.leave("1")
    assert "1" in staff.takers
    assert staff.ended("1") is WorkerEnd.EXPECTED
    assert staff.ended("3") is WorkerEnd.EXPECTED
    assert staff.start() == []
    assert not staff.crew.reload()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["start", "ready", "end", "leave", "reload", "wait"]), st.integers(0, 9)
        )
    )
)
def test_whatever_happens_a_crew_recovers(events: list[tuple[str, int]]) -> None:
    staff = Staff()
    staff.start()
    staff.ready("1", "2")
    for event, number in events:
        names = list(staff.crew.workers)
        name = names[number % len(names)] if names else ""
        if event == "start":
            staff.start()
        elif event == "reload":
            staff.crew.reload()
        elif event == "wait":
            staff.now += number
        elif event == "ready" and name:
            for each in staff.crew.ready(name):
                staff.crew.leave(each.name)
        elif event == "leave" and name:
            staff.crew.leave(name)
        elif event == "end" and name:
            staff.ended(name)
            for each in staff.crew.given_up():
                staff.crew.leave(each.name)
    for _ in range(9):
        staff.now += 60
        staff.start()
        for name in list(staff.crew.workers):
            for each in staff.crew.ready(name):
                staff.crew.leave(each.name)
    assert not staff.crew.reloading
    assert len(staff.takers) == 2
    stages = {staff.crew.workers[name].stage for name in staff.takers}
    assert stages == {WorkerStage.READY}
    assert {staff.crew.workers[name].generation for name in staff.takers} == {staff.crew.serving}
