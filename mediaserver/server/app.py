"""The HTTP side: health, metrics, and the answer webhook.

=============  =================================================================================
``/healthz``   200 as long as the process answers
``/readyz``    200 while new calls are welcome, 503 from the moment the server is asked to stop
``/metrics``   Prometheus' text format
``/answer``    Plivo's answer URL, GET and POST: XML that streams the call to this server
=============  =================================================================================

A server that is full stays ready: its ``/answer`` is what tells callers so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from mediaserver.server.answer import AnswerError, answer
from mediaserver.server.proxy import origin
from mediaserver.telemetry.metrics import CONTENT_TYPE, exposition


if TYPE_CHECKING:
    from mediaserver.server.runtime import Runtime

log = structlog.get_logger(__name__)

_FORM: Final = "application/x-www-form-urlencoded"
_NO_STORE: Final = {"cache-control": "no-store"}


def create_app(runtime: Runtime) -> Starlette:
    """Make the ASGI application of a server."""
    endpoints = Endpoints(runtime)
    return Starlette(
        routes=[
            Route("/healthz", endpoints.healthz),
            Route("/readyz", endpoints.readyz),
            Route("/metrics", endpoints.metrics),
            Route("/answer", endpoints.answer, methods=["GET", "POST"]),
        ],
        exception_handlers={404: endpoints.not_found},
    )


class Endpoints:
    """What each path replies."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._warned = False

    async def healthz(self, request: Request) -> Response:
        """Say that the process is alive."""
        return PlainTextResponse("ok\n", headers=_NO_STORE)

    async def readyz(self, request: Request) -> Response:
        """Say whether new calls are welcome."""
        if self._runtime.draining or not self._runtime.ready:
            return PlainTextResponse("not ready\n", 503, headers=_NO_STORE)
        return PlainTextResponse("ready\n", headers=_NO_STORE)

    async def metrics(self, request: Request) -> Response:
        """Show every counter."""
        return Response(exposition(self._runtime), media_type=CONTENT_TYPE, headers=_NO_STORE)

    async def answer(self, request: Request) -> Response:
        """Tell Plivo what to do with a call."""
        webhooks = self._runtime.counters.webhooks
        try:
            # Not request.url: it is built with the Host header, which may be anything.
            query = request.scope["query_string"].decode("latin-1")
            fields = dict(parse_qsl(query, keep_blank_values=True))
            path = fields.pop("path", None)
            fields.update(await _form(request))
            reply = answer(self._runtime, fields, self._base_url(request), path)
        except AnswerError as error:
            webhooks["malformed"] += 1
            return PlainTextResponse(f"{error}\n", 400)
        except ClientDisconnect:
            return PlainTextResponse("the request was cut short\n", 400)
        webhooks[reply.kind] += 1
        if reply.kind in ("busy", "rejected"):
            self._runtime.counters.refuse(reply.kind)
        return Response(reply.xml, media_type="application/xml", headers=_NO_STORE)

    async def not_found(self, request: Request, error: Exception) -> Response:
        """Say what is here instead."""
        path = request.scope["path"]
        if path in self._runtime.routes.paths:
            return PlainTextResponse(
                f"{path} is a WebSocket: Plivo connects to it\n",
                426,
                headers={"upgrade": "websocket", "connection": "upgrade"},
            )
        detail = error.detail if isinstance(error, HTTPException) else "Not Found"
        return PlainTextResponse(
            f"{detail}: there is /answer, /healthz, /readyz and /metrics\n", 404
        )

    def _base_url(self, request: Request) -> str:
        settings = self._runtime.settings
        public_url: str | None = settings.public_url
        if public_url is not None:
            return public_url
        seen = origin(
            request.headers.items(),
            client_host=request.client.host if request.client else "",
            secure=request.scope["scheme"] == "https",
            trusted=settings.trusted_proxies,
        )
        if seen.host is None:
            raise AnswerError("the Host header is missing or no host; set --public-url")
        url = f"{'https' if seen.secure else 'http'}://{seen.host}"
        if not self._warned:
            self._warned = True
            log.warning(
                "public URL not set",
                believing=url,
                hint="set --public-url: a stream URL should not hang on a header anyone can send",
            )
        return url


async def _form(request: Request) -> dict[str, str]:
    if request.method != "POST":
        return {}
    kind = request.headers.get("content-type", _FORM).partition(";")[0].strip().lower()
    body = await request.body()
    if body and kind != _FORM:
        raise AnswerError(f"the body is {kind or 'of no type'}; Plivo sends {_FORM}")
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
