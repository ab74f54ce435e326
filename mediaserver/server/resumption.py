"""The reply to ``/resume``: what a call does whose stream is over.

With the setting ``resume_calls``, the XML of ``/answer`` has a ``<Redirect>`` to it after
``<Stream>``. Plivo comes here once the stream is over, whichever side ended it. If it ended as it
should, the call hangs up or goes on at `StreamOptions.on_end`. If the connection broke, or the
process that had it is gone, the call gets a new stream.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

import structlog

from mediaserver.call import StreamReport
from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.plivo.xml import Response
from mediaserver.server.answer import (
    NOTHING,
    AnswerError,
    WebhookReply,
    after_stream,
    busy,
    claimed,
    decided,
)
from mediaserver.server.kept_streams import report_of_gone
from mediaserver.server.runtime import Runtime
from mediaserver.server.trust.tokens import ResumeClaims, TokenError, unseal_resume


log = structlog.get_logger("mediaserver.calls")

SHORTEST_RESUMED: Final = 10.0
"""Seconds: a call that is lost again sooner after it was resumed is not resumed once more. So
something that breaks every stream does not bring back the same callers again and again."""

GONE: Final = "the process that had the call is gone"
"""The `StreamReport.end_reason` of a stream of which only the token of ``/resume`` is known."""

_LOOKS: Final = 10
_LOOK_SECONDS: Final = 0.05
"""A stream's own end may arrive after the request: so often, and so far apart, it is looked for."""


async def resume(
    runtime: Runtime, request: AnswerRequest, base_url: str, token: str
) -> WebhookReply:
    """Decide what a call does whose stream is over.

    Args:
        runtime: The server.
        request: Plivo's request.
        base_url: ``http`` or ``https`` URL by which Plivo reaches the server.
        token: The sealed `ResumeClaims` in its query.

    Raises:
        AnswerError: The token is not valid, or is another call's; or as of `answer`.

    """
    call_id, settings = request.call_id, runtime.settings
    now = runtime.wall_clock()
    try:
        claims = unseal_resume(token, settings.secret.get_secret_value(), now)
    except TokenError as error:
        raise AnswerError(f"the token of /resume is invalid: {error}") from None
    if claims.call_id != call_id:
        raise AnswerError("the token of /resume is another call's")
    if runtime.answered.has_ended(call_id):
        return WebhookReply(NOTHING, "ended")
    previous = await _previous(runtime, claims, request, now)
    if previous is None:
        return WebhookReply(Response(after_stream(claims.on_end)).to_xml(), "finished")
    again = claims.resumed and now - claims.issued < SHORTEST_RESUMED
    if again or claims.resumed >= settings.resume_calls:
        log.warning(
            "call not resumed",
            reason=f"it was lost again within {SHORTEST_RESUMED:g} s" if again else "resume_calls",
            resumed=claims.resumed,
            call=call_id,
        )
        return busy(settings)
    runtime.lost_streams.remember(previous)
    reply = await claimed(runtime, request, base_url, claims.path, resumed=claims.resumed + 1)
    if reply.streamed is None:
        return reply
    log.info("call resumed", reason=previous.end_reason, resumed=claims.resumed + 1, call=call_id)
    return replace(await decided(runtime, request, reply), kind="resumed")


async def lost_here(runtime: Runtime, call_id: str) -> StreamReport | None:
    """Return the report of a call's stream that this process has lost; None if it ended well.

    A stream that still lives is ended: Plivo has gone on without it.
    """
    calls = [call for call in runtime.calls if call.call_id == call_id]
    for _ in range(_LOOKS):
        if all(call.state in ("ending", "lost") for call in calls):
            break
        await asyncio.sleep(_LOOK_SECONDS)
    if not calls:
        return runtime.lost_streams.previous(call_id)
    reports = [call.break_off() for call in calls]
    # An end that was wanted counts for more than one that was not.
    return None if None in reports else reports[-1]


async def _previous(
    runtime: Runtime, claims: ResumeClaims, request: AnswerRequest, now: float
) -> StreamReport | None:
    """Return what is known of a call's stream; None if it has ended as it should."""
    call_id = claims.call_id
    known_here = runtime.has_call(call_id) or runtime.lost_streams.previous(call_id) is not None
    if known_here or (runtime.fleet is None and claims.process == runtime.process):
        return await lost_here(runtime, call_id)
    # Without a fleet, a request comes to the process that it names for as long as that lives.
    fleet = runtime.fleet
    kept = None if fleet is None else await fleet.last_stream(call_id, claims.process)
    if kept is not None and kept.wanted:
        return None
    return report_of_gone(
        kept,
        call_id=call_id,
        caller=request.caller,
        called=request.called,
        path=claims.path,
        answered=claims.issued,
        now=now,
        end_reason=GONE,
    )
