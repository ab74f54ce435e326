import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.server.admission import Admission


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_as_many_calls_as_the_limit_are_admitted(clock: Clock) -> None:
    admission = Admission(2, clock=clock)
    assert admission.admit() is not None
    assert admission.admit() is not None
    assert admission.admit() is None
    assert admission.active == 2


def test_a_released_place_is_free_again(clock: Clock) -> None:
    admission = Admission(1, clock=clock)
    slot = admission.admit()
    assert slot is not None
    slot.release()
    assert admission.idle
    assert admission.admit() is not None


def test_releasing_twice_frees_one_place(clock: Clock) -> None:
    admission = Admission(2, clock=clock)
    first, _ = admission.admit(), admission.admit()
    assert first is not None
    first.release()
    first.release()
    assert admission.active == 1


def test_a_reserved_place_is_kept_for_its_call(clock: Clock) -> None:
    admission = Admission(1, clock=clock)
    assert admission.reserve("a")
    assert admission.admit() is None
    assert admission.admit("b") is None
    assert admission.admit("a") is not None
    assert admission.reserved == 0


def test_reserving_again_for_the_same_call_takes_one_place(clock: Clock) -> None:
    admission = Admission(2, clock=clock)
    assert admission.reserve("a")
    assert admission.reserve("a")
    assert admission.reserved == 1


def test_a_full_server_still_confirms_a_call_it_has_answered(clock: Clock) -> None:
    admission = Admission(1, clock=clock)
    admission.reserve("a")
    assert admission.reserve("a")
    assert not admission.reserve("b")


def test_a_reservation_runs_out(clock: Clock) -> None:
    admission = Admission(1, hold_seconds=30, clock=clock)
    admission.reserve("a")
    clock.now += 30
    assert admission.idle
    assert admission.reserve("b")


def test_reserving_again_holds_for_longer_and_lets_others_run_out(clock: Clock) -> None:
    admission = Admission(2, hold_seconds=30, clock=clock)
    admission.reserve("a")
    admission.reserve("b")
    clock.now += 20
    admission.reserve("a")
    clock.now += 20
    assert admission.reserved == 1
    assert admission.admit("a") is not None
    assert admission.idle is False
    assert admission.reserved == 0


def test_a_cancelled_reservation_frees_its_place(clock: Clock) -> None:
    admission = Admission(1, clock=clock)
    admission.reserve("a")
    admission.cancel("a")
    admission.cancel("never seen")
    assert admission.free == 1


def test_once_closed_only_calls_that_were_answered_come_in(clock: Clock) -> None:
    admission = Admission(3, clock=clock)
    admission.reserve("a")
    admission.close()
    assert not admission.reserve("b")
    assert admission.admit("b") is None
    assert admission.admit("a") is not None
    assert admission.admit("elsewhere", answered=True) is not None


def test_an_answered_call_needs_a_place_all_the_same(clock: Clock) -> None:
    admission = Admission(1, clock=clock)
    admission.admit()
    assert admission.admit("a", answered=True) is None


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 call, not 0"):
        Admission(0)


@given(
    limit=st.integers(1, 4),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["reserve", "admit", "cancel", "release", "wait"]), st.integers(0, 5)
        )
    ),
)
def test_never_more_places_given_than_there_are(limit: int, steps: list[tuple[str, int]]) -> None:
    clock = Clock()
    admission = Admission(limit, hold_seconds=3, clock=clock)
    slots = []
    for verb, number in steps:
        call_id = str(number)
        if verb == "reserve":
            admission.reserve(call_id)
        elif verb == "admit":
            slot = admission.admit(call_id)
            slots += [slot] if slot else []
        elif verb == "cancel":
            admission.cancel(call_id)
        elif verb == "release" and slots:
            slots.pop(number % len(slots)).release()
        else:
            clock.now += number
        assert admission.active == len(slots)
        assert admission.active + admission.reserved + admission.free == limit
