from hypothesis import given
from hypothesis import strategies as st

from mediaserver.server.handler_labels import MOST_HANDLERS, OTHER, HandlerLabels


def test_handlers_have_their_names_as_labels() -> None:
    labels = HandlerLabels(["Echo"])
    assert (labels.of("Echo"), labels.of("Menu")) == ("Echo", "Menu")
    assert labels.known == {"Echo", "Menu"}


@given(st.lists(st.integers(0, 200), max_size=300))
def test_there_is_a_bounded_number_of_labels(handlers: list[int]) -> None:
    labels = HandlerLabels()
    given = {number: labels.of(f"Handler{number}") for number in handlers}
    assert len(labels.known) <= MOST_HANDLERS + 1
    own = [number for number, label in given.items() if label != OTHER]
    assert len(own) == min(MOST_HANDLERS, len(given))
    assert all(labels.of(f"Handler{number}") == label for number, label in given.items())
