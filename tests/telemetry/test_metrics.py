import sys
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mediaserver.call import StreamCounters, Turn, Usage
from mediaserver.telemetry.metrics import (
    STREAM_METRICS,
    crew_metrics,
    exposition,
    exposition_of,
)


def source(totals: StreamCounters | None = None, **figures: Any) -> SimpleNamespace:
    counters = SimpleNamespace(
        calls_total=7,
        calls_active=2,
        refused=Counter(full=3, path=1),
        webhooks=Counter(stream=5),
        stream_statuses=Counter(played=3),
        handler_errors=1,
        dead_peers=4,
        streams_lost=8,
        streams_reopened=6,
        connections_moved=5,
        accept_failures=8,
        certificate_expires=1_900_000_000.0,
        ended=SimpleNamespace(
            causes=Counter({("Echo", "plivo"): 2}),
            lengths={"Echo": SimpleNamespace(counts=[1, 0, 1, 0, 0, 0, 0, 0, 0], sum=50.0)},
        ),
        tls_failures=9,
        connections_dropped=Counter(idle=10),
        overloaded=True,
        backlog=3,
        loop_lag=0.002,
        loop_lag_max=0.5,
        loop_blocks=6,
    )
    return SimpleNamespace(
        counters=counters,
        settings=SimpleNamespace(max_calls=200),
        draining=True,
        fleet=None,
        record_figures=None,
        capture_figures=None,
        totals_by_handler=lambda: {"Echo": totals or StreamCounters()},
        live_by_handler=lambda: {"Echo": 2},
    )


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_every_figure_is_shown() -> None:
    shown = samples(exposition(source()))
    assert shown["mediaserver_calls_active",] == 2
    assert shown["mediaserver_calls_limit",] == 200
    assert shown["mediaserver_handler_calls_active", "Echo"] == 2
    assert shown["mediaserver_calls_total",] == 7
    assert shown["mediaserver_calls_refused_total", "full"] == 3
    assert shown["mediaserver_calls_refused_total", "path"] == 1
    assert shown["mediaserver_webhooks_total", "stream"] == 5
    assert shown["mediaserver_stream_statuses_total", "played"] == 3
    assert shown["mediaserver_handler_errors_total",] == 1
    assert shown["mediaserver_dead_peers_total",] == 4
    assert shown["mediaserver_streams_lost_total",] == 8
    assert shown["mediaserver_streams_reopened_total",] == 6
    assert shown["mediaserver_certificate_expiry_timestamp_seconds",] == 1_900_000_000
    assert shown["mediaserver_calls_ended_total", "plivo", "Echo"] == 2
    assert shown["mediaserver_call_seconds_count", "Echo"] == 2
    assert shown["mediaserver_call_seconds_sum", "Echo"] == 50
    assert shown["mediaserver_accept_failures_total",] == 8
    assert shown["mediaserver_tls_failures_total",] == 9
    assert shown["mediaserver_connections_dropped_total", "idle"] == 10
    assert shown["mediaserver_connections_moved_total",] == 5
    assert shown["mediaserver_overloaded",] == 1
    assert shown["mediaserver_backlog",] == 3
    assert shown["mediaserver_loop_lag_seconds",] == 0.002
    assert shown["mediaserver_loop_lag_max_seconds",] == 0.5
    assert shown["mediaserver_loop_blocks_total",] == 6
    assert shown["mediaserver_draining",] == 1


def test_every_count_of_a_stream_has_a_metric() -> None:
    assert set(STREAM_METRICS) == set(StreamCounters().as_dict())


def test_counts_of_streams_are_shown() -> None:
    totals = StreamCounters()
    for number, name in enumerate(STREAM_METRICS, 1):
        setattr(totals, name, number)
    shown = samples(exposition(source(totals)))
    for number, (metric, _) in enumerate(STREAM_METRICS.values(), 1):
        assert shown[f"mediaserver_{metric}_total", "Echo"] == number


def test_each_scrape_reads_anew() -> None:
    server = source()
    exposition(server)
    server.counters.calls_active = 9
    assert samples(exposition(server))["mediaserver_calls_active",] == 9


def test_turns_are_shown() -> None:
    totals = StreamCounters()
    for seconds in (0.05, 0.65, 0.68, 20.0):
        totals.turns.count(
            Turn(number=1, interrupted=seconds > 10, audio_heard=seconds, usage=Usage(tokens_in=7))
        )
    totals.turns.count_barge_in(False)
    totals.turns.failures["speech"] = 3
    shown = samples(exposition(source(totals)))
    assert shown["mediaserver_turns_total", "Echo"] == 4
    assert shown["mediaserver_turns_interrupted_total", "Echo"] == 1
    assert shown["mediaserver_barge_ins_total", "Echo", "false"] == 1
    assert shown["mediaserver_service_failures_total", "Echo", "speech"] == 3
    assert shown["mediaserver_usage_total", "Echo", "tokens_in"] == 28
    buckets = {
        bound: shown["mediaserver_turn_seconds_bucket", "Echo", bound, "audio_heard"]
        for bound in ("0.1", "0.6", "0.7", "10.0", "+Inf")
    }
    assert buckets == {"0.1": 1, "0.6": 1, "0.7": 3, "10.0": 3, "+Inf": 4}
    assert shown["mediaserver_turn_seconds_count", "Echo", "audio_heard"] == 4
    assert shown["mediaserver_turn_seconds_sum", "Echo", "audio_heard"] == pytest.approx(21.38)


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_figures_of_the_process_are_shown() -> None:
    shown = samples(exposition(source()))
    for name in ("cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds"):
        assert shown[f"process_{name}",] > 0


def test_a_supervisor_counts_its_workers() -> None:
    shown = samples(exposition_of(crew_metrics(2, {"signal 9": 3}, {"done": 4}, 0)))
    assert shown["mediaserver_workers",] == 2
    assert shown["mediaserver_worker_deaths_total", "signal 9"] == 3
    assert shown["mediaserver_reloads_total", "done"] == 4
    assert "process_cpu_seconds_total" in {name for name, *_ in shown} or sys.platform != "linux"


def test_a_fleet_is_shown_if_there_is_one() -> None:
    assert not any("fleet" in name or "redis" in name for name, *_ in samples(exposition(source())))
    joined = source()
    joined.fleet = SimpleNamespace(
        figures=SimpleNamespace(
            answers=True,
            failures=3,
            openings=1,
            members=4,
            members_lost=2,
            calls_lost=5,
            refused=Counter(account=6),
            undelivered=7,
            dropped=8,
        )
    )
    shown = samples(exposition(joined))
    assert shown["mediaserver_redis_up",] == 1
    assert shown["mediaserver_redis_failures_total",] == 3
    assert shown["mediaserver_redis_breaker_openings_total",] == 1
    assert shown["mediaserver_fleet_members",] == 4
    assert shown["mediaserver_fleet_members_lost_total",] == 2
    assert shown["mediaserver_fleet_calls_lost_total",] == 5
    assert shown["mediaserver_fleet_calls_refused_total", "account"] == 6
    assert shown["mediaserver_fleet_undelivered_total",] == 7
    assert shown["mediaserver_redis_requests_dropped_total",] == 8
