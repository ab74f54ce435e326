"""Prometheus metrics, read from plain counters at each scrape.

Calls use nothing in this module: the parts of the server count in plain attributes, and a scrape
reads those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from mediaserver import __version__
from mediaserver.call.counters import StreamCounters
from mediaserver.call.turn import BUCKETS, TurnCounters
from mediaserver.telemetry.logs import dropped_lines


CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

CALL_BUCKETS: Final = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Upper bounds of the histogram of calls' lengths, in seconds."""

STREAM_METRICS: Final[Mapping[str, tuple[str, str]]] = {
    "audio_in": ("audio_received_seconds", "Audio received from callers."),
    "audio_out": ("audio_sent_seconds", "Audio sent to callers."),
    "audio_dropped": (
        "audio_dropped_seconds",
        "Received audio dropped because a handler did not read it in time.",
    ),
    "frames_in": ("frames_received", "Audio frames received."),
    "frames_dropped": ("frames_dropped", "Received frames that were dropped."),
    "frames_lost": ("frames_lost", "Frames that never came, from gaps in their chunk numbers."),
    "frames_out_of_order": ("frames_out_of_order", "Frames that came after a later one."),
    "messages_in": ("messages_received", "WebSocket messages received."),
    "messages_out": ("messages_sent", "WebSocket messages sent."),
    "bytes_in": ("received_bytes", "Bytes of the messages received."),
    "bytes_out": ("sent_bytes", "Bytes of the messages sent."),
    "malformed_messages": ("messages_malformed", "Messages that could not be read."),
    "unknown_messages": ("messages_unknown", "Messages of an unknown event or track."),
    "over_budget": (
        "streams_over_budget",
        "Streams that were ended because more came than their budget allows.",
    ),
    "keys_in": ("keys_received", "Keys that callers pressed."),
    "interrupts": ("interrupts", "Interruptions of playback."),
    "checkpoints_sent": ("checkpoints_sent", "Checkpoints sent."),
    "checkpoints_confirmed": ("checkpoints_confirmed", "Checkpoints that Plivo confirmed."),
    "underruns": ("underruns", "Times that queued audio was sent too late for its playout."),
    "underrun_seconds": ("underrun_seconds", "How late that audio was, in total."),
    "producer_gaps": ("producer_gaps", "Gaps in speech because the handler had no more audio."),
    "producer_gap_seconds": ("producer_gap_seconds", "Total duration of those gaps."),
}
"""The metric's name and help text for every field of `StreamCounters`."""


_TURN_COUNTS: Final = {
    "turns": "Turns of conversations with agents.",
    "turns_interrupted": "Turns that were not heard to the end.",
}

_LABELLED_TURN_COUNTS: Final = {
    "barge_ins": (
        "outcome",
        "Times that a caller seemed to interrupt, by what it turned out to be.",
    ),
    "service_failures": ("service", "Failures of outside services."),
    "usage": ("unit", "Use of services, in the units they charge for."),
}
"""The second label of each, and its help text."""


class Lengths(Protocol):
    """How long calls were."""

    counts: list[int]
    sum: float


class Ended(Protocol):
    """The calls that have ended."""

    causes: Counter[tuple[str, str]]

    @property
    def lengths(self) -> Mapping[str, Lengths]:
        """How long they were, by handler."""


class Figures(Protocol):
    """The counters of a server."""

    calls_total: int
    refused: Counter[str]
    handler_errors: int
    dead_peers: int
    streams_lost: int
    streams_reopened: int
    connections_moved: int
    accept_failures: int
    tls_failures: int
    connections_dropped: Counter[str]
    webhooks: Counter[str]
    stream_statuses: Counter[str]
    overloaded: bool
    backlog: int
    loop_lag: float
    loop_lag_max: float
    loop_blocks: int

    certificate_expires: float | None

    @property
    def ended(self) -> Ended:
        """The calls that have ended."""

    @property
    def calls_active(self) -> int:
        """Calls that are connected."""


