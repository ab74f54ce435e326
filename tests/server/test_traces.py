import asyncio
import gzip
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.trace import SpanKind, StatusCode

from mediaserver.call import StreamCounters, Turn, TurnStep, Usage
from mediaserver.routes import Route, Routes
from mediaserver.server.observers import CallObservers
from mediaserver.server.runtime import Runtime
from mediaserver.server.traces import PERSONAL, CallTraces, traced
from mediaserver.settings import Settings


EPOCH = 1_800_000_000.0
"""When the calls' clock was at 0."""

TURN = Turn(
    number=1,
    caller="Is the tandem in stock?",
    agent="Yes, it is.",
    end_of_turn=0.5,
    transcript=0.6,
    audio_sent=1.5,
    audio_heard=1.6,
    at=110.0,
    steps=(
        TurnStep(
            kind="transcription",
            name="Whisper",
            model="whisper-1",
            provider="openai",
            began=-2.0,
            first=0.4,
            ended=0.6,
            usage=Usage(speech_seconds=2.0),
        ),
        TurnStep(
            kind="model",
            name="OpenAIChat",
            model="gpt-5",
            provider="openai",
            began=0.6,
            first=0.9,
            ended=1.25,
            usage=Usage(tokens_in=100, tokens_out=7, tokens_cached=64),
        ),
        TurnStep(
            kind="tool",
            name="in_stock",
            began=0.9,
            ended=1.0,
            error="timeout",
            arguments='{"model": "tandem"}',
            result="true",
        ),
        TurnStep(kind="synthesis", name="Voice", began=1.25, usage=Usage(characters=11)),
    ),
)


class Call:
    """As much of a call as observers look at."""

    def __init__(self) -> None:
        self.call_id = "CALL"
        self.started_at = 100.0
        self.accepted: Any = SimpleNamespace(route=SimpleNamespace(name="Shop"))
        self.stream: Any = SimpleNamespace(
            stream_id="STREAM", format="audio/x-mulaw;rate=8000", caller="+1415", called="+1416"
        )
        self.session: Any = SimpleNamespace(
            turns=[TURN], counters=StreamCounters(), end_reason="the handler returned"
        )


class Traces:
    """The spans of calls, kept in memory."""

    def __init__(self, *, personal_data: bool = False) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.now = 120.0
        self.observer = CallTraces(
            provider, lambda: self.now, lambda: EPOCH + self.now, personal_data=personal_data
        )

    def follow(self, call: Any, *turns: Turn) -> dict[str, ReadableSpan]:
        """Trace a call from its start to its end, and return its spans by name."""
        self.observer.call_started(call)
        for turn in turns:
            self.observer.turn_reported(call, turn)
        self.observer.call_ended(call, None)
        return {span.name: span for span in self._exporter.get_finished_spans()}


def of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def times(span: ReadableSpan) -> tuple[float, float]:
    """Return when a span began and ended, on the call's clock."""
    assert span.start_time is not None
    assert span.end_time is not None
    return span.start_time / 1e9 - EPOCH, span.end_time / 1e9 - EPOCH


def test_spans_have_the_times_of_the_call_and_its_turn() -> None:
    spans = Traces().follow(Call(), TURN)
    assert {name: times(span) for name, span in spans.items()} == {
        "call": pytest.approx((100.0, 120.0)),
        "invoke_agent Shop": pytest.approx((108.0, 120.0)),
        "transcribe whisper-1": pytest.approx((108.0, 110.6)),
        "chat gpt-5": pytest.approx((110.6, 111.25)),
        "execute_tool in_stock": pytest.approx((110.9, 111.0)),
        "synthesize Voice": pytest.approx((111.25, 120.0)),
        "first audio heard": pytest.approx((111.5, 111.6)),
    }


def test_a_call_has_its_turns_and_a_turn_its_steps() -> None:
    spans = Traces().follow(Call(), TURN)
    call, turn = spans.pop("call"), spans.pop("invoke_agent Shop")
    assert (call.parent, call.kind) == (None, SpanKind.SERVER)
    assert turn.parent is not None
    assert turn.parent.span_id == call.context.span_id
    for span in spans.values():
        assert span.parent is not None
        assert span.parent.span_id == turn.context.span_id
        assert span.context.trace_id == call.context.trace_id


def test_attributes_of_generative_ai_are_those_of_the_conventions() -> None:
    known = {value for name, value in vars(gen_ai_attributes).items() if name.startswith("GEN_AI")}
    spans = Traces(personal_data=True).follow(Call(), TURN)
    used = {name for span in spans.values() for name in of(span) if name.startswith("gen_ai.")}
    assert len(used) > 10
    assert used <= known


def test_a_request_to_a_model_tells_what_it_cost() -> None:
    span = Traces().follow(Call(), TURN)["chat gpt-5"]
    assert span.kind is SpanKind.CLIENT
    assert of(span) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5",
        "gen_ai.response.time_to_first_chunk": pytest.approx(0.3),
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.cache_read.input_tokens": 64,
        "mediaserver.service": "OpenAIChat",
    }


