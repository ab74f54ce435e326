import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.server import ServerProtocol

from mediaserver.server.opening import switching_protocols


def pairs(headers: Headers) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in headers.raw_items()]


ORDINARY = {
    "Host": "voice.example.com",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def test_the_example_of_the_standard_is_answered_as_it_says() -> None:
    # RFC 6455, section 1.3.
    response = switching_protocols(pairs(Headers(ORDINARY)))
    assert response is not None
    lines = response.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 101 Switching Protocols"
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in lines
    assert lines[-2:] == [b"", b""]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Connection", "keep-alive, Upgrade"),
        ("Connection", "close"),
        ("Upgrade", "websocket, h2c"),
        ("Sec-WebSocket-Version", "8"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ"),
        ("Sec-WebSocket-Key", "c2hvcnQ="),
        ("Sec-WebSocket-Key", "not base64 at all ä ===="),
        ("Sec-WebSocket-Key", ""),
    ],
)
def test_other_forms_are_left_to_the_core(name: str, value: str) -> None:
    assert switching_protocols(pairs(Headers(ORDINARY | {name: value}))) is None


@pytest.mark.parametrize("name", [name for name in ORDINARY if name != "Host"])
def test_a_header_that_is_missing_or_repeated_is_left_to_the_core(name: str) -> None:
    headers = Headers(ORDINARY)
    del headers[name]
    assert switching_protocols(pairs(headers)) is None
    repeated = Headers(ORDINARY)
    repeated[name] = ORDINARY[name]
    assert switching_protocols(pairs(repeated)) is None


_CHOICES = {
    "Connection": ["Upgrade", "upgrade", "keep-alive, Upgrade", "close", " Upgrade"],
    "Upgrade": ["websocket", "WebSocket", "h2c", "websocket, h2c"],
    "Sec-WebSocket-Version": ["13", "8", "13.0"],
    "Sec-WebSocket-Key": [
        "dGhlIHNhbXBsZSBub25jZQ==",
        "AAAAAAAAAAAAAAAAAAAAAA==",
        "AAAAAAAAAAAAAAAAAAAAA===",
        "AAAA",
        "AAAAAAAAAAAAAAAAAAAAAA==AAAA",
    ],
}


@given(
    chosen=st.fixed_dictionaries(
        {
            name: st.lists(st.sampled_from(of), min_size=1, max_size=2)
            for name, of in _CHOICES.items()
        }
    )
)
def test_what_is_answered_here_the_core_answers_alike(chosen: dict[str, list[str]]) -> None:
    headers = Headers([(name, value) for name, values in chosen.items() for value in values])
    response = switching_protocols(pairs(headers))
    by_core = ServerProtocol().accept(Request("/", headers))
    if response is None:
        return
    assert by_core.status_code == 101
    lines = dict(line.split(b": ") for line in response.split(b"\r\n")[1:-2])
    assert lines == {
        name.encode(): by_core.headers[name].encode()
        for name in ("Upgrade", "Connection", "Sec-WebSocket-Accept")
    }
