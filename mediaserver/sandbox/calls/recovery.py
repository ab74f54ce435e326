"""After a process that ended without a word: its calls and streams are closed, billed and told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from mediaserver.sandbox.calls.callbacks import hangup_params
from mediaserver.sandbox.calls.hangup import INTERNAL_ERROR, Hangup, HangupSource
from mediaserver.sandbox.calls.streams import stream_status
from mediaserver.sandbox.records.records import CallRecord, StreamRecord
from mediaserver.sandbox.wire.media_stream import LOST, StatusChange


if TYPE_CHECKING:
    from mediaserver.sandbox.calls.exchange import Exchange

log = structlog.get_logger(__name__)


async def close_what_was_live(exchange: Exchange, last_alive: float | None) -> None:
    """Close what was live when the last process ended, and tell the callback URLs.

    Args:
        exchange: Its records are those of the last process.
        last_alive: When that was known to run last; what it did since then is billed to nobody.
            None if it never was.

    """

    def ended(*known: float | None) -> float:
        times = [time for time in (*known, last_alive) if time is not None]
        return min(max(times), exchange.now())

    calls = [call for call in exchange.past.values() if call.live]
    streams = [stream for stream in exchange.streams.values() if stream.live]
    for stream in streams:
        stream.ended, stream.end_reason = ended(stream.created, stream.started), "Connection error"
        stream.status = "failed"
        exchange.bill_stream(stream)
        await exchange.keep(stream)
    for call in calls:
        exchange.close(
            call,
            Hangup(INTERNAL_ERROR, HangupSource.ERROR),
            at=ended(call.initiated, call.answered),
        )
        await exchange.keep(call)
        log.warning("call closed after restart", call_uuid=call.call_uuid)
    for call in calls:
        _tell(exchange, call, [each for each in streams if each.call_uuid == call.call_uuid])


def _tell(exchange: Exchange, call: CallRecord, streams: list[StreamRecord]) -> None:
    """Tell of the streams' end first, and of the call's after that."""
    note = None
    for stream in streams:
        if stream.status_callback_url is None:
            continue
        seconds = 0.0
        if stream.started is not None and stream.ended is not None:
            seconds = stream.ended - stream.started
        change = StatusChange(
            "failed" if stream.started is None else "dropped", error=LOST, seconds=seconds
        )
        status = stream_status(
            stream, call, change, exchange.account.auth_id, stream.ended or exchange.now()
        )
        note = exchange.webhooks.notify(
            stream.status_callback_url,
            stream.status_callback_method,
            status.to_form(exchange.options.callback_scheme),
            after=note,
        )
    if call.hangup_url:
        exchange.webhooks.notify(
            call.hangup_url,
            call.hangup_method,
            hangup_params(call, exchange.account.auth_id),
            after=note,
        )
