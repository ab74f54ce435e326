"""The admin listener's HTTP application.

==============================  ====================================================================
``GET /calls``                  live calls: ``number``, ``handler``, ``state``; ``limit``, ``after``
``GET /calls/{id}``             one of them, by the id of the call or of its stream
``POST /calls/{id}/hangup``     end the call
``POST /calls/{id}/say``        ``{"text": …}``: have the handler say it
``POST /calls/{id}/clear``      take back the audio that the caller has not heard
``POST /calls/{id}/transfer``   ``{"url": …}``: continue the call with the XML there
``GET /workers``                the processes that take calls
``GET /nodes``                  the machines that take calls
``POST /nodes/{id}/drain``      take no new calls, and stop once the last one is over
``POST /reload``                what SIGHUP does
``GET /healthz /readyz``        as on the port of the calls
``GET /metrics``                Prometheus' text format
==============================  ====================================================================

Everything but the last two rows is JSON. An error is ``{"error": …, "hint": …}``: what is wrong,
and what would be right.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar, get_args

import msgspec
import structlog
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mediaserver.plivo.numbers import phone_key
from mediaserver.server.admin.access import Access, client_of
from mediaserver.server.admin.audit import AuditLog
from mediaserver.server.admin.commands import (
    MOST_CALLS,
    Action,
    CallCommand,
    CallEntry,
    CallFilter,
    CallPage,
    Delivery,
    DeliveryStatus,
    unknown_call,
)
from mediaserver.server.admin.directory import Directory
from mediaserver.server.runtime import CallState
from mediaserver.server.trust.bearer import is_bearer
from mediaserver.settings import Settings
from mediaserver.settings.values import read_redirect
from mediaserver.telemetry.metrics import CONTENT_TYPE


log = structlog.get_logger(__name__)

LONGEST_TEXT: Final = 2_000
"""Most characters that an operator can have said at once: about two minutes of speech."""

_FEW_CALLS: Final = 50
"""Calls on one page, if the request does not say how many."""

_NO_STORE: Final = {"cache-control": "no-store"}

OUTCOMES: Final[Mapping[DeliveryStatus, int]] = {
    "done": 200,
    "begun": 202,
    "unknown_call": 404,
    "unknown_node": 404,
    "refused": 409,
    "too_many": 429,
    "unable": 501,
    "failed": 502,
    "not_delivered": 503,
}
"""The HTTP status for each thing that may become of a command."""

_ENDPOINTS: Final = (
    "GET /calls, /calls/{id}, /workers, /nodes, /healthz, /readyz and /metrics, and"
    " POST /calls/{id}/hangup, /say, /clear and /transfer, /nodes/{id}/drain and /reload"
)

_Fields = TypeVar("_Fields", bound=msgspec.Struct)


class AdminError(Exception):
    """A request that cannot be answered as it is."""

    def __init__(self, status: int, error: str, hint: str, **more: Any) -> None:
        super().__init__(error)
        self.status = status
        self.body = {"error": error, "hint": hint, **more}


_SAY: Final = '{"text": "One moment, please."}'
_TRANSFER: Final = '{"url": "https://example.com/agent.xml"}'


class _Say(msgspec.Struct, forbid_unknown_fields=True):
    text: str


class _Transfer(msgspec.Struct, forbid_unknown_fields=True):
    url: str


def create_admin_app(
    directory: Directory, settings: Settings, *, access: Access | None = None
) -> Starlette:
    """Make the ASGI application of the admin listener.

    Args:
        directory: knows the calls.
        settings: say who has access, and whether personal data is shown.
        access: decides who has access, if not the settings.

    """
    audit = AuditLog(personal_data=settings.admin_personal_data)
    operator = _Operator(directory, audit, personal_data=settings.admin_personal_data)
    health = HealthEndpoints(directory)
    return Starlette(
        routes=[
            *health.routes(metrics=settings.metrics != "off"),
            Route("/calls", operator.calls),
            Route("/calls/{id}", operator.call),
            Route("/calls/{id}/{action}", operator.command, methods=["POST"]),
            Route("/workers", operator.workers),
            Route("/nodes", operator.nodes),
            Route("/nodes/{id}/drain", operator.drain, methods=["POST"]),
            Route("/reload", operator.reload, methods=["POST"]),
        ],
        middleware=[Middleware(_Guard, access=access or Access.of(settings), audit=audit)],
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


class _Operator:
    """The endpoints for operators."""

    def __init__(self, directory: Directory, audit: AuditLog, *, personal_data: bool) -> None:
        self._directory = directory
        self._audit = audit
        self._personal_data = personal_data

    async def calls(self, request: Request) -> Response:
        """List live calls."""
        wanted = _filter(request)
        page = await self._directory.calls(wanted)
        body: dict[str, Any] = {"calls": [self._shown(each) for each in page.calls]}
        body["total"] = page.total
        more = len(page.calls) == wanted.limit and page.calls
        body["next"] = page.calls[-1].cursor if more else None
        if page.silent:
            body["silent"] = page.silent
        return _json(body)

    async def call(self, request: Request) -> Response:
        """Return one live call."""
        call = request.path_params["id"]
        page = await self._directory.calls(CallFilter(call=call))
        if len(page.calls) == 1:
            return _json(self._shown(page.calls[0]))
        raise _no_such_call(call, page)

    async def command(self, request: Request) -> Response:
        """Have a command carried out."""
        call, action = request.path_params["id"], request.path_params["action"]
        if action not in get_args(Action):
            raise AdminError(
                404,
                f"there is no action {action!r}",
                f"there is {', '.join(get_args(Action))}",
            )
        command = CallCommand(action, call)
        if action == "say":
            said = await _body(request, _Say, _SAY)
            command = CallCommand(action, call, text=_text(said.text))
        elif action == "transfer":
            command = CallCommand(
                action, call, url=_url((await _body(request, _Transfer, _TRANSFER)).url)
            )
        elif await request.body():
            raise AdminError(422, f"{action} takes no body", "leave it out")
        delivery = await self._directory.send(command)
        self._audit.command(client_of(request), command, delivery)
        return _answer(delivery, call=call)

    async def workers(self, request: Request) -> Response:
        """List the processes of this machine."""
        return _json({"workers": msgspec.to_builtins(await self._directory.workers())})

    async def nodes(self, request: Request) -> Response:
        """List the machines."""
        return _json({"nodes": msgspec.to_builtins(await self._directory.nodes())})

    async def drain(self, request: Request) -> Response:
        """Drain a machine."""
        node = request.path_params["id"]
        delivery = await self._directory.drain(node)
        self._audit.server(client_of(request), "drain", delivery, node=node)
        return _answer(delivery, node=node)

    async def reload(self, request: Request) -> Response:
        """Reload this machine's server."""
        delivery = await self._directory.reload()
        self._audit.server(client_of(request), "reload", delivery)
        return _answer(delivery)

    def _shown(self, entry: CallEntry) -> dict[str, Any]:
        shown: dict[str, Any] = msgspec.to_builtins(entry)
        del shown["cursor"]
        if entry.started_at is not None:
            at = datetime.fromtimestamp(entry.started_at, UTC)
            shown["started_at"] = at.isoformat(timespec="milliseconds")
        if not self._personal_data:
            shown["caller"] = masked(entry.caller)
            shown["called"] = masked(entry.called)
        return shown


