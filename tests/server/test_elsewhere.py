from collections.abc import Container
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.server.elsewhere import Elsewhere, MoveTo, RelayTo, elsewhere, unique_name
from mediaserver.server.trust.tokens import Claims, seal


SECRET = "sixteen letters and more"
OWN, OTHER, GONE = "3f9a/1.1", "3f9a/2.1", "3f9a/2.0"


def decide(query: str, *, alive: Container[str] = (OTHER,), now: float = 0.0) -> Elsewhere | None:
    return elsewhere(query, own=OWN, reaches=alive.__contains__, secret=SECRET, now=now)


def query(by: str | None, secret: str = SECRET, **more: str) -> str:
    token = seal(Claims("call-1", None, None, 1_000, process=by), secret)
    return urlencode({"token": token, **more})


def test_a_stream_is_served_by_the_process_that_prepared_its_call() -> None:
    assert decide(query(OTHER, tenant="a&b")) == MoveTo(OTHER)


@pytest.mark.parametrize("process", [None, OWN, GONE, "another machine/2.1", ""])
def test_a_stream_is_served_here_if_no_other_process_is_named_that_lives(
    process: str | None,
) -> None:
    assert decide(query(process), alive=(OWN, OTHER)) is None


def test_a_token_that_is_not_valid_moves_nothing() -> None:
    assert decide(query(OTHER, secret="another secret of length")) is None
    assert decide(query(OTHER), now=1_000.0) is None
    assert decide("") is None


@given(text=st.text())
def test_any_query_is_decided(text: str) -> None:
    assert decide(text) is None
    assert decide(urlencode({"token": text.encode("utf-8", "replace")})) is None


def test_a_webhook_is_served_by_the_process_that_its_url_names() -> None:
    assert decide(urlencode({"dial": "key", "process": OTHER})) == MoveTo(OTHER)
    assert decide(urlencode({"process": OWN})) is None
    assert decide(urlencode({"process": GONE})) is None


def test_where_there_is_a_token_it_alone_counts() -> None:
    assert decide(query(OWN, process=OTHER)) is None
    assert decide(query(OTHER, process=OWN)) == MoveTo(OTHER)


def test_each_start_of_a_server_has_a_name_of_its_own_that_begins_with_the_nodes() -> None:
    first, second, unnamed = (unique_name(node) for node in ("node1", "node1", None))
    assert first.partition("/")[0] == second.partition("/")[0] == "node1"
    assert first != second
    assert "/" not in unnamed


def test_a_stream_of_another_machine_is_relayed_there() -> None:
    addresses = {"b/1.1": "http://10.0.0.2:8000", OTHER: "http://10.0.0.3:8000"}

    def where(process: str) -> Elsewhere | None:
        return elsewhere(
            query(process),
            own=OWN,
            reaches=(OTHER,).__contains__,
            address_of=addresses.get,
            secret=SECRET,
            now=0.0,
        )

    assert where("b/1.1") == RelayTo("http://10.0.0.2:8000")
    assert where(OTHER) == MoveTo(OTHER)
    assert where("c/1.1") is None
