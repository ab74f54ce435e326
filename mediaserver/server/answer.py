"""The reply to ``/answer``: XML that tells Plivo what to do with a call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from typing import Final
from urllib.parse import quote
from xml.sax.saxutils import escape

import structlog
from msgspec import structs

from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.plivo.stream_options import HANG_UP, StreamOptions
from mediaserver.plivo.stream_parameters import MAX_URL
from mediaserver.plivo.xml import Hangup, Redirect, Response, Speak, Stream
from mediaserver.routes import Route
from mediaserver.server.elsewhere import PROCESS_PARAMETER
from mediaserver.server.runtime import Runtime
from mediaserver.server.trust.tokens import (
    RESUME_PARAMETER,
    TOKEN_PARAMETER,
    Claims,
    ResumeClaims,
    seal,
)
from mediaserver.settings import Settings


log = structlog.get_logger(__name__)

_UNSAID: Final = StreamOptions()
_STAND_IN: Final = "wss://stand-in.invalid/stream"
_RESUME_STAND_IN: Final = "https://stand-in.invalid/resume"
_RESUME_SECONDS: Final = 86_400
"""Seconds for which a call can be resumed: no stream is longer unless `stream_timeout` says so."""

NOTHING = Response().to_xml()
"""The XML for a request that needs no action."""


class AnswerError(ValueError):
    """The call cannot be answered; the message says why."""


@dataclass(frozen=True, slots=True)
class WebhookReply:
    """The reply to a webhook."""

    xml: bytes
    kind: str
    """Name under which it is counted, such as ``stream``, ``busy``, ``rejected`` or ``ended``."""
    streamed: Callable[[StreamOptions], bytes] | None = None
    """If the call is streamed, returns the XML for other options; ValueError if they disagree."""


def answer(
    runtime: Runtime,
    request: AnswerRequest,
    base_url: str,
    path: str | None = None,
    *,
    resumed: int = 0,
) -> WebhookReply:
    """Decide what happens to a call, and reserve a place for it if it gets a stream.

    Args:
        runtime: The server.
        request: Plivo's request.
        base_url: ``http`` or ``https`` URL by which Plivo reaches the server.
        path: Path of the stream to send the call to; by default, that of the dialled number.
        resumed: How often the call has been resumed, this time included.

    Raises:
        AnswerError: The stream's URL would be longer than Plivo allows.

    """
    call_id, called = request.call_id, request.called
    if runtime.answered.has_ended(call_id):
        # A late or repeated request: transfers and redirects come before the end of a call.
        runtime.refusals.note("call is over already", call=call_id)
        return WebhookReply(NOTHING, "ended")
    route = route_of(runtime, request, path)
    if route is None:
        runtime.refusals.note("call without a handler", call=call_id, called=called, path=path)
        return WebhookReply(Response(Hangup(reason="rejected")).to_xml(), "rejected")
    if not resumed and not all(expects(route, request) for expects in runtime.screens):
        runtime.refusals.note(
            "call that nobody waits for", call=call_id, called=called, path=route.path
        )
        return WebhookReply(Response(Hangup()).to_xml(), "rejected")
    runtime.vacate(call_id)
    if not runtime.admission.keeps(call_id) and runtime.is_full(route):
        return turned_away(runtime, call_id, f"{runtime.route_limits.of(route)} at {route.label}")
    if not runtime.admission.reserve(call_id, route.label):
        return turned_away(runtime, call_id, str(runtime.admission.limit))
    try:
        url = _stream_url(runtime, request, base_url, path or route.path)
    except AnswerError:
        runtime.admission.cancel(call_id)
        raise
    runtime.answered.add(request)
    runtime.prepared.prepare(route, request)
    status_url = f"{base_url}/status" if runtime.settings.status_callbacks else None
    levels = (route.stream, runtime.stream_options)

    def streamed(options: StreamOptions) -> bytes:
        before, after, on_end = _around_url(
            (options, *levels), status_url, resumes=runtime.settings.resume_calls > 0
        )
        if _RESUME_STAND_IN.encode() in after:
            resume_url = _resume_url(
                runtime, call_id, base_url, path or route.path, resumed, on_end
            )
            after = after.replace(_RESUME_STAND_IN.encode(), escape(resume_url).encode())
        return before + escape(url).encode() + after

    return WebhookReply(streamed(_UNSAID), "stream", streamed)


async def claimed(
    runtime: Runtime,
    request: AnswerRequest,
    base_url: str,
    path: str | None = None,
    *,
    resumed: int = 0,
) -> WebhookReply:
    """Do what `answer` does, within the limits of the fleet."""
    fleet, call_id = runtime.fleet, request.call_id
    if fleet is None:
        return answer(runtime, request, base_url, path, resumed=resumed)
    runtime.vacate(call_id)
    route = route_of(runtime, request, path)
    if route is None or not runtime.admission.may_reserve(call_id):
        return answer(runtime, request, base_url, path, resumed=resumed)
    limit = runtime.route_limits.of(route)
    try:
        reached = await fleet.claim(call_id, route.label, limit)
        if reached is None:
            return answer(runtime, request, base_url, path, resumed=resumed)
        most = runtime.settings.max_calls_account if reached == "account" else limit
        return turned_away(runtime, call_id, f"{most} of the {reached} on all nodes")
    finally:
        fleet.settle(call_id)


def route_of(runtime: Runtime, request: AnswerRequest, path: str | None) -> Route | None:
    """Return the route that a call goes to, or None."""
    routes, called = runtime.routes, request.called
    return routes.match(path, called) if path else routes.for_number(called)


def turned_away(runtime: Runtime, call_id: str, limit: str) -> WebhookReply:
    """Return the reply to a call for which a limit leaves no place."""
    runtime.refusals.note("call turned away", call=call_id, limit=limit)
    return busy(runtime.settings)


async def decided(runtime: Runtime, request: AnswerRequest, reply: WebhookReply) -> WebhookReply:
    """Return the reply with what the handler's `on_answer` says about the stream of its call."""
    if reply.streamed is None:
        return reply
    options = await runtime.prepared.options(request.call_id)
    if options is None:
        return reply
    try:
        return replace(reply, xml=reply.streamed(options))
    except ValueError as error:
        log.error("what on_answer returned is ignored", reason=str(error), call=request.call_id)
        return reply