def masked(number: str | None) -> str | None:
    """Return what of a number may be shown: its last four digits."""
    if number is None:
        return None
    key = phone_key(number) or ""
    return f"…{key[-4:]}" if key.isdecimal() and len(key) > 6 else "…"


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
                await _json(body, denied.status, headers)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _filter(request: Request) -> CallFilter:
    given = dict(request.query_params)
    wrong = [name for name in given if name not in ("number", "handler", "state", "limit", "after")]
    if wrong:
        raise AdminError(
            422,
            f"there is no filter {wrong[0][:60]!r}",
            "there is number, handler, state, limit and after",
        )
    number = given.get("number", "")
    if number and phone_key(number) is None:
        raise AdminError(
            422,
            f"{number[:60]!r} is not a phone number",
            "write it with its country code, such as 14155550100, or as a SIP address",
        )
    state = given.get("state", "")
    if state and state not in get_args(CallState):
        raise AdminError(
            422, f"there is no state {state[:60]!r}", f"there is {', '.join(get_args(CallState))}"
        )
    limit = given.get("limit", str(_FEW_CALLS))
    if not limit.isdecimal() or not 1 <= int(limit[:9]) <= MOST_CALLS:
        raise AdminError(
            422,
            f"limit is {limit[:60]!r}",
            f"it is a number from 1 to {MOST_CALLS}; next leads to further calls, as after",
        )
    return CallFilter(
        number=number,
        handler=given.get("handler", ""),
        state=msgspec.convert(state, type=CallState) if state else "",
        limit=int(limit),
        after=given.get("after", ""),
    )


