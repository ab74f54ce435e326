"""OpenTelemetry traces: a span for each call, turn, request to a service and use of a tool.

Spans are made when a turn is reported, from the times that it has. Names and attributes follow the
semantic conventions for generative AI of OpenTelemetry, which are still in development; what these
do not name begins with ``mediaserver.``. Personal data (numbers, words) is left out unless asked
for; the attribute `PERSONAL` of a span then names the attributes that have it.

This is the only module that imports OpenTelemetry: import it if traces are wanted.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context

from mediaserver import __version__
from mediaserver.call import Clock, StreamReport, Turn, TurnStep
from mediaserver.call.turn import STAGES
from mediaserver.server.ended_calls import cause_of_end
from mediaserver.server.observers import CallObservers, ObservedCall


log = structlog.get_logger(__name__)

PERSONAL: Final = "mediaserver.personal_data"
"""Names the attributes of a span that have personal data."""

_LONGEST_VALUE: Final = 4_000
"""Characters of an attribute; the rest is cut."""

_FLUSH_SECONDS: Final = 5.0
"""Seconds that the last spans may take when the server stops."""

_QUALITY: Final = (
    "audio_in",
    "audio_out",
    "audio_dropped",
    "frames_lost",
    "interrupts",
    "underruns",
    "underrun_seconds",
    "producer_gaps",
    "producer_gap_seconds",
)
"""The counters of a stream that its span has."""

_OPERATIONS: Final = {
    "transcription": "transcribe",
    "model": "chat",
    "tool": "execute_tool",
    "synthesis": "synthesize",
}
"""The conventions name no operation for speech, and allow others than theirs."""

_Attributes = dict[str, Any]


@asynccontextmanager
async def traced(
    observers: CallObservers,
    *,
    process: str,
    clock: Clock,
    wall_clock: Clock,
    personal_data: bool,
) -> AsyncIterator[None]:
    """Send traces of calls by OTLP, to where the ``OTEL_…`` variables of the environment say.

    Args:
        observers: tell of the calls.
        process: the name of this process.
        clock: the calls' clock.
        wall_clock: seconds since the epoch.
        personal_data: whether spans have numbers and words.

    """
    own = {"service.name": "mediaserver", "service.version": __version__}
    resource = Resource({**own, "service.instance.id": process})
    provider = TracerProvider(
        # What the environment says of the service is preferred.
        resource=Resource.get_empty().merge(resource).merge(OTELResourceDetector().detect()),
        span_limits=SpanLimits(max_span_attribute_length=_LONGEST_VALUE),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    observers.add(CallTraces(provider, clock, wall_clock, personal_data=personal_data))
    try:
        yield
    finally:
        await _flush(provider)


async def _flush(provider: TracerProvider) -> None:
    """Send the last spans, for a few seconds at most."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def flush() -> None:
        provider.shutdown()
        with suppress(RuntimeError):  # the event loop did not wait for it
            loop.call_soon_threadsafe(done.set)

    # The event loop waits for threads of its own, however long a collector does not answer.
    threading.Thread(target=flush, name="traces", daemon=True).start()
    try:
        async with asyncio.timeout(_FLUSH_SECONDS):
            await done.wait()
    except TimeoutError:
        log.warning("the last traces were not sent", after_seconds=_FLUSH_SECONDS)


@dataclass(frozen=True, slots=True)
class _Traced:
    """A call that is being traced."""

    span: Span
    context: Context
    epoch: float
    """What to add to a time of the call's clock to get one since the epoch."""

    def at(self, seconds: float) -> int:
        """Return a time of the call's clock in nanoseconds since the epoch."""
        return round((self.epoch + seconds) * 1e9)


