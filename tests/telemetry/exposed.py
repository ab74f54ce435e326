"""Every metric that a server, a supervisor and a member of a fleet can show."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from mediaserver.call import StreamCounters
from mediaserver.captures.capture_writer import WriterFigures
from mediaserver.records.shipping_thread import ShippedFigures
from mediaserver.server.counters import ServerCounters
from mediaserver.settings import Settings
from mediaserver.telemetry.metrics import collected, crew_metrics, exposition_of


def full_exposition() -> bytes:
    """Return every metric as it is scraped, each with one sample at least."""
    totals = StreamCounters()
    totals.turns.failures["x"] = 1
    record_figures = ShippedFigures()
    record_figures.dropped = record_figures.webhooks = Counter(x=1)
    source: Any = SimpleNamespace(
        counters=ServerCounters(()),
        settings=Settings(),
        draining=False,
        fleet=SimpleNamespace(
            figures=SimpleNamespace(
                answers=True,
                failures=0,
                openings=0,
                members=1,
                members_lost=0,
                calls_lost=0,
                refused=Counter(x=1),
                undelivered=0,
                dropped=0,
            )
        ),
        record_figures=record_figures,
        capture_figures=WriterFigures(),
        totals_by_handler=lambda: {"x": totals},
        live_by_handler=lambda: {"x": 0},
    )
    counters = source.counters
    counters.refused = counters.webhooks = counters.stream_statuses = Counter(x=1)
    counters.connections_dropped = Counter(x=1)
    counters.ended.count("x", "stop", 1.0)
    counters.certificate_expires = 1.0
    crew = crew_metrics(1, Counter(x=1), Counter(x=1), 1)
    metrics = {each.name: each for each in (*crew, *collected(source))}
    return exposition_of(metrics.values())


def exposed_metrics() -> set[str]:
    """Return the name of every sample."""
    families = text_string_to_metric_families(full_exposition().decode())
    return {sample.name for family in families for sample in family.samples}