class FleetFigures(Protocol):
    """The counters of a member of a fleet."""

    members: int
    members_lost: int
    calls_lost: int
    refused: Counter[str]
    undelivered: int
    dropped: int

    @property
    def failures(self) -> int:
        """Requests that Redis did not answer."""

    @property
    def openings(self) -> int:
        """How often the breaker has opened."""

    @property
    def answers(self) -> bool:
        """Whether Redis answers."""


class RecordFigures(Protocol):
    """The counters of call records."""

    stored: int
    unstorable: int
    lost_calls: int
    database_away: bool
    failing: bool
    dropped: Counter[str]
    webhooks: Counter[str]

    @property
    def bytes(self) -> int:
        """Bytes that wait on the disk for the database."""


class CaptureFigures(Protocol):
    """What is counted of captures."""

    calls: int
    bytes: int
    failed: int
    full: int
    deleted: int


class CountedFleet(Protocol):
    """A fleet whose counters can be read."""

    @property
    def figures(self) -> FleetFigures:
        """The counters."""


class Source(Protocol):
    """The parts of a server that its metrics are read from."""

    draining: bool

    @property
    def fleet(self) -> CountedFleet | None:
        """The fleet that the server belongs to, if any."""

    @property
    def record_figures(self) -> RecordFigures | None:
        """The counters of call records, if there are any."""

    @property
    def capture_figures(self) -> CaptureFigures | None:
        """What is counted of captures, if any call is captured."""

    @property
    def counters(self) -> Figures:
        """The server's counters."""

    @property
    def settings(self) -> Any:
        """The server's settings."""

    def totals_by_handler(self) -> Mapping[str, StreamCounters]:
        """Return the sums over all calls of each handler, ended and live."""

    def live_by_handler(self) -> Mapping[str, int]:
        """Return the number of live calls of each handler."""


def exposition(source: Source) -> bytes:
    """Return every metric of a server in Prometheus's text format."""
    return exposition_of(collected(source))


def collected(source: Source) -> Iterator[Metric]:
    """Yield every metric of a server."""
    yield from ServerCollector(source).collect()
    yield from _PROCESS.collect()


def crew_metrics(
    workers: int,
    deaths: Mapping[str, float],
    reloads: Mapping[str, float],
    accept_failures: int,
) -> Iterator[Metric]:
    """Yield the metrics of a supervisor.

    Args:
        workers: Workers that live.
        deaths: Those that died unasked, by cause.
        reloads: Reloads, by outcome.
        accept_failures: Connections that it could not accept; the workers count their own.

    """
    yield _gauge("workers", "Worker processes that live.", workers)
    yield _by("worker_deaths", "Workers that died unasked, by cause.", "cause", deaths)
    yield _by("reloads", "Reloads, by outcome.", "outcome", reloads)
    yield _accept_failures(accept_failures)
    yield from _PROCESS.collect()


def _accept_failures(number: int) -> Metric:
    return _counter(
        "accept_failures",
        "Connections that could not be accepted for lack of file descriptors.",
        number,
    )


