from hypothesis import given
from hypothesis import strategies as st

from mediaserver.server.fleet.notes import Note
from mediaserver.server.fleet.register import Register


def test_a_beat_knows_only_of_claims_before_the_first_one_that_is_under_way() -> None:
    register = Register()
    assert register.last == 0
    register.begin("a", "")
    register.begin("b", "")
    register.settle("b")
    assert register.last == 0
    register.settle("a")
    assert register.last == 2


def test_calls_have_the_number_of_their_last_claim() -> None:
    register = Register()
    register.begin("a", "/sales")
    register.settle("a")
    assert register.begin("a", "/sales") == Note(2, live=False, route="/sales")
    register.settle("a")
    assert register.calls({"a": "/sales"}, [("b", "")]) == {
        "a": Note(2, live=False, route="/sales"),
        "b": Note(0, live=True, route=""),
    }


def test_a_call_that_is_live_and_expected_again_is_live() -> None:
    assert Register().calls({"a": ""}, [("a", "")]) == {"a": Note(0, live=True, route="")}


def test_the_numbers_of_calls_that_are_over_are_forgotten() -> None:
    register = Register()
    register.begin("a", "")
    register.begin("b", "")
    register.settle("a")
    register.calls({}, [])
    register.settle("b")
    assert register.calls({"a": "", "b": ""}, []) == {
        "a": Note(0, live=False, route=""),
        "b": Note(2, live=False, route=""),
    }


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc")), max_size=30))
def test_no_claim_up_to_the_last_is_under_way(steps: list[tuple[bool, str]]) -> None:
    register = Register()
    under_way: dict[str, list[int]] = {}
    for begins, call in steps:
        if begins:
            under_way.setdefault(call, []).append(register.begin(call, "").number)
        else:
            register.settle(call)
            under_way.pop(call, None)
        assert all(number > register.last for each in under_way.values() for number in each)
