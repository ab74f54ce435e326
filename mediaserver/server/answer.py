"""What Plivo is told to do with a call: the XML behind ``/answer``."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

import structlog

from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.plivo.xml import MAX_URL, Hangup, Redirect, Response, Speak, Stream
from mediaserver.server.runtime import Runtime
from mediaserver.server.trust.tokens import TOKEN_PARAMETER, Claims, seal
from mediaserver.settings import Settings


log = structlog.get_logger(__name__)

NOTHING = Response().to_xml()
"""The reply to a request that asks for nothing."""


class AnswerError(ValueError):
    """A call that cannot be answered; it says why."""


@dataclass(frozen=True, slots=True)
class WebhookReply:
    """What to reply."""

    xml: bytes
    kind: str
    """Short name to count it by: ``stream``, ``busy``, ``rejected`` or ``ended``."""


def answer(
    runtime: Runtime, request: AnswerRequest, base_url: str, path: str | None = None
) -> WebhookReply:
    """Decide what happens to a call, and keep a place for it if it gets a stream.

    Args:
        runtime: The server.
        request: Plivo's.
        base_url: ``http`` or ``https`` URL by which Plivo reaches the server.
        path: Path of the stream to send the call to; by default the one for the dialled number.

    Raises:
        AnswerError: The stream would have a URL that Plivo does not take.

    """
    call_id, called = request.call_id, request.called
    if runtime.answered.has_ended(call_id):
        # A request that came late, or again: transfers and redirects are told before the end.
        log.info("call is over already", call=call_id)
        return WebhookReply(NOTHING, "ended")
    route = runtime.routes.match(path, called) if path else runtime.routes.for_number(called)
    if route is None:
        log.warning("call without a handler", call=call_id, called=called, path=path)
        return WebhookReply(Response(Hangup(reason="rejected")).to_xml(), "rejected")
    if not all(expects(route, request) for expects in runtime.screens):
        log.warning("call that nobody waits for", call=call_id, called=called, path=route.path)
        return WebhookReply(Response(Hangup()).to_xml(), "rejected")
    url = _stream_url(runtime, request, base_url, route.path)
    if not runtime.admission.reserve(call_id):
        log.warning("call turned away", call=call_id, limit=runtime.admission.limit)
        return busy(runtime.settings)
    runtime.answered.add(request)
    runtime.prepared.prepare(route, request)
    return WebhookReply(_stream(runtime.settings, url, base_url), "stream")


def busy(settings: Settings) -> WebhookReply:
    """Tell the caller that there is no place, or send the call elsewhere."""
    if settings.busy_redirect is not None:
        response = Response(Redirect(settings.busy_redirect))
    elif settings.busy_message:
        response = Response(Speak(settings.busy_message), Hangup(reason="busy"))
    else:
        response = Response(Hangup(reason="busy"))
    return WebhookReply(response.to_xml(), "busy")


def _stream_url(runtime: Runtime, request: AnswerRequest, base_url: str, path: str) -> str:
    settings = runtime.settings
    claims = Claims(
        call_id=request.call_id,
        caller=request.caller,
        called=request.called,
        expires=int(runtime.wall_clock() + settings.token_seconds) + 1,
        direction=request.direction,
    )
    token = seal(claims, settings.secret.get_secret_value())
    scheme, _, rest = base_url.partition("://")
    scheme = "wss" if scheme == "https" else "ws"
    url = f"{scheme}://{rest}{quote(path, safe='/%:@!$()*,;=~')}?{TOKEN_PARAMETER}={token}"
    if len(url) > MAX_URL:
        raise AnswerError(f"the stream URL would have {len(url)} characters; Plivo takes {MAX_URL}")
    return url


def _stream(settings: Settings, url: str, base_url: str) -> bytes:
    stream = Stream(
        url,
        bidirectional=True,
        keep_call_alive=True,
        content_type=str(settings.default_format),
        status_callback_url=f"{base_url}/status" if settings.status_callbacks else None,
    )
    # Reached when the stream ends, whoever ended it: nothing here would be dead, billed air.
    after = Hangup() if settings.on_end == "hangup" else Redirect(settings.on_end)
    return Response(stream, after).to_xml()
