"""The page's server: the page, its phone, the agent's calls, and the sandbox's API on one port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final, Protocol

import httpx
import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from mediaserver.dev.agent_answer import FORMAT_PATH, AgentAnswer
from mediaserver.dev.agent_server import AgentServer
from mediaserver.dev.agent_state import encode_state
from mediaserver.dev.loopback_guard import LoopbackGuard
from mediaserver.dev.passing_on import AwayResponse, PassedOn
from mediaserver.server.admin.call_trace import TRACE_ENDED
from mediaserver.server.admin.page_files import PageFacts, page_routes
from mediaserver.server.admin.quiet_refusals import QuietRefusals
from mediaserver.server.admin.responses import PRIVATE


_SANDBOX: Final = ("/v1/", "/recordings/")
"""How the paths of the sandbox's API begin."""

_KEEP_SECONDS: Final = 15.0
"""Seconds after which a line without news shows that the server is there."""


class PagePhones(Protocol):
    """The phones in browsers."""

    async def serve(self, websocket: WebSocket) -> None:
        """Be one phone, until its WebSocket is gone. It has not been accepted."""


def create_page_app(
    agent: AgentServer,
    answer: AgentAnswer,
    phones: PagePhones,
    *,
    admin: httpx.AsyncClient,
    sandbox: ASGIApp,
    port: int,
    paths: Sequence[str] = (),
) -> ASGIApp:
    """Make the application that the page's port serves.

    Args:
        agent: the agent's server.
        answer: says what answers calls to it.
        phones: serve /phone.
        admin: reaches the admin listener of the agent's server.
        sandbox: the sandbox's API.
        port: where it will listen, on loopback.
        paths: those of the streams that the phone can be joined to, if handlers have one each.

    """
    passed = PassedOn(admin, lambda: agent.why_away)

    async def states(request: Request) -> Response:
        return StreamingResponse(_lines(agent), media_type="application/x-ndjson", headers=PRIVATE)

    async def start_again(request: Request) -> Response:
        agent.start_again()
        return Response(status_code=202, headers=PRIVATE)

    async def live_calls(request: Request) -> Response:
        answer = await passed.endpoint(request)
        if not isinstance(answer, AwayResponse):
            return answer
        # Without an agent there are none. Browsers write an error to the console for each refusal.
        return JSONResponse({"calls": [], "next": None}, headers=PRIVATE)

    async def live_trace(request: Request) -> Response:
        answer = await passed.endpoint(request)
        if not isinstance(answer, AwayResponse):
            return answer
        # The call is over: what was known of it has gone with the agent's server.
        line = {"what": TRACE_ENDED, "reason": "the agent's server does not run any more"}
        kind = "application/x-ndjson"
        return Response(msgspec.json.encode(line) + b"\n", media_type=kind, headers=PRIVATE)

    async def phone(websocket: WebSocket) -> None:
        await phones.serve(websocket)

    def facts(request: Request) -> PageFacts:
        return PageFacts(
            mode="dev",
            title=agent.state.spec,
            phone=True,
            audio=True,
            words=True,
            past=True,
            paths=tuple(paths),
        )

    page = Starlette(
        routes=[
            WebSocketRoute("/phone", phone),
            Route("/agent", states),
            Route("/agent/start", start_again, methods=["POST"]),
            Route(FORMAT_PATH, answer.endpoint, methods=["POST"]),
            Route("/calls", live_calls),
            Route("/calls/{id:path}/trace", live_trace),
            Route("/calls/{rest:path}", passed.endpoint, methods=["GET", "POST"]),
            Route("/past", passed.endpoint),
            Route("/past/{rest:path}", passed.endpoint),
            *page_routes(facts, websockets=True),
        ]
    )

    async def either(scope: Scope, receive: Receive, send: Send) -> None:
        # The sandbox looks at whole paths, so that it cannot be mounted below one.
        is_sandbox = scope["type"] == "http" and scope["path"].startswith(_SANDBOX)
        await (sandbox if is_sandbox else page)(scope, receive, send)

    return QuietRefusals(LoopbackGuard(either, port))


async def _lines(agent: AgentServer) -> AsyncIterator[bytes]:
    before = None
    async for state in agent.states(every=_KEEP_SECONDS):
        yield b"\n" if state is before else encode_state(state)
        before = state
