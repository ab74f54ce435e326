import ipaddress
from ipaddress import IPv4Network, IPv6Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.server.trust.proxy import Origin, origin


TRUSTED = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("192.0.2.7/32")]


def seen(
    *headers: Any,
    client_host: str = "10.0.0.1",
    secure: bool = False,
    trusted: list[IPv4Network | IPv6Network] = TRUSTED,
) -> Origin:
    return origin(headers, client_host=client_host, secure=secure, trusted=trusted)


def test_without_a_proxy_the_connection_speaks_for_itself() -> None:
    assert seen(("host", "voice.example.com"), client_host="198.51.100.4", secure=True) == (
        "198.51.100.4",
        True,
        "voice.example.com",
    )


def test_forwarded_headers_of_a_stranger_are_ignored() -> None:
    result = seen(
        ("host", "real.example.com"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example.com"),
        client_host="198.51.100.4",
    )
    assert result == ("198.51.100.4", False, "real.example.com")


def test_a_trusted_proxy_is_believed() -> None:
    result = seen(
        ("host", "backend:8000"),
        ("x-forwarded-for", "198.51.100.4"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "voice.example.com"),
    )
    assert result == ("198.51.100.4", True, "voice.example.com")


def test_the_client_is_the_last_address_that_is_no_proxy_of_ours() -> None:
    result = seen(("x-forwarded-for", "6.6.6.6, 198.51.100.4, 192.0.2.7"))
    assert result.client == "198.51.100.4"


def test_forwarded_for_in_several_headers_is_one_list() -> None:
    result = seen(("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "198.51.100.4, 10.1.1.1"))
    assert result.client == "198.51.100.4"


def test_an_address_that_is_none_ends_the_list() -> None:
    assert seen(("x-forwarded-for", "198.51.100.4, unknown, 10.1.1.1")).client == "10.1.1.1"


def test_a_mapped_ipv4_address_is_the_ipv4_address() -> None:
    result = seen(("x-forwarded-proto", "https"), client_host="::ffff:10.0.0.1")
    assert result.secure


def test_a_proxy_that_took_plain_http_says_so() -> None:
    assert not seen(("x-forwarded-proto", "http"), secure=True).secure


@pytest.mark.parametrize("host", ["a.example:8443", "[2001:db8::1]:80", "localhost"])
def test_a_host_is_taken_with_its_port(host: str) -> None:
    assert seen(("host", host)).host == host


@pytest.mark.parametrize("host", ["", "a/b", "a b", "user@host", "a?x", "a:port", 'a"><Hangup/>'])
def test_what_is_no_host_is_not_taken(host: str) -> None:
    assert seen(("host", host)).host is None


@given(
    st.lists(
        st.tuples(st.sampled_from(["host", "x-forwarded-for", "x-forwarded-proto"]), st.text())
    )
)
def test_any_headers_can_be_looked_at(headers: list[tuple[str, str]]) -> None:
    result = seen(*headers)
    assert ipaddress.ip_address(result.client)