def exposition_of(metrics: Iterable[Metric]) -> bytes:
    """Return metrics in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(metrics))
    return generate_latest(registry)


class _Collected(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        return self._metrics


_PROCESS: Final = ProcessCollector(registry=None)
"""CPU, memory and file descriptors of the process; on Linux alone."""


class ServerCollector:
    """Reads one server's counters."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        source = self._source
        counters = source.counters
        build = GaugeMetricFamily("mediaserver_build_info", "Version.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        yield _gauge("calls_active", "Calls that are connected.", counters.calls_active)
        yield _gauge("calls_limit", "Most simultaneous calls.", source.settings.max_calls)
        yield _gauge("draining", "1 once the server was asked to stop.", int(source.draining))
        yield _counter("calls", "Calls that have connected.", counters.calls_total)
        yield from _ended(counters.ended)
        if counters.certificate_expires is not None:
            yield _gauge(
                "certificate_expiry_timestamp_seconds",
                "When the TLS certificate expires, in seconds since the epoch.",
                counters.certificate_expires,
            )
        yield _by("calls_refused", "Calls refused, by cause.", "cause", counters.refused)
        yield _by("webhooks", "Webhooks answered, by kind of reply.", "kind", counters.webhooks)
        yield _by(
            "stream_statuses",
            "Status callbacks of streams, by event.",
            "kind",
            counters.stream_statuses,
        )
        yield _counter(
            "handler_errors",
            "Calls that ended with an exception in their handler.",
            counters.handler_errors,
        )
        yield _counter(
            "dead_peers", "Calls closed because the peer was silent.", counters.dead_peers
        )
        yield _counter("streams_lost", "Streams whose connection was lost.", counters.streams_lost)
        yield _counter(
            "streams_reopened",
            "Lost streams that were opened again in time.",
            counters.streams_reopened,
        )
        yield _counter(
            "connections_moved",
            "Streams and webhooks that were brought to the process of their call.",
            counters.connections_moved,
        )
        yield _accept_failures(counters.accept_failures)
        yield _counter("tls_failures", "TLS handshakes that failed.", counters.tls_failures)
        yield _by(
            "connections_dropped",
            "Connections without a request that were closed to make room, by cause.",
            "cause",
            counters.connections_dropped,
        )
        yield _gauge("overloaded", "1 while new calls are turned away.", int(counters.overloaded))
        yield _gauge("backlog", "Connections that wait to be accepted.", counters.backlog)
        yield _gauge("loop_lag_seconds", "Current lag of the event loop.", counters.loop_lag)
        yield _gauge("loop_lag_max_seconds", "Largest lag so far.", counters.loop_lag_max)
        yield _counter("loop_blocks", "Times the event loop was blocked.", counters.loop_blocks)
        yield _counter("log_lines_dropped", "Log lines that nobody read in time.", dropped_lines())
        if source.fleet is not None:
            yield from _fleet(source.fleet.figures)
        if source.record_figures is not None:
            yield from _records(source.record_figures)
        if source.capture_figures is not None:
            yield from _captures(source.capture_figures)
        live = GaugeMetricFamily(
            "mediaserver_handler_calls_active",
            "Calls that are connected, by handler.",
            labels=["handler"],
        )
        for handler, number in sorted(source.live_by_handler().items()):
            live.add_metric([handler], number)
        yield live
        totals = dict(sorted(source.totals_by_handler().items()))
        for field, (name, text) in STREAM_METRICS.items():
            counts = {handler: getattr(each, field) for handler, each in totals.items()}
            yield _by(name, text, "handler", counts)
        yield from _conversations({handler: each.turns for handler, each in totals.items()})


def _fleet(figures: FleetFigures) -> Iterator[Metric]:
    yield _gauge("redis_up", "1 while Redis answers.", int(figures.answers))
    yield _counter("redis_failures", "Requests that Redis did not answer.", figures.failures)
    yield _counter(
        "redis_breaker_openings",
        "Times that Redis was not asked any more because it did not answer.",
        figures.openings,
    )
    yield _gauge("fleet_members", "Processes of all nodes that live.", figures.members)
    yield _counter(
        "fleet_members_lost",
        "Processes that this one found to be dead.",
        figures.members_lost,
    )
    yield _counter("fleet_calls_lost", "Calls that those had.", figures.calls_lost)
    yield _by(
        "fleet_calls_refused",
        "Calls refused for a limit of all nodes.",
        "limit",
        figures.refused,
    )
    yield _counter(
        "fleet_undelivered",
        "Requests and webhooks that another process did not get.",
        figures.undelivered,
    )
    yield _counter(
        "redis_requests_dropped",
        "Requests to Redis that were dropped because too many waited.",
        figures.dropped,
    )


def _records(figures: RecordFigures) -> Iterator[Metric]:
    up = not figures.database_away
    yield _gauge("records_database_up", "1 while the database of call records answers.", int(up))
    yield _gauge(
        "records_journal_up", "1 while the disk takes call records.", int(not figures.failing)
    )
    yield _gauge(
        "records_journal_bytes",
        "Bytes that the journals of call records take on the disk.",
        figures.bytes,
    )
    yield _counter("records_stored", "Events of calls that are in the database.", figures.stored)
    yield _counter(
        "records_unstorable",
        "Events of calls that were left out, because the database refuses them.",
        figures.unstorable,
    )
    yield _by(
        "records_dropped", "Events of calls that were lost, by cause.", "cause", figures.dropped
    )
    yield _counter(
        "records_calls_lost",
        "Calls whose process had died, and which this one has ended in the records.",
        figures.lost_calls,
    )
    yield _by(
        "records_webhooks",
        "Webhooks about calls that have ended, by outcome.",
        "outcome",
        figures.webhooks,
    )


def _captures(figures: CaptureFigures) -> Iterator[Metric]:
    yield _counter("captures", "Calls whose capture was begun.", figures.calls)
    yield _counter("capture_bytes", "Bytes of captures that were written.", figures.bytes)
    yield _counter(
        "captures_failed", "Captures given up because the disk did not take them.", figures.failed
    )
    yield _counter(
        "captures_full",
        "Captures that ended before their call, because live calls took all that captures may.",
        figures.full,
    )
    yield _counter(
        "captures_deleted", "Old captures that were deleted to make room.", figures.deleted
    )


def _conversations(by_handler: Mapping[str, TurnCounters]) -> Iterator[Metric]:
    seconds = HistogramMetricFamily(
        "mediaserver_turn_seconds",
        "Time from the caller's last speech to each stage of the answer; for a greeting, from the "
        "start of the stream until it is heard.",
        labels=["handler", "stage"],
    )
    counts: dict[str, dict[str, float]] = {"turns": {}, "turns_interrupted": {}}
    labelled: dict[str, dict[tuple[str, str], float]] = {
        "barge_ins": {},
        "service_failures": {},
        "usage": {},
    }
    for handler, turns in by_handler.items():
        counts["turns"][handler] = turns.turns
        counts["turns_interrupted"][handler] = turns.interrupted
        of_handler: Mapping[str, Mapping[str, float]] = {
            "barge_ins": turns.barge_ins,
            "service_failures": turns.failures,
            "usage": turns.usage,
        }
        for name, values in of_handler.items():
            labelled[name].update({(handler, key): value for key, value in values.items()})
        for stage, times in turns.stages.items():
            seconds.add_metric([handler, stage], _buckets(times, BUCKETS), times.sum)
    for name, text in _TURN_COUNTS.items():
        yield _by(name, text, "handler", counts[name])
    for name, (label, text) in _LABELLED_TURN_COUNTS.items():
        family = CounterMetricFamily(f"mediaserver_{name}", text, labels=["handler", label])
        for labels, value in sorted(labelled[name].items()):
            family.add_metric(labels, value)
        yield family
    yield seconds


def _ended(ended: Ended) -> Iterator[Metric]:
    causes = CounterMetricFamily(
        "mediaserver_calls_ended",
        "Calls that have ended, by handler and cause.",
        labels=["handler", "cause"],
    )
    for labels, number in sorted(ended.causes.items()):
        causes.add_metric(labels, number)
    yield causes
    seconds = HistogramMetricFamily(
        "mediaserver_call_seconds", "Length of the calls that have ended.", labels=["handler"]
    )
    for handler, lengths in sorted(ended.lengths.items()):
        seconds.add_metric([handler], _buckets(lengths, CALL_BUCKETS), lengths.sum)
    yield seconds


def _buckets(times: Lengths, bounds: Sequence[float]) -> list[tuple[str, float]]:
    """Return cumulative counts, which Prometheus expects."""
    names = [*(str(bound) for bound in bounds), "+Inf"]
    return list(zip(names, accumulate(times.counts), strict=True))


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"mediaserver_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"mediaserver_{name}", text, value=value)


def _by(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(f"mediaserver_{name}", text, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family
