"""The metrics of several workers as those of one server.

Counters and histograms are summed. What became of a worker's counts must not be forgotten when it
has ended: a counter that falls looks to Prometheus like a restart, upon which it counts everything
once more. So those of workers that are gone are kept, as they were last seen.

A gauge is summed, or the largest or smallest of the workers', or shown for each worker, with its
name as the label ``worker``: `GAUGES` says which. What a process says of itself (``process_…``) is
shown for each worker as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Literal, TypeAlias

import msgspec
from prometheus_client.core import Metric

from mediaserver.telemetry.metrics import exposition_of


GaugeRule: TypeAlias = Literal["sum", "max", "min", "worker"]

GAUGES: Final[Mapping[str, GaugeRule]] = {
    "mediaserver_build_info": "max",
    "mediaserver_backlog": "worker",
    "mediaserver_calls_active": "sum",
    "mediaserver_calls_limit": "max",
    "mediaserver_certificate_expiry_timestamp_seconds": "min",
    "mediaserver_draining": "worker",
    "mediaserver_fleet_members": "max",
    "mediaserver_handler_calls_active": "sum",
    "mediaserver_loop_lag_max_seconds": "worker",
    "mediaserver_loop_lag_seconds": "worker",
    "mediaserver_redis_up": "min",
    "mediaserver_overloaded": "worker",
    "mediaserver_records_database_up": "min",
    "mediaserver_records_journal_bytes": "max",
    "mediaserver_records_journal_up": "min",
    "mediaserver_workers": "sum",
}
"""How each gauge is merged; those that are not named are shown for each worker."""

_MERGE: Final[Mapping[GaugeRule, Callable[[float, float], float]]] = {
    "sum": lambda one, other: one + other,
    "max": max,
    "min": min,
}

_PROCESS: Final = "process_"


class MetricFamily(msgspec.Struct, frozen=True, array_like=True):
    """A metric with its values, as a worker sends it. Reading text takes far longer."""

    name: str
    type: str
    documentation: str
    samples: list[tuple[str, dict[str, str], float]]
    """The name, the labels and the value of each."""


def families_of(metrics: Iterable[Metric]) -> list[MetricFamily]:
    """Return metrics as they can be sent."""
    return [
        MetricFamily(
            each.name,
            each.type,
            each.documentation,
            [(sample.name, sample.labels, sample.value) for sample in each.samples],
        )
        for each in metrics
    ]


class MergedMetrics:
    """The metrics of all workers that a server has had."""

    def __init__(self) -> None:
        self._of: dict[str, list[MetricFamily]] = {}
        self._gone: dict[str, MetricFamily] = {}

    def keep(self, worker: str, families: list[MetricFamily]) -> None:
        """Take a worker's metrics, in place of its earlier ones."""
        self._of[worker] = families

    def forget(self, worker: str) -> None:
        """Keep only the counts of a worker: it has ended."""
        for family in self._of.pop(worker, ()):
            if _is_summed(family):
                former = self._gone.get(family.name)
                both = [family] if former is None else [former, family]
                self._gone[family.name] = _merged([("", each) for each in both])

    def exposition(self) -> bytes:
        """Return the metrics of all workers in Prometheus's text format."""
        return exposition_of(self._metrics())

    def _metrics(self) -> Iterator[Metric]:
        families: dict[str, list[tuple[str, MetricFamily]]] = {}
        for name, gone in self._gone.items():
            families[name] = [("", gone)]
        for worker, of_worker in self._of.items():
            for family in of_worker:
                families.setdefault(family.name, []).append((worker, family))
        for several in families.values():
            merged = _merged(several)
            metric = Metric(merged.name, merged.documentation, merged.type)
            for sample in merged.samples:
                metric.add_sample(*sample)
            yield metric


def _is_summed(family: MetricFamily) -> bool:
    return family.type in ("counter", "histogram") and not family.name.startswith(_PROCESS)


def _rule_of(family: MetricFamily) -> GaugeRule:
    return "sum" if _is_summed(family) else GAUGES.get(family.name, "worker")


def _merged(several: list[tuple[str, MetricFamily]]) -> MetricFamily:
    """Merge families of the same name, each with the name of its worker."""
    newest = several[-1][1]
    rule = _rule_of(newest)
    samples: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for worker, family in several:
        for name, labels, value in family.samples:
            own = {**labels, "worker": worker} if rule == "worker" else labels
            key = name, tuple(own.items())
            samples[key] = _MERGE[rule](samples[key], value) if key in samples else value
    return MetricFamily(
        newest.name,
        newest.type,
        newest.documentation,
        [(name, dict(labels), value) for (name, labels), value in samples.items()],
    )