def busy(settings: Settings) -> WebhookReply:
    """Return XML that tells the caller that all lines are busy, or redirects the call."""
    return _busy(settings.busy_redirect, settings.busy_message)


@lru_cache(maxsize=1)
def _busy(redirect: str | None, message: str) -> WebhookReply:
    if redirect is not None:
        response = Response(Redirect(redirect))
    elif message:
        response = Response(Speak(message), Hangup(reason="busy"))
    else:
        response = Response(Hangup(reason="busy"))
    return WebhookReply(response.to_xml(), "busy")


def _stream_url(runtime: Runtime, request: AnswerRequest, base_url: str, path: str) -> str:
    settings = runtime.settings
    now = runtime.wall_clock()
    claims = Claims(
        call_id=request.call_id,
        caller=request.caller,
        called=request.called,
        expires=int(now + settings.token_seconds) + 1,
        direction=request.direction,
        issued=round(now, 2),
    )
    scheme, _, rest = base_url.partition("://")
    scheme = "wss" if scheme == "https" else "ws"
    start = f"{scheme}://{rest}{quote(path, safe='/%:@!$()*,;=~')}?{TOKEN_PARAMETER}="
    # A stream can do without the process: then whichever gets it serves it.
    for process in (runtime.process, None):
        token = seal(structs.replace(claims, process=process), settings.secret.get_secret_value())
        if len(start) + len(token) <= MAX_URL:
            return start + token
    raise AnswerError(
        f"the stream URL would have {len(start) + len(token)} characters;"
        f" Plivo accepts at most {MAX_URL}"
    )


def _resume_url(
    runtime: Runtime, call_id: str, base_url: str, path: str, resumed: int, on_end: str | None
) -> str:
    """Return the URL that tells what follows the stream of a call."""
    now = runtime.wall_clock()
    claims = ResumeClaims(
        expires=int(now) + max(_RESUME_SECONDS, runtime.settings.stream_timeout or 0),
        call_id=call_id,
        path=path,
        process=runtime.process,
        issued=round(now, 2),
        resumed=resumed,
        on_end=on_end,
    )
    token = seal(claims, runtime.settings.secret.get_secret_value())
    process = quote(runtime.process, safe="")
    return f"{base_url}/resume?{PROCESS_PARAMETER}={process}&{RESUME_PARAMETER}={token}"


@lru_cache(maxsize=256)
def _around_url(
    levels: tuple[StreamOptions, ...], status_url: str | None, *, resumes: bool
) -> tuple[bytes, bytes, str | None]:
    """Return the XML of a streamed call before and after its URL, and the URL of what comes next.

    Only the URLs differ from call to call, and to check and write all of it takes a while.

    Args:
        levels: Options, those that count first at the beginning.
        status_url: Where Plivo reports events, if the options do not say.
        resumes: Whether a stand-in for the URL of ``/resume`` follows the stream.

    """
    options = reduce(StreamOptions.over, levels)
    options.check()
    attributes = options.attributes()
    if not attributes["noise_cancellation"]:
        # As Plivo's default, and a level without it would be ignored.
        del attributes["noise_cancellation"]
        attributes.pop("noise_cancellation_level", None)
    attributes.setdefault("status_callback_url", status_url)
    # Without keepCallAlive this runs at once. With it, it runs when the stream ends, whichever side
    # ended it: an open call would cost money in silence.
    on_end = None if options.on_end == HANG_UP else options.on_end
    after = after_stream(on_end)
    if resumes and options.keep_call_alive:
        after = Redirect(_RESUME_STAND_IN)
    document = Response(Stream(_STAND_IN, **attributes), after).to_xml()
    before, _, rest = document.partition(_STAND_IN.encode() + b"</Stream>")
    return before, b"</Stream>" + rest, on_end


def after_stream(on_end: str | None) -> Redirect | Hangup:
    """Return what a call does after its stream: run the XML at a URL, or hang up."""
    return Hangup() if on_end is None else Redirect(on_end)
