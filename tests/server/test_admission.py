import functools
import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.server.admission import Admission, OwnCounts, Places, Slot


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


def test_a_place_that_runs_out_is_free_and_its_stream_expected_for_longer(clock: Clock) -> None:
    admission = Admission(1, hold_seconds=30, clock=clock)
    admission.reserve("a")
    clock.now += 3
    assert (admission.free, admission.reserved, admission.expected) == (1, 0, 1)
    assert not admission.idle
    clock.now += 27
    assert admission.idle


def test_places_are_reserved_for_as_long_as_streams_have_needed(clock: Clock) -> None:
    admission = Admission(2, clock=clock)
    assert admission.admit("a", needed=4.0) is not None
    admission.reserve("b")
    clock.now += 11
    assert not admission.reserve("c")
    clock.now += 1
    assert admission.reserve("c")


def test_an_answered_call_comes_in_before_calls_that_have_not_come(clock: Clock) -> None:
    admission = Admission(1, clock=clock)
    admission.reserve("a")
    assert admission.admit("of another process", needed=0.1) is not None
    assert (admission.active, admission.reserved) == (1, 0)


def test_a_stream_from_another_process_gives_back_the_oldest_place(clock: Clock) -> None:
    admission = Admission(9, clock=clock)
    for call_id in "abc":
        admission.reserve(call_id)
    admission.admit("of another process", needed=0.1)
    assert admission.reserved == 2
    admission.admit("c", needed=0.1)
    assert admission.reserved == 1
    admission.admit("a", needed=0.1)
    assert admission.reserved == 0


def test_a_stream_that_comes_again_gives_back_no_place(clock: Clock) -> None:
    admission = Admission(9, clock=clock)
    admission.reserve("a")
    admission.admit("b", needed=None)
    assert admission.reserved == 1


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
    assert admission.admit() is None
    assert admission.admit("a") is not None
    assert admission.admit("elsewhere") is not None


def test_an_answered_call_needs_a_place_all_the_same(clock: Clock) -> None:
    admission = Admission(1, clock=clock)
    admission.admit()
    assert admission.admit("a") is None


def test_a_stream_that_may_continue_a_lost_one_takes_a_place_beyond_the_limit(
    clock: Clock,
) -> None:
    admission = Admission(1, clock=clock)
    admission.admit()
    second = admission.readmit("a")
    assert admission.active == 2
    second.release()
    assert admission.active == 1


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 call, not 0"):
        Admission(0)


class Shared(OwnCounts):
    """The counts of one of several processes that share a limit."""

    def __init__(self, all_counts: list[OwnCounts]) -> None:
        super().__init__()
        self._all = all_counts
        all_counts.append(self)

    def others(self) -> Places:
        others = [each for each in self._all if each is not self]
        return Places(sum(each.active for each in others), sum(each.reserved for each in others))


def test_processes_that_share_a_limit_see_each_others_calls_and_reservations(clock: Clock) -> None:
    counts: list[OwnCounts] = []
    one, other = (Admission(2, counts=Shared(counts), clock=clock) for _ in range(2))
    assert one.reserve("a")
    assert other.admit() is not None
    assert not other.reserve("b")
    assert one.admit() is None
    clock.now += 2
    one.look()
    assert other.reserve("b")


def test_the_places_are_counted_and_taken_under_the_lock(clock: Clock) -> None:
    class Locked(OwnCounts):
        is_locked = False

        def others(self) -> Places:
            assert self.is_locked
            return Places(0, 0)

        @contextmanager
        def locked(self) -> Iterator[None]:
            self.is_locked = True
            yield
            assert self.active + self.reserved == 1
            self.is_locked = False

    admission = Admission(1, counts=Locked(), clock=clock)
    assert admission.reserve("a")
    assert admission.admit("a") is not None
    assert admission.admit("b") is None
    assert not admission.reserve("b")


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "admit", "admit stranger", "cancel", "release", "wait"]),
        st.integers(0, 5),
        st.integers(0, 2),
    )
)


