import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from mediaserver.dev.agent_answer import AgentAnswer
from mediaserver.dev.agent_server import AgentServer
from mediaserver.dev.page_app import create_page_app
from mediaserver.sandbox.account import Account


PAGE = "http://127.0.0.1:8090"
PATHS = ("/sales", "/support")


class Phones:
    async def serve(self, websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_json({"what": "ready"})
        await websocket.close()


def made(admin: httpx.AsyncClient) -> tuple[ASGIApp, AgentServer]:
    """Make the application, with an agent whose admin listener a client reaches."""
    agent = AgentServer(["true"], {}, admin, spec="my_agent:Agent")
    sandbox = Starlette(routes=[Route("/{path:path}", lambda _: PlainTextResponse("the sandbox"))])
    answer = AgentAnswer("http://127.0.0.1:4000", PAGE, Account(), admin)
    app = create_page_app(
        agent, answer, Phones(), admin=admin, sandbox=sandbox, port=8090, paths=PATHS
    )
    return app, agent


@asynccontextmanager
async def app_of(
    answer: httpx.Response | None = None, *, away: bool = False
) -> AsyncIterator[tuple[ASGIApp, AgentServer]]:
    def asked(request: httpx.Request) -> httpx.Response:
        if away:
            raise httpx.ConnectError("no such socket")
        return answer or httpx.Response(200, json={"calls": []})

    transport = httpx.MockTransport(asked)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as admin:
        yield made(admin)


async def never() -> AsyncIterator[None]:
    """Wait for changes that do not come."""
    await asyncio.Event().wait()
    yield


async def get(path: str, **options: Any) -> httpx.Response:
    async with (
        app_of(**options) as (app, _),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PAGE) as client,
    ):
        return await client.get(path)


async def test_the_page_is_told_what_there_is() -> None:
    assert (await get("/page.json")).json() == {
        "mode": "dev",
        "title": "my_agent:Agent",
        "phone": True,
        "audio": True,
        "words": True,
        "past": True,
        "records": False,
        "paths": ["/sales", "/support"],
        "token": False,
    }


async def test_calls_are_those_of_the_agents_server() -> None:
    assert (await get("/calls")).json() == {"calls": []}
    answer = httpx.Response(404, json={"error": "no such call"})
    assert (await get("/calls/1/trace", answer=answer)).json() == {"error": "no such call"}
    assert (await get("/past?limit=3")).json() == {"calls": []}


async def test_while_the_agent_is_away_there_are_no_live_calls() -> None:
    answer = await get("/calls?limit=200", away=True)
    assert (answer.status_code, answer.json()) == (200, {"calls": [], "next": None})
    assert (await get("/past", away=True)).status_code == 503


async def test_while_the_agent_is_away_a_trace_is_over() -> None:
    answer = await get("/calls/call-1/trace?from=start", away=True)
    assert answer.status_code == 200
    assert json.loads(answer.text)["what"] == "trace ended"


async def test_an_agent_that_is_there_may_not_know_its_calls() -> None:
    failed = httpx.Response(503, json={"error": "not all workers answered"})
    assert (await get("/calls", answer=failed)).status_code == 503


async def test_the_sandbox_has_its_paths() -> None:
    assert (await get("/v1/Account/MA/Call/")).text == "the sandbox"
    assert (await get("/recordings/1.wav")).text == "the sandbox"


async def test_the_agent_can_be_started_again() -> None:
    async with (
        app_of() as (app, agent),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PAGE) as client,
    ):
        running = asyncio.create_task(agent.run(never()))
        async for state in agent.states():
            if state.state == "failed":
                break
        assert (await client.post("/agent/start")).status_code == 202
        async for state in agent.states():
            if state.starts == 2:
                break
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_the_state_of_the_agent_comes_as_it_changes() -> None:
    async with app_of() as (app, agent):
        sent: list[Any] = []
        more = asyncio.Event()

        async def receive() -> Any:
            await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)
            more.set()

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/agent",
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1:8090")],
        }
        asking = asyncio.ensure_future(app(scope, receive, send))
        while not any(message.get("body") for message in sent):
            await more.wait()
            more.clear()

        running = asyncio.create_task(agent.run(never()))
        async for state in agent.states():
            if state.state == "failed":
                break
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await asking
    lines = [json.loads(each["body"]) for each in sent if each.get("body")]
    assert lines[0] == {
        "what": "agent",
        "state": "starting",
        "spec": "my_agent:Agent",
        "problem": "",
        "starts": 0,
    }
    assert "failed" in [line["state"] for line in lines]
    assert lines[-1]["state"] == "stopped"


def test_a_phone_is_a_websocket() -> None:
    app, _ = made(httpx.AsyncClient())
    with (
        TestClient(app, base_url=PAGE) as client,
        client.websocket_connect("ws://127.0.0.1:8090/phone") as phone,
    ):
        assert phone.receive_json() == {"what": "ready"}


async def test_other_pages_get_nothing() -> None:
    async with app_of() as (app, _):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=PAGE) as client:
            for path in ("/", "/calls", "/v1/Account/MA/Call/", "/page.json"):
                response = await client.get(path, headers={"origin": "https://example.com"})
                assert response.status_code == 403
