import ipaddress
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.server.process.connections import HttpConnections


class Held:
    """A connection that only knows whether it was dropped."""

    def __init__(self, address: str | None = None) -> None:
        self.address = address
        self.dropped = False

    def drop(self) -> None:
        self.dropped = True


def wait(connections: HttpConnections, *addresses: str | None) -> list[Held]:
    made = [Held(address) for address in addresses]
    for each in made:
        connections.wait(each)
    return made


def test_the_one_that_has_waited_longest_makes_room() -> None:
    connections = HttpConnections(2)
    first, second, third = wait(connections, None, None, None)
    assert (first.dropped, second.dropped, third.dropped) == (True, False, False)
    assert connections.waiting == [second, third]
    assert connections.dropped == {"idle": 1}


def test_who_waits_for_us_is_never_dropped() -> None:
    connections = HttpConnections(2)
    served, _ = wait(connections, None, None)
    connections.serve(served)
    wait(connections, None, None, None)
    assert not served.dropped
    assert connections.serving == {served}


def test_after_its_response_a_connection_is_the_newest() -> None:
    connections = HttpConnections(2)
    kept, other = wait(connections, None, None)
    connections.serve(kept)
    connections.wait(kept)
    wait(connections, None)
    assert (kept.dropped, other.dropped) == (False, True)
    assert not connections.serving


def test_an_address_displaces_only_its_own_connections() -> None:
    connections = HttpConnections(10, address_limit=2)
    honest, *flood = wait(connections, "honest", *["flood"] * 5)
    assert not honest.dropped
    assert [each.dropped for each in flood] == [True, True, True, False, False]
    assert connections.dropped == {"address": 3}


def test_connections_that_are_gone_leave_nothing_behind() -> None:
    connections = HttpConnections(10, address_limit=2)
    for each in wait(connections, "a", "a", "b", None):
        connections.discard(each)
    (again,) = wait(connections, "a")
    assert connections.waiting == [again]
    assert not again.dropped


def test_those_that_have_waited_longest_are_dropped_for_want_of_descriptors() -> None:
    connections = HttpConnections(10)
    made = wait(connections, None, None, None)
    assert connections.drop_oldest(2) == 2
    assert [each.dropped for each in made] == [True, True, False]
    assert connections.drop_oldest(2) == 1
    assert connections.drop_oldest(2) == 0


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("10.0.0.9", None),
        ("::ffff:10.0.0.9", None),
        ("", None),
    ],
)
def test_clients_are_told_apart_by_what_one_of_them_has(host: str, client: str | None) -> None:
    trusted = [ipaddress.ip_network("10.0.0.0/8")]
    assert HttpConnections(9, address_limit=2, trusted=trusted).client_of(host) == client


def test_without_a_limit_by_address_none_is_counted() -> None:
    assert HttpConnections(9).client_of("192.0.2.7") is None


@given(st.lists(st.tuples(st.integers(0, 7), st.sampled_from(["wait", "serve", "discard"]))))
def test_the_limits_hold_whatever_happens(steps: Sequence[tuple[int, str]]) -> None:
    connections = HttpConnections(3, address_limit=2)
    held = [Held(address) for address in ("a", "a", "a", "b", "b", "c", None, None)]
    for number, step in steps:
        getattr(connections, step)(held[number])
        waiting = connections.waiting
        assert len(waiting) <= 3
        assert sum(each.address == "a" for each in waiting) <= 2
        assert not connections.serving & set(waiting)


def test_whoever_counts_them_knows_their_number() -> None:
    counted: list[int] = []
    connections = HttpConnections(2, counted=counted.append)
    first, second, _ = wait(connections, None, None, None)
    assert first.dropped
    connections.serve(second)
    assert len(connections) == counted[-1] == 2
    connections.discard(second)
    assert len(connections) == counted[-1] == 1
