from typing import Any

import pytest
from httpx import AsyncClient

from mediaserver.routes import Route
from mediaserver.server.admin.app import (
    create_admin_app,
)
from mediaserver.server.admin.requests import LONGEST_TEXT
from mediaserver.server.runtime import Runtime
from mediaserver.settings import Settings
from tests.server.admin.live import Answering, Live, Talker, client_of


async def test_calls_are_found_by_what_the_request_says(
    client: AsyncClient, runtime: Runtime
) -> None:
    Live(runtime)
    Live(runtime, "call-2", "stream-2", caller="+14155550142", path="/talk")

    async def found(query: str) -> list[str]:
        body = (await client.get(f"/calls?{query}")).json()
        return [each["call_id"] for each in body["calls"]]

    # A plus that is not escaped is a space.
    assert await found("number=+14155550142") == ["call-2"]
    assert await found("number=%2B1%20415%20555-0100") == ["call-1"]
    assert await found(f"handler={Route(Talker).name}&state=live") == ["call-2"]
    assert await found("state=lost") == []


@pytest.mark.parametrize(
    ("query", "error", "hint"),
    [
        ("numbr=1", "there is no filter 'numbr'", "number, handler"),
        ("number=anonymous", "'anonymous' is not a phone number", "country code"),
        ("state=dead", "there is no state 'dead'", "starting, live, lost, ending"),
        ("limit=0", "limit is '0'", "from 1 to 200"),
        ("limit=201", "limit is '201'", "from 1 to 200"),
        ("limit=99999999999", "limit is '99999999999'", "from 1 to 200"),
        ("limit=many", "limit is 'many'", "from 1 to 200"),
    ],
)
async def test_a_wrong_filter_is_told(
    client: AsyncClient, query: str, error: str, hint: str
) -> None:
    response = await client.get(f"/calls?{query}")
    assert response.status_code == 422
    assert response.json()["error"] == error
    assert hint in response.json()["hint"]


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("say", b"", 400, "there is no body"),
        ("say", b"Hello.", 400, "the body is not JSON"),
        ("say", b'"Hello."', 422, "Expected `object`"),
        ("say", b"{}", 422, "missing required field `text`"),
        ("say", b'{"text": 1}', 422, "Expected `str`"),
        ("say", b'{"text": "a", "at_once": 1}', 422, "unknown field `at_once`"),
        ("say", b'{"text": "  "}', 422, "text is empty"),
        ("say", b'{"text": "%s"}' % (b"a" * 2001), 422, "2001 characters"),
        ("say", b'{"text": "\xff"}', 400, "the body is not JSON"),
        ("transfer", b'{"url": "example.com"}', 422, "must be an http:// or https:// URL"),
        ("transfer", b'{"url": "off"}', 422, "url is empty"),
        ("hangup", b'{"text": "a"}', 422, "hangup takes no body"),
        ("dance", b"", 404, "there is no action 'dance'"),
    ],
)
async def test_a_wrong_body_is_told(path: str, body: bytes, status: int, error: str) -> None:
    directory = Answering()
    async with client_of(directory) as client:
        response = await client.post(f"/calls/call-1/{path}", content=body)
    assert response.status_code == status
    assert error in response.json()["error"]
    assert response.json()["hint"]
    assert not directory.asked
    assert LONGEST_TEXT == 2_000


async def test_a_request_that_is_cut_short_does_nothing() -> None:
    directory = Answering()
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/calls/call-1/say",
        "raw_path": b"/calls/call-1/say",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8001),
        "scheme": "http",
        "http_version": "1.1",
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    app = create_admin_app(directory, Settings(admin="127.0.0.1:8001"))
    await app(scope, receive, send)
    assert sent[0]["status"] == 400
    assert not directory.asked


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("audio=yes", "audio is 'yes'"),
        ("from=0", "from is '0'"),
        ("video=1", "there is no parameter 'video'"),
    ],
)
async def test_what_a_trace_does_not_have_is_told(
    client: AsyncClient, query: str, error: str
) -> None:
    response = await client.get(f"/calls/call-1/trace?{query}")
    assert (response.status_code, response.json()["error"]) == (422, error)