@given(limit=st.integers(1, 4), shared=st.booleans(), steps=_STEPS)
def test_no_more_calls_than_the_limit_and_answered_ones_come_in_below_it(
    limit: int, shared: bool, steps: list[tuple[str, int, int]]
) -> None:
    clock = Clock()
    counts: list[OwnCounts] = []
    processes = [
        Admission(limit, hold_seconds=9, counts=Shared(counts) if shared else None, clock=clock)
        for _ in range(3)
    ]
    slots: list[list[Slot]] = [[], [], []]
    answered: dict[str, float] = {}
    for verb, number, chosen in steps:
        admission, call_id = processes[chosen], str(number)
        live = sum(map(len, slots)) if shared else len(slots[chosen])
        if verb == "reserve":
            if admission.reserve(call_id):
                answered[call_id] = clock.now
        elif verb == "admit" and call_id in answered:
            slot = admission.admit(call_id, needed=clock.now - answered.pop(call_id))
            assert (slot is not None) == (live < limit)
            slots[chosen] += [slot] if slot else []
        elif verb == "admit stranger":
            free = admission.free
            slot = admission.admit()
            assert (slot is not None) == (free > 0)
            slots[chosen] += [slot] if slot else []
        elif verb == "cancel":
            admission.cancel(call_id)
            answered.pop(call_id, None)
        elif verb == "release" and slots[chosen]:
            slots[chosen].pop(number % len(slots[chosen])).release()
        elif verb == "wait":
            clock.now += number
        assert [each.active for each in processes] == [len(each) for each in slots]
        lives = [sum(map(len, slots))] if shared else map(len, slots)
        assert all(live <= limit for live in lives)


@given(limit=st.integers(1, 4), steps=_STEPS)
def test_a_call_that_one_process_answered_is_never_refused_if_it_comes_in_time(
    limit: int, steps: list[tuple[str, int, int]]
) -> None:
    clock = Clock()
    admission = Admission(limit, hold_seconds=9, clock=clock)
    slots: list[Slot] = []
    answered: dict[str, float] = {}
    for verb, number, _ in steps:
        call_id = str(number)
        if verb == "reserve":
            if admission.reserve(call_id):
                answered[call_id] = clock.now
        elif verb == "admit" and call_id in answered:
            slot = admission.admit(call_id, needed=clock.now - answered.pop(call_id))
            assert slot is not None
            slots.append(slot)
        elif verb == "admit stranger":
            slot = admission.admit()
            slots += [slot] if slot else []
        elif verb == "cancel":
            admission.cancel(call_id)
            answered.pop(call_id, None)
        elif verb == "release" and slots:
            slots.pop(number % len(slots)).release()
        elif verb == "wait":
            clock.now += number / 10
            answered = {each: at for each, at in answered.items() if clock.now - at < 1}
        assert admission.active + admission.reserved + admission.free == limit


@pytest.mark.parametrize("needed", [0.005, 0.6], ids=["at once", "after a while"])
@pytest.mark.parametrize("by_turns", [True, False], ids=["by turns", "at random"])
@pytest.mark.parametrize("hangs_up", [True, False], ids=["with hang-ups", "without"])
def test_processes_behind_a_proxy_answer_nearly_all_calls(
    needed: float, by_turns: bool, hangs_up: bool
) -> None:
    """15 calls a second of a quarter of a second, on two processes that know nothing of each other.

    Of 450 calls one process answered 100 while a place was reserved for 30 s, and cut 50 of them.
    """
    clock, chance = Clock(), random.Random(7)
    processes = [Admission(50, clock=clock) for _ in range(2)]
    turns = itertools.cycle(processes)

    def next_process() -> Admission:
        return next(turns) if by_turns else chance.choice(processes)

    outcomes: Counter[str] = Counter()
    order = itertools.count()
    events: list[tuple[float, int, Callable[[], None]]] = []

    def at(when: float, event: Callable[[], None]) -> None:
        heapq.heappush(events, (when, next(order), event))

    def answer(call_id: str) -> None:
        if not next_process().reserve(call_id):
            outcomes["busy"] += 1
            return
        wait = needed * chance.uniform(0.5, 1.5)
        at(clock.now + wait, lambda: start(call_id, wait))

    def start(call_id: str, wait: float) -> None:
        slot = next_process().admit(call_id, needed=wait)
        if slot is None:
            outcomes["cut"] += 1
            return
        at(clock.now + 0.25, lambda: end(call_id, slot))

    def end(call_id: str, slot: Slot) -> None:
        slot.release()
        outcomes["served"] += 1
        if hangs_up:
            next_process().cancel(call_id)

    for number in range(450):
        at(clock.now + number / 15, functools.partial(answer, str(number)))
    while events:
        clock.now, _, event = heapq.heappop(events)
        event()
    assert outcomes["served"] >= 440
    assert outcomes["cut"] == 0


def test_the_routes_of_reserved_calls_are_known() -> None:
    admission = Admission(1)
    assert admission.may_reserve("call-1")
    assert admission.reserve("call-1", "/sales")
    assert admission.reserved_routes == {"call-1": "/sales"}
    assert admission.keeps("call-1")
    assert admission.may_reserve("call-1")
    assert not admission.keeps("call-2")
    assert not admission.may_reserve("call-2")
