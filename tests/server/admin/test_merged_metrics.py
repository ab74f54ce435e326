from collections import Counter
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from mediaserver.call import StreamCounters
from mediaserver.captures.capture_writer import WriterFigures
from mediaserver.records.shipping_thread import ShippedFigures
from mediaserver.server.admin.merged_metrics import (
    GAUGES,
    MergedMetrics,
    MetricFamily,
    families_of,
)
from mediaserver.server.counters import ServerCounters
from mediaserver.settings import Settings
from mediaserver.telemetry.metrics import collected, exposition


class Worker:
    """A worker's counters."""

    def __init__(self, *, active: int = 0, draining: bool = False) -> None:
        self.counters = ServerCounters(range(active))
        self.settings = Settings(max_calls=50)
        self.draining = draining
        self.fleet = None
        self.record_figures = ShippedFigures()
        self.capture_figures = WriterFigures()
        self.totals = StreamCounters()

    def totals_by_handler(self) -> dict[str, StreamCounters]:
        return {"Echo": self.totals}

    def live_by_handler(self) -> dict[str, int]:
        return {"Echo": self.counters.calls_active}

    def exposition(self) -> bytes:
        source: Any = self
        return exposition(source)

    def families(self) -> list[MetricFamily]:
        """Return what it sends."""
        source: Any = self
        sent = msgspec.msgpack.encode(families_of(collected(source)))
        return msgspec.msgpack.decode(sent, type=list[MetricFamily])


def merged(**workers: Worker) -> MergedMetrics:
    metrics = MergedMetrics()
    for name, worker in workers.items():
        metrics.keep(name, worker.families())
    return metrics


def samples(metrics: MergedMetrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if family.name.startswith("mediaserver_")
    }


def value(metrics: MergedMetrics, name: str, **labels: str) -> float:
    return samples(metrics)[f"mediaserver_{name}", tuple(sorted(labels.items()))]


def test_one_worker_is_shown_as_it_is() -> None:
    worker = Worker(active=3)
    worker.counters.refuse("full")
    worker.counters.ended.count("Echo", "the handler returned", 12.0)
    worker.totals.turns.failures["chat"] = 2
    alone = MergedMetrics()
    alone.keep("1", worker.families())
    families = {
        each.name: each for each in text_string_to_metric_families(alone.exposition().decode())
    }
    for family in text_string_to_metric_families(worker.exposition().decode()):
        again = families[family.name]
        assert (again.type, again.documentation) == (family.type, family.documentation)
        if GAUGES.get(family.name) != "worker" and family.name.startswith("mediaserver_"):
            assert again.samples == family.samples


def test_counts_are_summed_label_by_label() -> None:
    one, other = Worker(active=1), Worker(active=2)
    one.counters.calls_total, other.counters.calls_total = 5, 7
    one.counters.refuse("full")
    other.counters.refuse("full")
    other.counters.refuse("token")
    metrics = merged(a=one, b=other)
    assert value(metrics, "calls_total") == 12
    assert value(metrics, "calls_active") == 3
    assert value(metrics, "handler_calls_active", handler="Echo") == 3
    assert value(metrics, "calls_refused_total", cause="full") == 2
    assert value(metrics, "calls_refused_total", cause="token") == 1


def test_histograms_are_summed_bucket_by_bucket() -> None:
    one, other = Worker(), Worker()
    one.counters.ended.count("Echo", "", 12.0)
    other.counters.ended.count("Echo", "", 45.0)
    other.counters.ended.count("Menu", "", 45.0)
    metrics = merged(a=one, b=other)
    assert value(metrics, "call_seconds_bucket", handler="Echo", le="30.0") == 1
    assert value(metrics, "call_seconds_bucket", handler="Echo", le="60.0") == 2
    assert value(metrics, "call_seconds_count", handler="Echo") == 2
    assert value(metrics, "call_seconds_sum", handler="Echo") == 57
    assert value(metrics, "call_seconds_count", handler="Menu") == 1


def test_gauges_are_merged_as_the_table_says() -> None:
    one, other = Worker(), Worker(draining=True)
    one.counters.loop_lag, other.counters.loop_lag = 0.25, 0.5
    one.counters.certificate_expires, other.counters.certificate_expires = 2.0, 1.0
    metrics = merged(a=one, b=other)
    assert value(metrics, "calls_limit") == 50
    assert value(metrics, "certificate_expiry_timestamp_seconds") == 1
    assert value(metrics, "loop_lag_seconds", worker="a") == 0.25
    assert value(metrics, "loop_lag_seconds", worker="b") == 0.5
    assert value(metrics, "draining", worker="b") == 1


def test_every_gauge_of_the_server_has_a_rule() -> None:
    families = text_string_to_metric_families(Worker().exposition().decode())
    gauges = {each.name for each in families if each.type == "gauge"}
    own = {each for each in gauges if each.startswith("mediaserver_")}
    assert own <= set(GAUGES)


def test_what_a_process_says_of_itself_is_shown_for_each() -> None:
    families = {
        family.name: family
        for family in text_string_to_metric_families(
            merged(a=Worker(), b=Worker()).exposition().decode()
        )
    }
    cpu = families["process_cpu_seconds"]
    assert [each.labels for each in cpu.samples] == [{"worker": "a"}, {"worker": "b"}]


def test_the_latest_figures_of_a_worker_count() -> None:
    worker = Worker()
    metrics = merged(a=worker)
    worker.counters.calls_total = 9
    metrics.keep("a", worker.families())
    assert value(metrics, "calls_total") == 9


def calls_total(number: int) -> list[MetricFamily]:
    samples = [("mediaserver_calls_total", {"handler": "Echo"}, float(number))]
    return [MetricFamily("mediaserver_calls", "counter", "Calls.", samples)]


@given(
    steps=st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["call", "scrape", "end"])), max_size=30
    )
)
@settings(max_examples=30)
def test_no_counter_falls_when_workers_end(steps: list[tuple[str, str]]) -> None:
    metrics = MergedMetrics()
    calls: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    over = before = 0
    for name, step in steps:
        if step == "call":
            calls[name] += 1
        elif step == "scrape":
            metrics.keep(name, calls_total(calls[name]))
            seen[name] = calls[name]
        else:
            metrics.forget(name)
            over += seen.pop(name, 0)
            calls.pop(name, None)
        now = samples(metrics).get(("mediaserver_calls_total", (("handler", "Echo"),)), 0)
        assert now == over + seen.total() >= before
        before = round(now)


def test_a_worker_that_has_ended_leaves_only_its_counts() -> None:
    one, other = Worker(active=1), Worker(active=2)
    one.counters.calls_total = other.counters.calls_total = 4
    one.counters.ended.count("Echo", "", 12.0)
    metrics = merged(a=one, b=other)
    metrics.forget("a")
    metrics.forget("never seen")
    assert value(metrics, "calls_total") == 8
    assert value(metrics, "calls_active") == 2
    assert value(metrics, "call_seconds_count", handler="Echo") == 1
    assert ("mediaserver_draining", (("worker", "a"),)) not in samples(metrics)
    metrics.forget("b")
    assert value(metrics, "calls_total") == 8
