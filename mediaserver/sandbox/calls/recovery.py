"""Closes calls and streams of a process that was killed: bills them, and sends the callbacks."""

from __future__ import annotations

import structlog

from mediaserver.sandbox.calls.callbacks import hangup_params
from mediaserver.sandbox.calls.hangup import INTERNAL_ERROR, Hangup, HangupSource
from mediaserver.sandbox.calls.services import Services
from mediaserver.sandbox.calls.streams import stream_status
from mediaserver.sandbox.records.records import CallRecord, StreamRecord
from mediaserver.sandbox.wire.media_stream import LOST, StatusChange


log = structlog.get_logger(__name__)


async def close_what_was_live(services: Services) -> None:
    """Close what was live when the last process ended, and notify the callback URLs.

    A call ended when that process was last known to run: the time since then is not billed.
    """
    records, last_alive = services.records, await services.records.last_heartbeat()

    def ended(*known: float | None) -> float:
        times = [time for time in (*known, last_alive) if time is not None]
        return min(max(times), services.now())

    calls = [call for call in records.calls.values() if call.live]
    streams = [stream for stream in records.streams.values() if stream.live]
    for stream in streams:
        stream.ended, stream.end_reason = ended(stream.created, stream.started), "Connection error"
        stream.status = "failed"
        services.rates.bill_stream(stream)
        await records.keep(stream)
    for call in calls:
        services.close(
            call,
            Hangup(INTERNAL_ERROR, HangupSource.ERROR),
            at=ended(call.initiated, call.answered),
        )
        await records.keep(call)
        log.warning("call closed after restart", call_uuid=call.call_uuid)
    for call in calls:
        _notify(services, call, [each for each in streams if each.call_uuid == call.call_uuid])


def _notify(services: Services, call: CallRecord, streams: list[StreamRecord]) -> None:
    """Send the callbacks of the streams, and after them that of the call."""
    note = None
    auth_id = services.account.auth_id
    for stream in streams:
        if stream.status_callback_url is None:
            continue
        seconds = 0.0
        if stream.started is not None and stream.ended is not None:
            seconds = stream.ended - stream.started
        change = StatusChange(
            "failed" if stream.started is None else "dropped", error=LOST, seconds=seconds
        )
        status = stream_status(stream, call, change, auth_id, stream.ended or services.now())
        note = services.webhooks.notify(
            stream.status_callback_url,
            stream.status_callback_method,
            status.to_form(services.options.callback_scheme),
            after=note,
        )
    if call.hangup_url:
        services.webhooks.notify(
            call.hangup_url, call.hangup_method, hangup_params(call, auth_id), after=note
        )
