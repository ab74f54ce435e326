import pytest

from mediaserver.server.reservations import Reservations


class Waiting:
    """Reservations, and the clock that they go by."""

    def __init__(self, longest: float = 30.0) -> None:
        self.now = 100.0
        self.places = Reservations(longest, clock=lambda: self.now)

    def kept(self, *, after: float) -> int:
        """Return how many places are kept after a while."""
        self.now += after
        self.places.look()
        return len(self.places)


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


def test_a_place_is_kept_for_two_seconds_as_long_as_no_stream_has_come(waiting: Waiting) -> None:
    waiting.places.keep("a")
    assert waiting.kept(after=1.9) == 1
    assert waiting.kept(after=0.1) == 0


def test_a_place_is_kept_for_three_times_what_streams_have_needed(waiting: Waiting) -> None:
    waiting.places.came(3.0)
    waiting.places.came(1.0)
    waiting.places.keep("a")
    assert waiting.kept(after=8.9) == 1
    assert waiting.kept(after=0.1) == 0


def test_a_place_is_kept_for_a_second_where_streams_come_at_once(waiting: Waiting) -> None:
    waiting.places.came(0.01)
    waiting.places.keep("a")
    assert waiting.kept(after=0.9) == 1
    assert waiting.kept(after=0.1) == 0


def test_no_place_is_kept_for_longer_than_the_longest_time() -> None:
    waiting = Waiting(longest=5)
    waiting.places.came(4.0)
    assert waiting.places.seconds == 5


@pytest.mark.parametrize("needed", [-0.1, 30.1])
def test_times_that_cannot_be_right_teach_nothing(waiting: Waiting, needed: float) -> None:
    before = waiting.places.seconds
    waiting.places.came(needed)
    assert waiting.places.seconds == before


def test_only_recent_times_count_and_the_last_ones_are_not_forgotten(waiting: Waiting) -> None:
    waiting.places.came(3.0)
    waiting.now += 60
    waiting.places.came(1.0)
    assert waiting.places.seconds == 9
    waiting.now += 3_600
    waiting.places.came(0.5)
    assert waiting.places.seconds == 3
    waiting.now += 60
    waiting.places.came(0.5)
    assert waiting.places.seconds == 1.5


def test_a_stream_without_a_place_is_expected_until_the_longest_time(waiting: Waiting) -> None:
    waiting.places.keep("a")
    assert waiting.kept(after=29.9) == 0
    assert waiting.places.expected == 1
    assert waiting.kept(after=0.1) == 0
    assert waiting.places.expected == 0


def test_keeping_again_lasts_from_then_on_and_lets_others_run_out(waiting: Waiting) -> None:
    waiting.places.keep("a")
    waiting.places.keep("b")
    waiting.now += 1.5
    waiting.places.keep("a")
    assert waiting.kept(after=1.5) == 1
    assert waiting.places.keeps("a")


def test_a_call_that_lost_its_place_may_have_one_again(waiting: Waiting) -> None:
    waiting.places.keep("a")
    assert waiting.kept(after=3) == 0
    waiting.places.keep("a")
    assert waiting.kept(after=1) == 1
    assert waiting.places.expected == 1


def test_a_stream_that_came_is_expected_no_longer(waiting: Waiting) -> None:
    waiting.places.keep("a")
    assert waiting.places.discard("a")
    assert not waiting.places.discard("a")
    waiting.places.keep("late")
    assert waiting.kept(after=3) == 0
    assert waiting.places.discard("late")
    assert waiting.places.expected == 0


def test_the_oldest_place_is_given_back_first_and_then_what_keeps_none(waiting: Waiting) -> None:
    waiting.places.keep("late")
    waiting.kept(after=3)
    waiting.places.keep("a")
    waiting.places.keep("b")
    waiting.places.discard_oldest()
    assert not waiting.places.keeps("a")
    assert waiting.places.keeps("b")
    waiting.places.discard_oldest()
    assert waiting.places.expected == 1
    waiting.places.discard_oldest()
    waiting.places.discard_oldest()
    assert waiting.places.expected == 0


def test_the_routes_of_calls_are_known_as_long_as_a_place_is_kept(waiting: Waiting) -> None:
    waiting.places.keep("call-1", "/sales")
    assert waiting.places.routes == {"call-1": "/sales"}
    waiting.kept(after=2.0)
    assert waiting.places.routes == {}
