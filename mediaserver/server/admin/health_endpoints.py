"""Health and metrics, as the listeners beside that of the calls answer them."""

from __future__ import annotations

from typing import Final

from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from mediaserver.server.admin.directory import Directory
from mediaserver.server.trust.bearer import is_bearer
from mediaserver.telemetry.metrics import CONTENT_TYPE


_NO_STORE: Final = {"cache-control": "no-store"}


class HealthEndpoints:
    """Health and metrics of everything that a directory knows.

    Args:
        directory: knows it.
        metrics_token: what a request for metrics must have; None for nothing.

    """

    def __init__(self, directory: Directory, metrics_token: SecretStr | None = None) -> None:
        self._directory = directory
        self._metrics_token = metrics_token

    def routes(self, *, metrics: bool) -> list[Route]:
        """Return the routes."""
        return [
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            *([Route("/metrics", self.metrics)] if metrics else []),
        ]

    async def healthz(self, request: Request) -> Response:
        """Reply that the process is alive."""
        return PlainTextResponse("ok\n", headers=_NO_STORE)

    async def readyz(self, request: Request) -> Response:
        """Reply whether new calls are taken: by one worker at least."""
        workers = await self._directory.workers()
        if any(each.state == "ready" and not each.unready for each in workers):
            return PlainTextResponse("ready\n", headers=_NO_STORE)
        lines = [
            f"not ready: {name}: {reason}\n"
            for each in workers
            for name, reason in each.unready.items()
        ]
        text = "".join(dict.fromkeys(lines)) or "not ready\n"
        return PlainTextResponse(text, 503, headers=_NO_STORE)

    async def metrics(self, request: Request) -> Response:
        """Reply with every metric, if the request has the token."""
        if refusal := without_metrics_token(request, self._metrics_token):
            return refusal
        body = await self._directory.metrics()
        return Response(body, media_type=CONTENT_TYPE, headers=_NO_STORE)


def without_metrics_token(request: Request, token: SecretStr | None) -> Response | None:
    """Return the response to a request for metrics that does not have their token, or None."""
    given = request.headers.get("authorization", "")
    if token is None or is_bearer(given, [token.get_secret_value()]):
        return None
    return PlainTextResponse(
        "/metrics needs the token of --metrics-token: Authorization: Bearer TOKEN\n",
        401,
        headers={"www-authenticate": "Bearer"} | _NO_STORE,
    )
