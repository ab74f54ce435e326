from collections import Counter
from types import SimpleNamespace

from prometheus_client.parser import text_string_to_metric_families

from mediaserver.call import StreamCounters
from mediaserver.telemetry.metrics import STREAM_METRICS, exposition


def source(totals=None, **figures):
    counters = SimpleNamespace(
        calls_total=7,
        calls_active=2,
        refused=Counter(full=3, path=1),
        webhooks=Counter(stream=5),
        stream_statuses=Counter(played=3),
        handler_errors=1,
        dead_peers=4,
        loop_lag=0.002,
        loop_lag_max=0.5,
        loop_blocks=6,
    )
    return SimpleNamespace(
        counters=counters,
        settings=SimpleNamespace(max_calls=200),
        draining=True,
        stream_totals=lambda: totals or StreamCounters(),
    )


def samples(text):
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_every_figure_is_shown():
    shown = samples(exposition(source()))
    assert shown["mediaserver_calls_active",] == 2
    assert shown["mediaserver_calls_limit",] == 200
    assert shown["mediaserver_calls_total",] == 7
    assert shown["mediaserver_calls_refused_total", "full"] == 3
    assert shown["mediaserver_calls_refused_total", "path"] == 1
    assert shown["mediaserver_webhooks_total", "stream"] == 5
    assert shown["mediaserver_stream_statuses_total", "played"] == 3
    assert shown["mediaserver_handler_errors_total",] == 1
    assert shown["mediaserver_dead_peers_total",] == 4
    assert shown["mediaserver_loop_lag_seconds",] == 0.002
    assert shown["mediaserver_loop_lag_max_seconds",] == 0.5
    assert shown["mediaserver_loop_blocks_total",] == 6
    assert shown["mediaserver_draining",] == 1


def test_every_count_of_a_stream_has_a_metric():
    assert set(STREAM_METRICS) == set(StreamCounters().as_dict())


def test_counts_of_streams_are_shown():
    totals = StreamCounters()
    for number, name in enumerate(STREAM_METRICS, 1):
        setattr(totals, name, number)
    shown = samples(exposition(source(totals)))
    for number, (metric, _) in enumerate(STREAM_METRICS.values(), 1):
        assert shown[f"mediaserver_{metric}_total",] == number


def test_each_scrape_reads_anew():
    server = source()
    exposition(server)
    server.counters.calls_active = 9
    assert samples(exposition(server))["mediaserver_calls_active",] == 9
