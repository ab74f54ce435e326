"""Plivo's REST API over an `Exchange`: the application, its gate, and its errors."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from functools import cache, partial
from typing import Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from mediaserver.sandbox.account import Account, RateLimiter
from mediaserver.sandbox.api.body import BodyError, explained
from mediaserver.sandbox.api.calls import call_routes
from mediaserver.sandbox.api.description import BASIC, DescribedApi, errors
from mediaserver.sandbox.api.live_calls import live_call_routes, recording_routes
from mediaserver.sandbox.api.numbers import number_routes
from mediaserver.sandbox.api.phones import phone_routes
from mediaserver.sandbox.api.routing import PlivoResponse, require_account
from mediaserver.sandbox.api.streams import stream_routes
from mediaserver.sandbox.calls.exchange import Exchange
from mediaserver.sandbox.calls.streams import StreamRefusedError
from mediaserver.sandbox.errors import (
    CallLimitError,
    NotInProgressError,
    TransferLimitError,
    UnknownNumberError,
)
from mediaserver.sandbox.people.person import ScriptError


_STATUSES: Final[Mapping[type[Exception], int]] = {
    BodyError: 400,
    ScriptError: 400,
    StreamRefusedError: 400,
    TransferLimitError: 400,
    CallLimitError: 403,
    NotInProgressError: 404,
    UnknownNumberError: 404,
}
# Starlette's words for a path or method that does not exist, in Plivo's style.
_DETAILS: Final = {"Not Found": "not found", "Method Not Allowed": "method not allowed"}


_GATE: Final = (Depends(BASIC), Depends(require_account))


def create_api(exchange: Exchange, limiter: RateLimiter | None = None) -> DescribedApi:
    """Make the application that serves the API of an exchange."""
    app = DescribedApi(
        title="Plivo sandbox",
        description="Plivo's REST API for calls and audio streams, on your own machine.",
        version="1",
        docs_url="/docs",
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.exchange = exchange
    app.add_middleware(Gate, account=exchange.services.account, limiter=limiter or RateLimiter())
    app.router.routes += _routes()
    app.add_exception_handler(HTTPException, _refuse_request)
    app.add_exception_handler(RequestValidationError, _refuse_parameters)
    for kind, status in _STATUSES.items():
        app.add_exception_handler(kind, partial(_refuse, status))
    # Starlette raises an unexpected exception again after the response, for the log.
    app.add_exception_handler(Exception, _fail)
    return app


@cache
def _routes() -> list[BaseRoute]:
    """Return the routes, the same for every application: FastAPI takes long to make them."""
    # FastAPI documents its own error 422 where no default is given.
    router = APIRouter(responses=errors("default"))
    for routes in (call_routes, live_call_routes, stream_routes, number_routes):
        router.include_router(routes, dependencies=_GATE, responses=errors(401, 429))
    router.include_router(phone_routes, dependencies=_GATE[:1], responses=errors(401, 429))
    router.include_router(recording_routes)
    return router.routes


class Gate:
    """Middleware that checks credentials and the rate limit of everything below `/v1/`.

    It comes before the body is read, and before anyone learns which paths exist.
    """

    def __init__(self, app: ASGIApp, account: Account, limiter: RateLimiter) -> None:
        self._app = app
        self._account = account
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        app = self._app
        if scope["type"] == "http" and scope["path"].startswith("/v1/"):
            app = self._refusal(Headers(scope=scope)) or app
        await app(scope, receive, send)

    def _refusal(self, headers: Headers) -> Response | None:
        if not self._account.admits(headers.get("authorization")):
            return _error(
                401,
                "Could not verify your access level for that URL."
                " You have to login with proper credentials: auth id and auth token",
                {"WWW-Authenticate": 'Basic realm="Plivo API"'},
            )
        wait = self._limiter.admit(asyncio.get_running_loop().time())
        if wait:
            retry_after = {"Retry-After": str(math.ceil(wait))}
            return _error(429, f"rate limit exceeded: {self._limiter}", retry_after)
        return None


def _error(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    return PlivoResponse({"error": text}, status, headers=headers)


async def _refuse_request(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = _DETAILS.get(error.detail, error.detail)
    return _error(error.status_code, text, error.headers)


async def _refuse_parameters(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _error(400, explained(error.errors()))


async def _refuse(status: int, _: Request, error: Exception) -> Response:
    text = f"5030: {error}" if isinstance(error, CallLimitError) else str(error)
    return _error(status, text)


async def _fail(_: Request, error: Exception) -> Response:
    return _error(500, "internal error")
