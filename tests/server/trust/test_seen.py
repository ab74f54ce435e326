import msgspec
import pytest

from mediaserver.server.trust.seen import SeenRequest, seen_request
from mediaserver.settings.values import read_networks


PROXY = read_networks("10.0.0.5")


def seen(headers: list[tuple[str, str]], peer: str = "10.0.0.5", *, trusted: bool) -> SeenRequest:
    told = seen_request(headers, client_host=peer, secure=False, trusted=PROXY if trusted else ())
    return msgspec.json.decode(told, type=SeenRequest)


FORWARDED = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-proto", "https")]


def test_a_trusted_proxy_tells_of_its_client() -> None:
    assert seen(FORWARDED, trusted=True) == SeenRequest("10.0.0.5", True, True, "203.0.113.9", True)


def test_nobody_else_does() -> None:
    assert seen(FORWARDED, trusted=False) == SeenRequest("10.0.0.5", False, True, "10.0.0.5", False)


@pytest.mark.parametrize("trusted", [True, False])
def test_a_request_without_the_header_is_told(trusted: bool) -> None:
    assert not seen([], trusted=trusted).forwarded_for
