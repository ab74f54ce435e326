"""The audio streams of one call: started by `<Stream>` or the API, billed, and reported."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

import structlog

from audiocodecs import AudioFormat
from mediaserver.plivo import xml
from mediaserver.plivo.callbacks import StreamStatusRequest
from mediaserver.plivo.models import StreamRequest, Track
from mediaserver.protocol import parse_extra_headers
from mediaserver.sandbox.audio.line import Line
from mediaserver.sandbox.audio.noise import NoiseCancellationError
from mediaserver.sandbox.calls.diary import CallDiary, without_query
from mediaserver.sandbox.calls.services import Services
from mediaserver.sandbox.records.records import CallRecord, StreamRecord
from mediaserver.sandbox.records.timestamps import seconds_begun
from mediaserver.sandbox.wire.media_stream import (
    EndReason,
    MediaStream,
    MediaStreamOptions,
    StatusChange,
    StreamEnd,
)
from mediaserver.sandbox.wire.messages import StreamIdentity
from mediaserver.sandbox.wire.misbehaviour import Misbehaviour
from mediaserver.sandbox.wire.network import StreamNetwork


log = structlog.get_logger(__name__)

_STATUS: Mapping[str, str] = {
    "connected": "started",
    "stopped": "stopped",
    "timeout": "timeout",
    "failed": "failed",
    "dropped": "failed",
}


class StreamRefusedError(Exception):
    """A stream cannot be started now; the message says why."""


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What `<Stream>` or `POST …/Stream/` asks for, with the defaults of Plivo's pages."""

    url: str
    bidirectional: bool = False
    track: Track = "inbound"
    content_type: str = "audio/x-l16;rate=8000"
    timeout: int = 86_400
    status_callback_url: str | None = None
    status_callback_method: str = "POST"
    extra_headers: str = ""
    noise_cancellation: bool = False
    noise_cancellation_level: int = 85


def stream_plan(url: str, asked: xml.Stream | StreamRequest) -> StreamPlan:
    """Return what an element or a request asks for, with the defaults for what it leaves out."""
    defaults = StreamPlan(url)
    return StreamPlan(
        url=url,
        bidirectional=bool(asked.bidirectional),
        track=asked.audio_track or defaults.track,
        content_type=asked.content_type or defaults.content_type,
        timeout=asked.stream_timeout or defaults.timeout,
        status_callback_url=asked.status_callback_url,
        status_callback_method=asked.status_callback_method or defaults.status_callback_method,
        extra_headers=asked.extra_headers or "",
        noise_cancellation=bool(asked.noise_cancellation),
        noise_cancellation_level=(
            asked.noise_cancellation_level or defaults.noise_cancellation_level
        ),
    )


class ActiveStream:
    """A stream that was started; `ended` is set at its end."""

    def __init__(self, record: StreamRecord, media: MediaStream) -> None:
        self.record = record
        self.media = media
        self.ended = asyncio.Event()
        self.last_note: asyncio.Task[None] | None = None


