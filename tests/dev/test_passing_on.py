from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette
from starlette.routing import Route

from mediaserver.dev.passing_on import PassedOn


@asynccontextmanager
async def passing(transport: httpx.AsyncBaseTransport) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as admin:
        passed = PassedOn(admin, lambda: "a.py:1: NameError: x")
        app = Starlette(routes=[Route("/{path:path}", passed.endpoint, methods=["GET", "POST"])])
        page = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=page, base_url="http://127.0.0.1") as client:
            yield client


async def test_an_answer_is_that_of_the_agents_server() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(409, json={"error": "x"}, headers={"set-cookie": "a=b"})

    async with passing(httpx.MockTransport(answer)) as client:
        response = await client.post("/calls/a%2Fb/say?x=1", json={"text": "Hello"})
    assert (response.status_code, response.json()) == (409, {"error": "x"})
    assert response.headers["content-type"] == "application/json"
    assert "set-cookie" not in response.headers
    (request,) = asked
    assert (request.method, request.url.raw_path) == ("POST", b"/calls/a%2Fb/say?x=1")
    assert (request.headers["host"], request.content) == ("localhost", b'{"text":"Hello"}')


async def test_what_the_page_sends_along_stays_here() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200)

    async with passing(httpx.MockTransport(answer)) as client:
        await client.get("/calls", headers={"origin": "http://127.0.0.1", "cookie": "a=b"})
    assert not {"origin", "cookie"} & set(asked[0].headers)


async def test_while_the_agent_is_away_the_page_is_told_why() -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no such socket")

    async with passing(httpx.MockTransport(away)) as client:
        response = await client.get("/calls")
    assert response.status_code == 503
    assert response.json() == {
        "error": "the agent's server does not run",
        "hint": "a.py:1: NameError: x",
    }


async def test_lines_end_where_the_agent_is_started_again() -> None:
    class Breaks(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b'{"what":"a"}\n'
            raise httpx.ReadError("the server has gone")

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Breaks())

    async with passing(httpx.MockTransport(answer)) as client:
        response = await client.get("/calls/1/trace")
    assert response.text == '{"what":"a"}\n'
