import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.server.trust.relayed import RelayedClient, mark, marked_client


SECRET, URL = "sixteen letters and more", "/stream?token=abc"
CLIENT = RelayedClient("192.0.2.7", 4_711, secure=True, marked=1_000.0)


def read(given: str, url: str = URL, secret: str = SECRET, now: float = 1_000.0) -> object:
    return marked_client(given, url, secret, now)


def test_a_mark_names_the_client_for_a_minute_whichever_clock_is_ahead() -> None:
    value = mark(CLIENT, URL, SECRET)
    assert read(value) == read(value, now=941.0) == read(value, now=1_059.0) == CLIENT
    assert read(value, now=1_060.0) is None
    assert read(value, now=940.0) is None


def test_a_mark_is_for_one_url_and_by_one_secret() -> None:
    value = mark(CLIENT, URL, SECRET)
    assert read(value, url="/stream?token=abd") is None
    assert read(value, secret="another secret of length") is None


@pytest.mark.parametrize("given", ["", ".", "é.ü", "e30."])
def test_what_is_no_mark_names_nobody(given: str) -> None:
    assert read(given) is None


@given(st.integers(0, 150), st.characters(max_codepoint=255))
def test_a_mark_that_was_changed_names_nobody(place: int, letter: str) -> None:
    value = mark(CLIENT, URL, SECRET)
    place %= len(value)
    changed = value[:place] + letter + value[place + 1 :]
    assert read(changed) == (CLIENT if changed == value else None)