async def _body(request: Request, kind: type[_Fields], example: str) -> _Fields:
    try:
        body = await request.body()
    except ClientDisconnect:
        raise AdminError(400, "the request was cut short", "send it again") from None
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise AdminError(422, str(error), f"send a body such as {example}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        what = f"the body is not JSON: {error}" if body else "there is no body"
        raise AdminError(400, what, f"send a body such as {example}") from None


def _text(given: str) -> str:
    text = given.strip()
    if not text:
        raise AdminError(422, "text is empty", "it is what the caller is to hear")
    if len(text) > LONGEST_TEXT:
        raise AdminError(
            422, f"text has {len(text)} characters", f"it has at most {LONGEST_TEXT}; send parts"
        )
    return text


def _url(given: str) -> str:
    try:
        url = read_redirect(given)
    except ValueError as error:
        raise AdminError(422, f"url {error}", f"send a body such as {_TRANSFER}") from None
    if url is None:
        raise AdminError(422, "url is empty", f"send a body such as {_TRANSFER}")
    return url


def _no_such_call(call: str, page: CallPage) -> AdminError:
    if page.calls:
        ids = ", ".join(each.stream_id or "?" for each in page.calls)
        return AdminError(
            409, f"call {call} has {len(page.calls)} streams", f"ask for one of them: {ids}"
        )
    if page.silent:
        return AdminError(
            503,
            f"no live call or stream with the id {call!r} is known, but not all workers answered",
            f"GET /workers shows those that did not: {', '.join(page.silent)}",
        )
    unknown = unknown_call(call)
    return AdminError(404, unknown.detail, unknown.hint)


def _answer(delivery: Delivery, **about: str) -> Response:
    status = OUTCOMES[delivery.status]
    if status < 400:
        body = {"outcome": delivery.status, "detail": delivery.detail, **about}
    else:
        body = {"error": delivery.detail, "hint": delivery.hint, "outcome": delivery.status}
    return _json(body | about, status)


def _json(body: object, status: int = 200, headers: Mapping[str, str] = _NO_STORE) -> Response:
    text = msgspec.json.format(msgspec.json.encode(body), indent=2)
    return Response(text + b"\n", status, {**headers, **_NO_STORE}, media_type="application/json")


async def _tell(request: Request, error: Exception) -> Response:
    assert isinstance(error, AdminError)
    return _json(error.body, error.status)


async def _not_found(request: Request, error: Exception) -> Response:
    path = request.scope["path"][:100]
    return _json({"error": f"there is no {path}", "hint": f"there is {_ENDPOINTS}"}, 404)


async def _wrong_method(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = error.headers or {}
    allowed = headers.get("Allow", "")
    body = {"error": f"{request.method} is not for this path", "hint": f"it takes {allowed}"}
    return _json(body, 405, headers)


async def _failed(request: Request, error: Exception) -> Response:
    return _json(
        {"error": "this server failed to answer", "hint": "its log has the traceback"}, 500
    )