def test_what_failed_is_an_error() -> None:
    call = Call()
    call.session.end_reason = "the connection was lost"
    spans = Traces().follow(call, TURN)
    tool, whole = spans["execute_tool in_stock"], spans["call"]
    assert tool.status.status_code is whole.status.status_code is StatusCode.ERROR
    assert of(tool)["error.type"] == "timeout"
    assert of(whole)["error.type"] == of(whole)["mediaserver.end.cause"] == "lost"
    assert spans["chat gpt-5"].status.status_code is StatusCode.UNSET
    assert of(spans["synthesize Voice"])["mediaserver.unfinished"] is True


@pytest.mark.parametrize("personal_data", [False, True])
def test_what_a_service_said_when_it_failed_is_personal_data(personal_data: bool) -> None:
    said = "'my card is 4111' is not allowed"
    step = TurnStep(
        kind="model", name="Chat", began=0.0, ended=1.0, error=said, failure="model: HTTP 400"
    )
    turn = Turn(
        number=1, error=f"model: {said}", failure="model: HTTP 400", at=110.0, steps=(step,)
    )
    spans = Traces(personal_data=personal_data).follow(Call(), turn)
    assert (said in everything(spans)) is personal_data
    told = [spans[name].status.description for name in ("chat Chat", "invoke_agent Shop")]
    assert told == ([said, turn.error] if personal_data else ["model: HTTP 400"] * 2)


def everything(spans: dict[str, ReadableSpan]) -> str:
    return "".join(span.to_json() for span in spans.values())


def test_personal_data_is_left_out() -> None:
    shown = everything(Traces().follow(Call(), TURN))
    assert PERSONAL not in shown
    for private in ("+1415", "+1416", "tandem", "Yes, it is."):
        assert private not in shown


def test_personal_data_is_marked_if_it_is_wanted() -> None:
    spans = Traces(personal_data=True).follow(Call(), TURN)
    marked = {name: of(span)[PERSONAL] for name, span in spans.items() if PERSONAL in of(span)}
    assert marked == {
        "call": ("mediaserver.caller", "mediaserver.called"),
        "invoke_agent Shop": ("gen_ai.input.messages", "gen_ai.output.messages"),
        "execute_tool in_stock": ("gen_ai.tool.call.arguments", "gen_ai.tool.call.result"),
    }
    assert of(spans["invoke_agent Shop"])["gen_ai.output.messages"] == (
        '[{"role": "assistant", "parts": [{"type": "text", "content": "Yes, it is."}]}]'
    )


def test_calls_that_never_started_have_no_span() -> None:
    traces = Traces()
    call: Any = Call()
    traces.observer.turn_reported(call, TURN)
    traces.observer.call_ended(call, None)
    assert traces.follow(Call()).keys() == {"call"}


class Collector(BaseHTTPRequestHandler):
    """Takes OTLP over HTTP."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        received: list[Any] = vars(self.server)["received"]
        received.append((self.path, dict(self.headers), ExportTraceServiceRequest.FromString(body)))
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def collector() -> Iterator[tuple[str, list[Any]]]:
    """Run one, and yield its URL and what it receives."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    received: list[Any] = []
    vars(server)["received"] = received
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def traced_to_the_collector(observers: CallObservers) -> AbstractAsyncContextManager[None]:
    return traced(
        observers,
        process="a/1",
        clock=lambda: 120.0,
        wall_clock=lambda: EPOCH,
        personal_data=False,
    )


@pytest.mark.real_time
async def test_traces_reach_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    with collector() as (url, received):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-token=secret")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop,region=eu")
        observers, call = CallObservers(), Call()
        async with traced_to_the_collector(observers):
            observers.call_started(call)
            observers.turn_reported(call, TURN)
            observers.call_ended(call, None)
    ((path, headers, request),) = received
    assert path == "/v1/traces"
    assert headers["x-token"] == "secret"
    (of_resource,) = request.resource_spans
    resource = {each.key: each.value.string_value for each in of_resource.resource.attributes}
    assert resource["service.name"] == "shop"
    assert resource["region"] == "eu"
    assert resource["service.instance.id"] == "a/1"
    (scope,) = of_resource.scope_spans
    assert {span.name for span in scope.spans} >= {"call", "invoke_agent Shop", "chat gpt-5"}


@pytest.mark.real_time
async def test_a_collector_that_is_away_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    observers, call = CallObservers(), Call()
    async with asyncio.timeout(30):
        async with traced_to_the_collector(observers):
            observers.call_started(call)
            observers.call_ended(call, None)


async def listen(stream: Any) -> None:
    raise AssertionError("no call comes")


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.real_time
async def test_a_server_traces_its_calls_if_the_settings_say_so(wanted: bool) -> None:
    runtime = Runtime(Settings(traces=wanted), Routes(Route(listen)))
    await runtime.startup()
    await runtime.shutdown()
    assert bool(runtime.observers) is wanted


def test_opentelemetry_is_not_imported_before_it_is_wanted() -> None:
    code = (
        "import sys, mediaserver.server.process.daemon;"
        "sys.exit(any(each.startswith('opentelemetry') for each in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
