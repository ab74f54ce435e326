"""How the endpoints are reached and answered: paths, bodies, and the exchange they work on."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Annotated, Any, Final, TypeAlias
from uuid import uuid4

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from mediaserver.sandbox.api.body import as_json
from mediaserver.sandbox.calls.call import SandboxCall
from mediaserver.sandbox.calls.exchange import Exchange
from mediaserver.sandbox.records.records import CallRecord


ACCOUNT: Final = "/v1/Account/{auth_id}"
"""Path of the account, which all of Plivo's paths begin with."""


class PlivoResponse(JSONResponse):
    """JSON with an `api_id`, as all of Plivo's responses have it."""

    def render(self, content: Mapping[str, Any] | None) -> bytes:
        """Return the body; an `api_id` in the content is kept."""
        return super().render({"api_id": str(uuid4()), **(content or {})})


class _Route(APIRoute):
    """Reads parameters from JSON, an URL-encoded form or a multipart form."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def handle_json(request: Request) -> Response:
            return await handle(await as_json(request))

        return handle_json


class PlivoRouter(APIRouter):
    """Answers as Plivo does, at each path with a final slash, as documented, and without."""

    def __init__(self, prefix: str, tag: str) -> None:
        super().__init__(
            prefix=prefix, tags=[tag], route_class=_Route, default_response_class=PlivoResponse
        )

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Add an endpoint at both forms of a path. Its response has the fields that it sets."""
        options["response_model_exclude_unset"] = True
        super().add_api_route(path, endpoint, **options)
        options["include_in_schema"] = False
        super().add_api_route(path.removesuffix("/"), endpoint, **options)


async def _exchange(request: Request) -> Exchange:
    exchange: Exchange = request.app.state.exchange
    return exchange


Ex: TypeAlias = Annotated[Exchange, Depends(_exchange)]
"""The exchange, as a parameter of an endpoint."""


async def require_account(exchange: Ex, auth_id: str) -> None:
    """Refuse a path that names another account."""
    if auth_id != exchange.services.account.auth_id:
        raise HTTPException(401, f"the credentials are not those of account {auth_id:.40}")


def call_record(exchange: Exchange, call_uuid: str) -> CallRecord:
    """Return the record of a call, live or ended, or raise a 404."""
    record = exchange.records.calls.get(call_uuid)
    if record is None:
        raise HTTPException(404, f"call not found: {call_uuid:.60}")
    return record


def live_call(exchange: Exchange, call_uuid: str) -> SandboxCall:
    """Return a call that has not ended, or raise a 404."""
    call = exchange.calls.get(call_uuid)
    if call is None or call.over:
        raise HTTPException(404, f"call not found: {call_uuid:.60} is not a live call")
    return call


def answered_call(exchange: Exchange, call_uuid: str) -> SandboxCall:
    """Return a live call that has been answered, and so has a line, or raise a 404."""
    call = live_call(exchange, call_uuid)
    if call.line is None:
        raise HTTPException(404, f"call not found: {call_uuid:.60} has not been answered yet")
    return call
