"""The webhooks that Plivo calls.

=============  =================================================================================
``/answer``    replies with XML that streams the call to this server
``/fallback``  the same, after ``/answer`` did not reply; the caller always hears something
``/resume``    tells what a call does after its stream, with the setting ``resume_calls``
``/hangup``    a call has ended: no more streams of it are accepted
``/status``    an event of a stream, passed to its handler once
=============  =================================================================================

Each takes GET and POST, and acts on the request's fields rather than its path: if no other URL is
set, Plivo sends everything to the answer URL, and a stream in reply to a hang-up would belong to a
call that has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeAlias
from urllib.parse import quote

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from mediaserver.plivo.callbacks import (
    AnswerRequest,
    Callback,
    CallbackError,
    HangupRequest,
    StreamStatusRequest,
    UnknownEventError,
    parse_callback,
)
from mediaserver.plivo.signatures import SignatureError, form_params
from mediaserver.server.answer import NOTHING, AnswerError, WebhookReply, busy, claimed, decided
from mediaserver.server.form_fields import form_fields
from mediaserver.server.resumption import resume
from mediaserver.server.runtime import Runtime
from mediaserver.server.trust.proxy import base_url, origin
from mediaserver.server.trust.seen import SEEN_HEADER, seen_request
from mediaserver.server.trust.tokens import RESUME_PARAMETER


log = structlog.get_logger(__name__)

PATHS: Final = ("/answer", "/fallback", "/resume", "/hangup", "/status")

_FORM: Final = "application/x-www-form-urlencoded"
_MAX_FIELDS: Final = 256
"""Fields of a form or a query; each takes memory beyond its text. Plivo sends a few dozen."""
_NO_STORE: Final = {"cache-control": "no-store"}

_START_WAIT: Final = 10.0
"""Seconds that a request waits for a server that is starting. Plivo waits 15 for the XML."""

_Take: TypeAlias = Callable[[dict[str, str], str, str | None], Awaitable[WebhookReply]]
"""Takes a request's fields, the server's URL and the path in the query; returns the reply."""


class WebhookEndpoints:
    """The endpoints of Plivo's webhooks."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._warned = False

    async def answer(self, request: Request) -> Response:
        """Reply to ``/answer``."""
        return await self._reply(request, self._take)

    async def fallback(self, request: Request) -> Response:
        """Reply to ``/fallback``."""
        return await self._reply(request, self._take_anyhow)

    async def resume(self, request: Request) -> Response:
        """Reply to ``/resume``."""
        return await self._reply(request, partial(self._take_resumed, request))

    async def hangup(self, request: Request) -> Response:
        """Take a hang-up."""
        return await self._reply(request, self._take_hangup)

    async def status(self, request: Request) -> Response:
        """Take an event of a stream."""
        return await self._reply(request, self._take_status)

    async def _reply(self, request: Request, take: _Take) -> Response:
        runtime = self._runtime
        kinds = runtime.counters.webhooks
        is_signed = False
        try:
            query = request.scope["query_string"].decode("latin-1")
            base = self._base_url(request)
            form = await _form(request)
            if not runtime.started.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_START_WAIT):
                        await runtime.started.wait()
            if runtime.signatures is not None:
                url = f"{base}{_raw_path(request)}" + (f"?{query}" if query else "")
                runtime.signatures.verify_webhook(
                    request.headers.items(), request.method, url, form_params(form)
                )
                is_signed = True
            fields = dict(_parse(query))
            path = fields.pop("path", None)
            fields.update(form)
            reply = await take(fields, base, path)
        except SignatureError as error:
            kinds["forbidden"] += 1
            runtime.counters.refuse("signature")
            self._log_refused(request, 403, error)
            return PlainTextResponse(f"{error}\n", 403)
        except UnknownEventError as error:
            # An error would only make Plivo send it again.
            runtime.refusals.note("webhook passed over", reason=str(error))
            reply = WebhookReply(NOTHING, "ignored")
        except (AnswerError, CallbackError) as error:
            kinds["malformed"] += 1
            self._log_refused(request, 400, error)
            told = {SEEN_HEADER: self._seen(request)} if is_signed else None
            return PlainTextResponse(f"{error}\n", 400, headers=told)
        except ClientDisconnect:
            kinds["malformed"] += 1
            self._log_refused(request, 400, "the request was cut short")
            return PlainTextResponse("the request was cut short\n", 400)
        kinds[reply.kind] += 1
        if reply.kind in ("busy", "rejected"):
            runtime.counters.refuse(reply.kind)
        return Response(reply.xml, media_type="application/xml", headers=_NO_STORE)

    def _seen(self, request: Request) -> str:
        return seen_request(
            request.headers.items(),
            client_host=request.client.host if request.client else "",
            secure=request.scope["scheme"] == "https",
            trusted=self._runtime.settings.trusted_proxies,
        )

    def _log_refused(self, request: Request, status: int, reason: object) -> None:
        peer = request.client.host if request.client else ""
        trusted = self._runtime.settings.trusted_proxies
        client = origin(request.headers.items(), client_host=peer, secure=False, trusted=trusted)
        self._runtime.refusals.note(
            "webhook refused",
            status=status,
            reason=str(reason),
            method=request.method,
            path=request.scope["path"],
            client=client.client,
        )

    async def _take(self, fields: dict[str, str], base: str, path: str | None) -> WebhookReply:
        callback = parse_callback(fields)
        if isinstance(callback, AnswerRequest):
            reply = await claimed(self._runtime, callback, base, path)
            if reply.kind != "ended":
                self._runtime.told(callback)
            return await decided(self._runtime, callback, reply)
        return self._note(callback)

    async def _take_anyhow(
        self, fields: dict[str, str], base: str, path: str | None
    ) -> WebhookReply:
        try:
            return await self._take(fields, base, path)
        except CallbackError:
            raise
        except Exception:
            log.exception("fallback failed, the caller hears the busy message")
            return busy(self._runtime.settings)

    async def _take_resumed(
        self, request: Request, fields: dict[str, str], base: str, path: str | None
    ) -> WebhookReply:
        token = request.query_params.get(RESUME_PARAMETER)
        if token is None:
            raise AnswerError(
                "the token is missing: /resume is only for the XML of /answer, with --resume-calls"
            )
        callback = parse_callback(fields)
        if not isinstance(callback, AnswerRequest):
            return self._note(callback)
        reply = await resume(self._runtime, callback, base, token)
        if reply.kind == "resumed":
            self._runtime.told(callback)
        return reply

    async def _take_hangup(
        self, fields: dict[str, str], base: str, path: str | None
    ) -> WebhookReply:
        callback = parse_callback(fields)
        if isinstance(callback, AnswerRequest):
            # A request without an event counts as a hang-up here.
            callback = HangupRequest.parse(fields)
        return self._note(callback)

    async def _take_status(
        self, fields: dict[str, str], base: str, path: str | None
    ) -> WebhookReply:
        callback = parse_callback(fields)
        if isinstance(callback, AnswerRequest):
            raise CallbackError(
                "StreamID is missing: Plivo sends CallUUID, StreamID and Event to a status"
                " callback URL"
            )
        return self._note(callback)

    def _note(self, callback: Callback) -> WebhookReply:
        if not self._runtime.told(callback):
            kind = "repeated"
        elif isinstance(callback, StreamStatusRequest):
            kind = "status"
        elif isinstance(callback, HangupRequest):
            kind = "ended"
        else:
            kind = "ignored"
        return WebhookReply(NOTHING, kind)

    def _base_url(self, request: Request) -> str:
        settings = self._runtime.settings
        if settings.public_url is not None:
            return settings.public_url
        url = base_url(
            None,
            request.headers.items(),
            client_host=request.client.host if request.client else "",
            secure=request.scope["scheme"] == "https",
            trusted=settings.trusted_proxies,
        )
        if url is None:
            raise AnswerError("the Host header is missing or invalid; set --public-url")
        if not self._warned:
            self._warned = True
            log.warning(
                "public URL not set",
                believing=url,
                hint="set --public-url: a stream URL should not hang on a header anyone can send",
            )
        return url


def _raw_path(request: Request) -> str:
    """Return the path as written in the request, which is what Plivo signs."""
    raw: bytes | None = request.scope.get("raw_path")
    if raw is None:
        return quote(request.scope["path"], safe="/%:@!$&'()*+,;=~")
    return raw.decode("latin-1")


async def _form(request: Request) -> Sequence[tuple[str, str]]:
    if request.method != "POST":
        return ()
    kind = request.headers.get("content-type", _FORM).partition(";")[0].strip().lower()
    body = await request.body()
    if body and kind != _FORM:
        raise AnswerError(f"the body is {kind or 'of no type'}; Plivo sends {_FORM}")
    return _parse(body.decode("utf-8", "replace"))


def _parse(text: str) -> Sequence[tuple[str, str]]:
    if text.count("&") >= _MAX_FIELDS:
        raise AnswerError(f"the request has more than {_MAX_FIELDS} fields")
    return form_fields(text)
