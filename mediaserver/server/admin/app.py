"""The admin listener's HTTP application.

==============================  ====================================================================
``GET /calls``                  live calls: ``number``, ``handler``, ``state``; ``limit``, ``after``
``GET /calls/{id}``             one of them, by the id of the call or of its stream
``GET /calls/{id}/trace``       a line for each thing that happens in it, as it happens; ``audio``,
                                ``from``
``POST /calls/{id}/hangup``     end the call
``POST /calls/{id}/say``        ``{"text": …}``: have the handler say it
``POST /calls/{id}/clear``      take back the audio that the caller has not heard
``POST /calls/{id}/transfer``   ``{"url": …}``: continue the call with the XML there
``GET /past``                   calls that have ended: ``number``, ``handler``, ``cause``,
                                ``since``, ``until``, ``bad``; ``limit``, ``after``
``GET /past/{id}/trace``        the same lines of one whose wire was captured; ``audio``
``GET /past/{id}/recording``    the audio file that its record names
``GET /view/``                  a page that shows all of these calls, in a browser
``GET /workers``                the processes that take calls
``GET /nodes``                  the machines that take calls
``POST /nodes/{id}/drain``      take no new calls, and stop once the last one is over
``POST /reload``                what SIGHUP does
``GET /healthz /readyz``        as on the port of the calls
``GET /metrics``                Prometheus' text format
==============================  ====================================================================

Everything but the page and the last two rows is JSON. An error is ``{"error": …, "hint": …}``: what
is wrong, and what would be right.
"""

from __future__ import annotations

from typing import Final

from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mediaserver.server.admin.access import VIEW, Access, client_of
from mediaserver.server.admin.audit import AuditLog
from mediaserver.server.admin.directory import Directory
from mediaserver.server.admin.health_endpoints import HealthEndpoints
from mediaserver.server.admin.operator_endpoints import OperatorEndpoints
from mediaserver.server.admin.page_files import PageFacts, page_routes
from mediaserver.server.admin.past_calls import PastCalls
from mediaserver.server.admin.past_endpoints import PastEndpoints
from mediaserver.server.admin.quiet_refusals import QuietRefusals
from mediaserver.server.admin.requests import AdminError
from mediaserver.server.admin.responses import json_response
from mediaserver.settings import Settings


_ENDPOINTS: Final = (
    "GET /calls, /calls/{id}, /calls/{id}/trace, /past, /past/{id}/trace and /recording, /view/,"
    " /workers, /nodes, /healthz, /readyz and /metrics,"
    " and POST /calls/{id}/hangup, /say, /clear and /transfer, /nodes/{id}/drain and /reload"
)


def create_admin_app(
    directory: Directory, settings: Settings, *, access: Access | None = None
) -> Starlette:
    """Make the ASGI application of the admin listener.

    Args:
        directory: knows the calls.
        settings: say who has access, whether personal data is shown, and whether calls are heard.
        access: decides who has access, if not the settings.

    """
    audit = AuditLog(personal_data=settings.admin_personal_data)
    operator = OperatorEndpoints(directory, audit, personal_data=settings.admin_personal_data)
    health = HealthEndpoints(directory)
    past = PastCalls(settings)
    ended = PastEndpoints(
        past,
        directory,
        audit,
        personal_data=settings.admin_personal_data,
        listen_in=settings.admin_listen_in,
    )

    access = access or Access.of(settings)

    def facts(request: Request) -> PageFacts:
        if access.wants_token(request):
            return PageFacts(mode="view", title="Calls", token=True)
        return PageFacts(
            mode="view",
            title="Calls",
            audio=settings.admin_listen_in,
            words=settings.admin_personal_data,
            past=bool(past),
            records=past.records,
        )

    return Starlette(
        routes=[
            *health.routes(metrics=settings.metrics != "off"),
            Route("/calls", operator.calls),
            Route("/calls/{id}", operator.call),
            Route("/calls/{id}/trace", operator.trace),
            Route("/calls/{id}/{action}", operator.command, methods=["POST"]),
            Route("/past", ended.calls),
            Route("/past/{id}/trace", ended.trace),
            Route("/past/{id}/recording", ended.recording),
            Mount(VIEW, routes=page_routes(facts)),
            Route("/workers", operator.workers),
            Route("/nodes", operator.nodes),
            Route("/nodes/{id}/drain", operator.drain, methods=["POST"]),
            Route("/reload", operator.reload, methods=["POST"]),
        ],
        middleware=[Middleware(QuietRefusals), Middleware(_Guard, access=access, audit=audit)],
        exception_handlers={
            AdminError: _tell,
            404: _not_found,
            405: _wrong_method,
            Exception: _failed,
        },
    )


def create_metrics_app(directory: Directory, metrics_token: SecretStr | None) -> Starlette:
    """Make the ASGI application of the port that metrics may have of their own."""
    return Starlette(routes=HealthEndpoints(directory, metrics_token).routes(metrics=True))


class _Guard:
    """Lets in who has access."""

    def __init__(self, app: ASGIApp, *, access: Access, audit: AuditLog) -> None:
        self._app = app
        self._access = access
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope)
            denied = self._access.check(request)
            if denied is not None:
                by = client_of(request)
                self._audit.denied(by, request.method, scope["path"], denied.reason)
                headers = {"www-authenticate": "Bearer"} if denied.status == 401 else {}
                body = {"error": denied.reason, "hint": denied.hint}
                await json_response(body, denied.status, headers)(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def _tell(request: Request, error: Exception) -> Response:
    assert isinstance(error, AdminError)
    return json_response(error.body, error.status)


async def _not_found(request: Request, error: Exception) -> Response:
    path = request.scope["path"][:100]
    return json_response({"error": f"there is no {path}", "hint": f"there is {_ENDPOINTS}"}, 404)


async def _wrong_method(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = error.headers or {}
    allowed = headers.get("Allow", "")
    body = {"error": f"{request.method} is not for this path", "hint": f"it takes {allowed}"}
    return json_response(body, 405, headers)


async def _failed(request: Request, error: Exception) -> Response:
    return json_response(
        {"error": "this server failed to answer", "hint": "its log has the traceback"}, 500
    )