class CallTraces:
    """Makes spans of what becomes of calls: a `CallObserver`.

    Args:
        provider: takes the spans.
        clock: the calls' clock.
        wall_clock: seconds since the epoch.
        personal_data: whether spans have numbers and words.

    """

    def __init__(
        self,
        provider: TracerProvider,
        clock: Clock,
        wall_clock: Clock,
        *,
        personal_data: bool = False,
    ) -> None:
        self._tracer = provider.get_tracer("mediaserver", __version__)
        self._clock = clock
        self._wall_clock = wall_clock
        self._personal_data = personal_data
        self._calls: dict[ObservedCall, _Traced] = {}

    def call_started(self, call: ObservedCall) -> None:
        """Begin the span of a call."""
        stream, began = call.stream, call.started_at
        assert stream is not None
        assert began is not None, "a call that has started has a time of its start"
        epoch = self._wall_clock() - self._clock()
        attributes: _Attributes = {
            "gen_ai.conversation.id": call.call_id,
            "mediaserver.call.id": call.call_id,
            "mediaserver.stream.id": stream.stream_id,
            "mediaserver.handler": call.accepted.route.name,
            "mediaserver.format": str(stream.format),
        }
        attributes |= self._personal(
            {"mediaserver.caller": stream.caller, "mediaserver.called": stream.called}
        )
        span = self._tracer.start_span(
            "call",
            Context(),
            SpanKind.SERVER,
            attributes,
            start_time=round((epoch + began) * 1e9),
        )
        self._calls[call] = _Traced(span, set_span_in_context(span, Context()), epoch)

    def turn_reported(self, call: ObservedCall, turn: Turn) -> None:
        """Make the spans of a turn."""
        traced = self._calls.get(call)
        if traced is None or not traced.span.is_recording():
            return
        handler = call.accepted.route.name
        now = self._clock()
        began = min([turn.at, *(turn.at + step.began for step in turn.steps)])
        span = self._tracer.start_span(
            f"invoke_agent {handler}",
            traced.context,
            SpanKind.INTERNAL,
            self._of_turn(turn)
            | {
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.agent.name": handler,
                "gen_ai.conversation.id": call.call_id,
            },
            start_time=traced.at(began),
        )
        if turn.error is not None:
            _fail(span, "service_error", self._told(turn.error, turn.failure))
        below = set_span_in_context(span, Context())
        for step in turn.steps:
            self._step(traced, below, turn.at, step, now)
        if turn.audio_heard is not None:
            sent = turn.audio_heard if turn.audio_sent is None else turn.audio_sent
            heard = self._tracer.start_span(
                "first audio heard",
                below,
                attributes={"mediaserver.turn.audio_heard": turn.audio_heard},
                start_time=traced.at(turn.at + min(sent, turn.audio_heard)),
            )
            heard.end(traced.at(turn.at + turn.audio_heard))
        span.end(traced.at(now))

    def call_ended(self, call: ObservedCall, report: StreamReport | None) -> None:
        """End the span of a call."""
        traced = self._calls.pop(call, None)
        if traced is None:
            return
        span, session = traced.span, call.session
        cause = cause_of_end(session.end_reason)
        span.set_attributes(
            {
                "mediaserver.end.reason": session.end_reason,
                "mediaserver.end.cause": cause,
                "mediaserver.turns": len(session.turns),
                **{f"mediaserver.{name}": getattr(session.counters, name) for name in _QUALITY},
            }
        )
        if cause in ("handler_error", "lost"):
            _fail(span, cause, session.end_reason)
        span.end(traced.at(self._clock()))

    def _of_turn(self, turn: Turn) -> _Attributes:
        attributes: _Attributes = {
            "mediaserver.turn.number": turn.number,
            "mediaserver.turn.interrupted": turn.interrupted,
            **{
                f"mediaserver.turn.{stage}": seconds
                for stage in STAGES
                if (seconds := getattr(turn, stage)) is not None
            },
        }
        return attributes | self._personal(
            {
                "gen_ai.input.messages": _message("user", turn.caller),
                "gen_ai.output.messages": _message("assistant", turn.agent),
            }
        )

    def _step(
        self, traced: _Traced, parent: Context, since: float, step: TurnStep, now: float
    ) -> None:
        """Make the span of a step; one that goes on ends now."""
        ended = now if step.ended is None else since + step.ended
        operation = _OPERATIONS[step.kind]
        is_tool = step.kind == "tool"
        name = step.name if is_tool else step.model or step.name
        span = self._tracer.start_span(
            f"{operation} {name}",
            parent,
            SpanKind.INTERNAL if is_tool else SpanKind.CLIENT,
            {
                "gen_ai.operation.name": operation,
                **dict(_of_tool(step) if is_tool else _of_service(step)),
                **({"mediaserver.unfinished": True} if step.ended is None else {}),
                **self._personal(
                    {
                        "gen_ai.tool.call.arguments": step.arguments,
                        "gen_ai.tool.call.result": step.result,
                    }
                ),
            },
            start_time=traced.at(since + step.began),
        )
        if step.error is not None:
            told = step.error if is_tool else self._told(step.error, step.failure)
            _fail(span, step.error if is_tool else "service_error", told)
        span.end(traced.at(ended))

    def _told(self, error: str, failure: str) -> str:
        """Return how a service failed, without its own words unless they are wanted."""
        return error if self._personal_data else failure

    def _personal(self, values: dict[str, str | None]) -> _Attributes:
        """Return attributes with personal data, and the one that names them, if they are wanted."""
        given = {name: value for name, value in values.items() if value}
        if not given or not self._personal_data:
            return {}
        return {**given, PERSONAL: tuple(given)}


def _of_tool(step: TurnStep) -> Iterator[tuple[str, Any]]:
    yield "gen_ai.tool.name", step.name
    yield "gen_ai.tool.type", "function"


def _of_service(step: TurnStep) -> Iterator[tuple[str, Any]]:
    usage = step.usage
    yield "mediaserver.service", step.name
    yield "gen_ai.provider.name", step.provider or "_OTHER"
    if step.model:
        yield "gen_ai.request.model", step.model
    if step.first is not None:
        yield "gen_ai.response.time_to_first_chunk", step.first - step.began
    if step.kind == "model":
        yield "gen_ai.usage.input_tokens", usage.tokens_in
        yield "gen_ai.usage.output_tokens", usage.tokens_out
        yield "gen_ai.usage.cache_read.input_tokens", usage.tokens_cached
    elif step.kind == "synthesis":
        yield "gen_ai.output.type", "speech"
        yield "mediaserver.usage.characters", usage.characters
    else:
        yield "gen_ai.output.type", "text"
        yield "mediaserver.usage.speech_seconds", usage.speech_seconds


def _message(role: str, text: str) -> str:
    if not text:
        return ""
    parts = [{"type": "text", "content": text}]
    return json.dumps([{"role": role, "parts": parts}], ensure_ascii=False)


def _fail(span: Span, kind: str, reason: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, reason))
