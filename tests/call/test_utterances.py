from mediaserver.call.utterances import Utterances
from tests.call.conftest import Waiter


def test_the_first_begins_at_once_and_the_others_in_their_order() -> None:
    utterances = Utterances()
    first, second, third = Waiter(), Waiter(), Waiter()
    assert utterances.begin(first)
    assert not utterances.begin(second)
    assert not utterances.begin(third)
    utterances.end(first)
    assert (utterances.current, second.woken, third.woken) == (second, True, False)
    utterances.end(second)
    assert (utterances.current, third.woken) == (third, True)
    utterances.end(third)
    assert utterances.current is None


def test_one_that_gives_up_leaves_its_place() -> None:
    utterances = Utterances()
    first, second, third = Waiter(), Waiter(), Waiter()
    for utterance in (first, second, third):
        utterances.begin(utterance)
    utterances.end(second)
    utterances.end(first)
    assert utterances.current is third
    assert not second.woken


def test_one_that_was_cancelled_is_passed_over() -> None:
    utterances = Utterances()
    first, second, third = Waiter(), Waiter(), Waiter()
    for utterance in (first, second, third):
        utterances.begin(utterance)
    second.cancelled = True
    utterances.end(first)
    assert utterances.current is third


def test_dropping_wakes_all_and_makes_room_for_new_ones() -> None:
    utterances = Utterances()
    first, second, third = Waiter(), Waiter(), Waiter()
    utterances.begin(first)
    utterances.begin(second)
    third.cancelled = True
    utterances.begin(third)
    utterances.drop()
    assert second.woken
    new = Waiter()
    assert utterances.begin(new)
    utterances.end(first)  # comes late
    utterances.end(second)
    assert utterances.current is new