class CallStreams:
    """The streams of one call; Plivo allows one at a time.

    Args:
        services: Account, records and callbacks.
        call: Record of the call.
        misbehaviour: What its streams do wrong.
        diary: Where what happens on them is told.
        network: What their messages meet on their way; nothing if left out.

    """

    def __init__(
        self,
        services: Services,
        call: CallRecord,
        misbehaviour: Misbehaviour,
        diary: CallDiary,
        network: StreamNetwork | None = None,
    ) -> None:
        self._services = services
        self._network = network
        self._diary = diary
        self._misbehaviour = misbehaviour
        self._call = call
        self._active: dict[str, ActiveStream] = {}

    def __len__(self) -> int:
        return len(self._active)

    @property
    def active(self) -> ActiveStream | None:
        """The stream that has been started and has not ended, if any."""
        return next(iter(self._active.values()), None)

    async def start(self, plan: StreamPlan, line: Line) -> ActiveStream:
        """Start a stream; its status callback is notified of what happens to it.

        Raises:
            StreamRefusedError: The call has a stream, or noise cannot be cancelled here.
            ValueError: Plivo would not accept the plan.

        """
        for other in self._active.values():
            if other.record.service_url == plan.url:
                raise StreamRefusedError(f"an active stream already exists for {plan.url}")
        if self._active:
            raise StreamRefusedError(
                "an active stream already exists for this call; a call has one at a time"
            )
        services = self._services
        record = StreamRecord(
            stream_id=str(uuid4()),
            call_uuid=self._call.call_uuid,
            service_url=plan.url,
            bidirectional=plan.bidirectional,
            audio_track=plan.track,
            content_type=plan.content_type,
            created=services.now(),
            status_callback_url=plan.status_callback_url,
            status_callback_method=plan.status_callback_method,
        )
        options = MediaStreamOptions(
            url=plan.url,
            format=AudioFormat.parse(plan.content_type),
            track=plan.track,
            bidirectional=plan.bidirectional,
            timeout=plan.timeout,
            extra_headers=parse_extra_headers(plan.extra_headers),
            extra_headers_style=services.options.extra_headers_style,
            noise_cancellation=plan.noise_cancellation,
            noise_cancellation_level=plan.noise_cancellation_level,
            misbehaviour=self._misbehaviour,
            network=self._network,
        )
        account = services.account
        try:
            media = MediaStream(
                line,
                options,
                StreamIdentity(self._call.call_uuid, record.stream_id, account.auth_id),
                on_status=partial(self._changed, record.stream_id),
                connect=services.connect,
                headers=partial(account.sign_stream, plan.url),
                on_entry=self._diary.relay,
            )
        except NoiseCancellationError as error:
            raise StreamRefusedError(str(error)) from error
        # Entered before the first await, so that of two starts at once the second is refused.
        stream = self._active[record.stream_id] = ActiveStream(record, media)
        try:
            services.records.streams[record.stream_id] = record
            await services.records.keep(record)
        except BaseException:
            await self._close(stream, StreamEnd("Connection error"))
            raise
        services.start_task(self._run(stream), f"stream {record.stream_id}")
        return stream

    async def stop(self, stream_id: str, reason: EndReason) -> bool:
        """Stop a stream, and return whether it was active."""
        stream = self._active.get(stream_id)
        if stream is None:
            return False
        await stream.media.stop(reason)
        await stream.ended.wait()
        return True

    async def stop_all(self, reason: EndReason) -> int:
        """Stop every stream, and return how many were active."""
        stopped = await asyncio.gather(*(self.stop(each, reason) for each in list(self._active)))
        return sum(stopped)

    async def _run(self, stream: ActiveStream) -> None:
        end = StreamEnd("Connection error", "the stream failed inside the sandbox")
        try:
            end = await stream.media.run()
        except Exception:
            log.exception("stream failed", stream_id=stream.record.stream_id)
            self._changed(stream.record.stream_id, StatusChange("failed", error=end.error))
        finally:
            await self._close(stream, end)

    async def _close(self, stream: ActiveStream, end: StreamEnd) -> None:
        services, record = self._services, stream.record
        record.ended = services.now()
        record.end_reason = end.reason
        if record.status in ("initiated", "started"):
            record.status = "stopped"
        services.rates.bill_stream(record)
        self._active.pop(record.stream_id, None)
        self._diary.tell("stream_ended", end.reason)
        # Each was told when it first happened.
        for what, times in (stream.media.errors | stream.media.warnings).items():
            if times > 1:
                log.info("in all", call_uuid=record.call_uuid, what=what, times=times)
        try:
            await services.records.keep(record)
        finally:
            # Also if this task is cancelled: `stop` waits for it.
            stream.ended.set()

    def _changed(self, stream_id: str, change: StatusChange) -> None:
        stream = self._active.get(stream_id)
        if stream is None:
            return
        record, services = stream.record, self._services
        if change.kind == "connected":
            record.started = services.now()
            self._diary.tell(
                "stream_opened", f"{without_query(record.service_url)}, {record.content_type}"
            )
        record.status = _STATUS.get(change.kind, record.status)
        if record.status_callback_url is None or change.kind == "cleared":
            return
        self._diary.tell(
            "callback", f"stream {change.kind}, {without_query(record.status_callback_url)}"
        )
        status = stream_status(record, self._call, change, services.account.auth_id, services.now())
        stream.last_note = services.webhooks.notify(
            record.status_callback_url,
            record.status_callback_method,
            status.to_form(services.options.callback_scheme),
            after=stream.last_note,
        )


def stream_status(
    record: StreamRecord, call: CallRecord, change: StatusChange, auth_id: str, at: float
) -> StreamStatusRequest:
    """Return the status callback for a change of a stream at a Unix time."""
    return StreamStatusRequest(
        kind=change.kind,
        call_id=call.call_uuid,
        stream_id=record.stream_id,
        name=change.name or None,
        error=change.error or None,
        duration=seconds_begun(change.seconds),
        timestamp=datetime.fromtimestamp(at, UTC),
        service_url=record.service_url,
        caller=call.from_number,
        called=call.to_number,
        direction=call.direction,
        account_id=auth_id,
        status_callback_url=record.status_callback_url,
        status_callback_method=record.status_callback_method,
    )
