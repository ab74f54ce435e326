"""The HTTP application: health, metrics and Plivo's webhooks (`WebhookEndpoints`).

=============  =================================================================================
``/healthz``   200 as long as the process answers
``/readyz``    200 while new calls are accepted; 503 once the server is asked to stop, and as long
               as a service of its handlers has never been reached
``/metrics``   Prometheus' text format; here, on a port of its own, or nowhere
=============  =================================================================================

A full server stays ready, since its ``/answer`` must tell callers that all lines are busy.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from mediaserver.server.admin.health_endpoints import without_metrics_token
from mediaserver.server.runtime import Runtime
from mediaserver.server.webhooks import PATHS, WebhookEndpoints
from mediaserver.telemetry.metrics import CONTENT_TYPE, exposition


_NO_STORE: Final = {"cache-control": "no-store"}


def create_app(runtime: Runtime) -> Router:
    """Make the ASGI application of a server.

    It is a router without Starlette's middleware: no endpoint raises an exception on purpose, and
    uvicorn logs and answers those that it raises by mistake.
    """
    endpoints, webhooks = Endpoints(runtime), WebhookEndpoints(runtime)
    metrics = [Route("/metrics", endpoints.metrics)] if runtime.settings.metrics_shared else []
    return Router(
        routes=[
            _webhook("/answer", webhooks.answer),
            _webhook("/fallback", webhooks.fallback),
            _webhook("/resume", webhooks.resume),
            _webhook("/hangup", webhooks.hangup),
            _webhook("/status", webhooks.status),
            Route("/healthz", endpoints.healthz),
            Route("/readyz", endpoints.readyz),
            *metrics,
        ],
        default=_Asgi(endpoints.not_found),
    )


class _Asgi:
    """An endpoint as an ASGI application, without the layer that handles exceptions."""

    def __init__(self, endpoint: Callable[[Request], Awaitable[Response]]) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._endpoint(Request(scope, receive))
        await response(scope, receive, send)


def _webhook(path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> Route:
    return Route(path, _Asgi(endpoint), methods=["GET", "POST"])


class Endpoints:
    """The endpoints for health and metrics."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def healthz(self, request: Request) -> Response:
        """Reply that the process is alive."""
        return PlainTextResponse("ok\n", headers=_NO_STORE)

    async def readyz(self, request: Request) -> Response:
        """Reply whether new calls are taken."""
        if self._runtime.draining or not self._runtime.ready:
            return PlainTextResponse("not ready\n", 503, headers=_NO_STORE)
        if unready := self._runtime.routes.unready:
            lines = (f"not ready: {name}: {reason}\n" for name, reason in unready.items())
            return PlainTextResponse("".join(lines), 503, headers=_NO_STORE)
        return PlainTextResponse("ready\n", headers=_NO_STORE)

    async def metrics(self, request: Request) -> Response:
        """Reply with every counter, if the request has the token."""
        if refusal := without_metrics_token(request, self._runtime.settings.metrics_token):
            return refusal
        return Response(exposition(self._runtime), media_type=CONTENT_TYPE, headers=_NO_STORE)

    async def not_found(self, request: Request) -> Response:
        """Reply which paths exist."""
        path = request.scope["path"]
        if self._runtime.routes.has_path(path):
            return PlainTextResponse(
                f"{path} is a WebSocket: Plivo connects to it\n",
                426,
                headers={"upgrade": "websocket", "connection": "upgrade"},
            )
        if path == "/metrics":
            return PlainTextResponse("there are no metrics here: see --metrics and --admin\n", 404)
        return PlainTextResponse(
            f"Not Found: there is {', '.join(PATHS)}, /healthz and /readyz\n", 404
        )
