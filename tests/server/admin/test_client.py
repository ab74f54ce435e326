import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from httpx import Request, Response

from mediaserver.server.admin.client import AdminClient, AdminClientError
from mediaserver.settings import Settings


def client(respond: Callable[[Request], Response], token: str | None = None) -> AdminClient:
    transport = httpx.MockTransport(respond)
    return AdminClient(("0.0.0.0", 8001), token=token, transport=transport)


def test_it_asks_with_the_token_and_returns_the_answer() -> None:
    seen = []

    def respond(request: Request) -> Response:
        seen.append((request.method, str(request.url), request.headers.get("authorization")))
        return Response(200, json={"calls": []})

    with client(respond, "t") as asked:
        assert asked.get("/calls", number="+1") == {"calls": []}
        assert asked.post("/reload") == {"calls": []}
    assert seen == [
        ("GET", "http://127.0.0.1:8001/calls?number=%2B1", "Bearer t"),
        ("POST", "http://127.0.0.1:8001/reload", "Bearer t"),
    ]


def test_lines_come_one_after_the_other() -> None:
    asked = client(lambda _: Response(200, content=b'{"what": "one"}\n\n{"what": "two"}\n'))
    with asked:
        assert [line["what"] for line in asked.lines("/calls/1/trace")] == ["one", "two"]


def test_lines_that_cannot_be_had_are_an_error() -> None:
    asked = client(lambda _: Response(404, json={"error": "no live call", "hint": "look"}))
    with asked, pytest.raises(AdminClientError, match="no live call: look"):
        next(asked.lines("/calls/1/trace"))


def test_a_server_that_goes_while_its_lines_are_read_is_told() -> None:
    def break_off() -> Iterator[bytes]:
        yield b'{"what": "one"}\n'
        raise httpx.ReadError("reset")

    asked = client(lambda _: Response(200, content=break_off()))
    with asked:
        lines = asked.lines("/calls/1/trace")
        assert next(lines) == {"what": "one"}
        with pytest.raises(AdminClientError, match="did not answer: reset"):
            next(lines)


def test_what_was_not_done_is_an_error_with_what_would_be_right() -> None:
    refusal = {"error": "there is no node 'x'", "hint": "there is: 3f9a, or self"}
    asked = client(lambda _: Response(404, json=refusal))
    with asked, pytest.raises(AdminClientError) as raised:
        asked.post("/nodes/x/drain", {"a": 1})
    assert str(raised.value) == "there is no node 'x': there is: 3f9a, or self"


@pytest.mark.parametrize("response", [Response(200, text="ok\n"), Response(404, json=[])])
def test_another_kind_of_server_is_named(response: Response) -> None:
    asked = client(lambda _: response)
    with asked, pytest.raises(AdminClientError, match=r"127.0.0.1:8001 answered .*not as an admin"):
        asked.get("/calls")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (httpx.ConnectError("refused"), "is it running"),
        (httpx.ReadTimeout("late"), "is not known"),
        (httpx.ReadError("reset"), "did not answer: reset"),
    ],
)
def test_a_server_that_does_not_answer_is_told(error: httpx.HTTPError, text: str) -> None:
    def fail(request: Request) -> Response:
        raise error

    with client(fail) as asked, pytest.raises(AdminClientError, match=text):
        asked.get("/calls")


def test_a_socket_that_nobody_listens_on_is_named(tmp_path: Path) -> None:
    asked = AdminClient.of(Settings(admin=str(tmp_path / "admin.sock")))
    with asked, pytest.raises(AdminClientError, match=r"admin.sock: .*is it running"):
        asked.post("/reload")
    # A socket that was left open would be told by now.
    gc.collect()


def test_a_server_without_the_listener_cannot_be_asked() -> None:
    with pytest.raises(AdminClientError, match="has no admin listener"):
        AdminClient.of(Settings())


def test_addresses_of_ipv6_are_written_in_brackets() -> None:
    seen = []

    def respond(request: Request) -> Response:
        seen.append(str(request.url))
        return Response(200, json={})

    with AdminClient(("::", 8001), transport=httpx.MockTransport(respond)) as asked:
        asked.get("/calls")
    assert seen == ["http://[::1]:8001/calls"]
