"""Writes the dashboards for Grafana: ``python -m tools.dashboards`` (``make docs``).

Their JSON is long and repeats itself, so it is made from the tables here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final


FOLDER: Final = Path(__file__).parents[1] / "deploy" / "grafana"

_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}

_SCHEMA: Final = 39
"""The version of Grafana's dashboard model: of Grafana 11 and later."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: expressions by their legends."""

    title: str
    expressions: Mapping[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 12
    description: str = ""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard; `labels` are the labels that a reader can choose values of."""

    uid: str
    title: str
    description: str
    panels: Sequence[Panel]
    labels: Sequence[str] = ()


_LENGTHS: Final = "sum by (le) (increase(mediaserver_call_seconds_bucket{{{0}}}[$__range]))"
_STAGES: Final = 'job=~"$job", handler=~"$handler"'


def _rate(metric: str, by: str, where: str = 'job=~"$job"') -> str:
    return f"sum by ({by}) (rate({metric}{{{where}}}[$__rate_interval]))"


FLEET: Final = Dashboard(
    "mediaserver-fleet",
    "mediaserver: fleet",
    "Are there calls, is there room, and is anything broken?",
    [
        Panel("Live calls", {"": 'sum(mediaserver_calls_active{job=~"$job"})'}, "short", "stat", 6),
        Panel(
            "Room used",
            {"": 'max(instance:mediaserver_calls_limit:used_ratio{job=~"$job"})'},
            "percentunit",
            "stat",
            6,
            "Of the fullest node.",
        ),
        Panel(
            "Nodes that answer",
            {"": 'sum(up{job=~"$job"})'},
            "short",
            "stat",
            6,
        ),
        Panel(
            "Certificate expires",
            {"": 'min(mediaserver_certificate_expiry_timestamp_seconds{job=~"$job"}) - time()'},
            "s",
            "stat",
            6,
        ),
        Panel(
            "Live calls by handler",
            {"{{handler}}": 'job_handler:mediaserver_calls_active:sum{job=~"$job"}'},
        ),
        Panel("New calls a second", {"{{instance}}": _rate("mediaserver_calls_total", "instance")}),
        Panel("Refused calls", {"{{cause}}": _rate("mediaserver_calls_refused_total", "cause")}),
        Panel("Ends of calls", {"{{cause}}": _rate("mediaserver_calls_ended_total", "cause")}),
        Panel(
            "Loop lag",
            {
                "{{instance}} {{worker}}": "max by (instance, worker) "
                '(mediaserver_loop_lag_seconds{job=~"$job"})'
            },
            "s",
        ),
        Panel(
            "Blocked loops",
            {"{{instance}}": _rate("mediaserver_loop_blocks_total", "instance")},
        ),
        Panel(
            "Processor",
            {"{{instance}} {{worker}}": _rate("process_cpu_seconds_total", "instance, worker")},
            "percentunit",
            description="Of one core, for each process.",
        ),
        Panel(
            "Memory",
            {
                "{{instance}} {{worker}}": "sum by (instance, worker) "
                '(process_resident_memory_bytes{job=~"$job"})'
            },
            "bytes",
        ),
        Panel(
            "File descriptors used",
            {
                "{{instance}} {{worker}}": 'process_open_fds{job=~"$job"} '
                '/ process_max_fds{job=~"$job"}'
            },
            "percentunit",
        ),
        Panel(
            "Connections closed or not accepted",
            {
                "closed: {{cause}}": _rate("mediaserver_connections_dropped_total", "cause"),
                "not accepted": 'sum(rate(mediaserver_accept_failures_total{job=~"$job"}'
                "[$__rate_interval]))",
                "TLS failed": 'sum(rate(mediaserver_tls_failures_total{job=~"$job"}'
                "[$__rate_interval]))",
            },
        ),
        Panel(
            "Redis answers",
            {"{{instance}}": 'min by (instance) (mediaserver_redis_up{job=~"$job"})'},
        ),
        Panel(
            "Call records: database answers",
            {"{{instance}}": 'min by (instance) (mediaserver_records_database_up{job=~"$job"})'},
        ),
        Panel(
            "Call records: stored and lost",
            {
                "stored": 'sum(rate(mediaserver_records_stored_total{job=~"$job"}'
                "[$__rate_interval]))",
                "lost: {{cause}}": _rate("mediaserver_records_dropped_total", "cause"),
            },
        ),
        Panel(
            "Processes of the fleet",
            {
                "live": 'max(mediaserver_fleet_members{job=~"$job"})',
                "lost": 'sum(increase(mediaserver_fleet_members_lost_total{job=~"$job"}'
                "[$__rate_interval]))",
                "workers died": 'sum(increase(mediaserver_worker_deaths_total{job=~"$job"}'
                "[$__rate_interval]))",
            },
        ),
    ],
)

HANDLER: Final = Dashboard(
    "mediaserver-handler",
    "mediaserver: one handler",
    "What a handler's calls do, what they cost, and how they end.",
    [
        Panel(
            "Live calls",
            {"{{handler}}": f"sum by (handler) (mediaserver_handler_calls_active{{{_STAGES}}})"},
        ),
        Panel(
            "Ends of calls",
            {"{{cause}}": _rate("mediaserver_calls_ended_total", "cause", _STAGES)},
        ),
        Panel(
            "Length of calls",
            {
                "half": f"histogram_quantile(0.5, {_LENGTHS.format(_STAGES)})",
                "one in twenty": f"histogram_quantile(0.95, {_LENGTHS.format(_STAGES)})",
            },
            "s",
        ),
        Panel(
            "Turns a second",
            {
                "turns": f"sum(rate(mediaserver_turns_total{{{_STAGES}}}[$__rate_interval]))",
                "interrupted": f"sum(rate(mediaserver_turns_interrupted_total{{{_STAGES}}}"
                "[$__rate_interval]))",
            },
        ),
        Panel(
            "Failures of services",
            {"{{service}}": _rate("mediaserver_service_failures_total", "service", _STAGES)},
        ),
        Panel("Usage a second", {"{{unit}}": _rate("mediaserver_usage_total", "unit", _STAGES)}),
        Panel(
            "Apparent interruptions",
            {"{{outcome}}": _rate("mediaserver_barge_ins_total", "outcome", _STAGES)},
        ),
        Panel(
            "Keys pressed a second",
            {"{{handler}}": _rate("mediaserver_keys_received_total", "handler", _STAGES)},
        ),
    ],
    ["handler"],
)

QUALITY: Final = Dashboard(
    "mediaserver-quality",
    "mediaserver: quality of calls",
    "What callers hear: gaps, waiting, lost audio; and which part is slow.",
    [
        Panel(
            "Answers: one in twenty takes",
            {
                "{{handler}}": "job_handler_stage:mediaserver_turn_seconds:p95_15m"
                f'{{{_STAGES}, stage="audio_heard"}}'
            },
            "s",
            description="From the caller's last word until they hear the agent.",
        ),
        Panel(
            "The stages of an answer",
            {
                "{{stage}}": "histogram_quantile(0.95, sum by (stage, le) "
                f"(rate(mediaserver_turn_seconds_bucket{{{_STAGES}}}[$__rate_interval])))"
            },
            "s",
            description="Each counts from the caller's last word: the largest step is the slow "
            "service.",
        ),
        Panel(
            "Underruns in 5 minutes",
            {"{{handler}}": f"job_handler:mediaserver_underruns:increase5m{{{_STAGES}}}"},
            description="Gaps that this server causes. It should be zero.",
        ),
        Panel(
            "Gaps because no audio came",
            {"{{handler}}": f"job_handler:mediaserver_producer_gap_seconds:ratio5m{{{_STAGES}}}"},
            "percentunit",
            description="Silence in speech, per second of speech: the handler or its speech "
            "service was too slow.",
        ),
        Panel(
            "Audio that handlers read too late",
            {"{{handler}}": _rate("mediaserver_audio_dropped_seconds_total", "handler", _STAGES)},
            "s",
        ),
        Panel(
            "Frames that never came",
            {"{{handler}}": _rate("mediaserver_frames_lost_total", "handler", _STAGES)},
        ),
        Panel(
            "Streams lost and opened again",
            {
                "lost": 'sum(rate(mediaserver_streams_lost_total{job=~"$job"}[$__rate_interval]))',
                "opened again": 'sum(rate(mediaserver_streams_reopened_total{job=~"$job"}'
                "[$__rate_interval]))",
                "dead peers": 'sum(rate(mediaserver_dead_peers_total{job=~"$job"}'
                "[$__rate_interval]))",
            },
        ),
        Panel(
            "Failures of services per turn",
            {
                "{{service}} {{handler}}": "job_handler_service:mediaserver_service_failures:"
                f"ratio5m{{{_STAGES}}}"
            },
            "percentunit",
        ),
    ],
    ["handler"],
)

DASHBOARDS: Final = (FLEET, HANDLER, QUALITY)


def dashboard_json(dashboard: Dashboard) -> str:
    """Return a dashboard as Grafana imports it."""
    names = ("job", *dashboard.labels)
    model = {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["mediaserver"],
        "schemaVersion": _SCHEMA,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [_source(), *map(_choice, names)]},
        "panels": list(_placed(dashboard.panels)),
    }
    return json.dumps(model, indent=2, ensure_ascii=False) + "\n"


def _source() -> dict[str, Any]:
    return {"name": "source", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _choice(label: str) -> dict[str, Any]:
    metric = "mediaserver_handler_calls_active"
    return {
        "name": label,
        "label": label.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": f"label_values({metric}, {label})", "refId": "choice"},
        "definition": f"label_values({metric}, {label})",
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _placed(panels: Sequence[Panel]) -> Iterator[dict[str, Any]]:
    x = y = row = 0
    for number, panel in enumerate(panels, 1):
        height = 4 if panel.kind == "stat" else 8
        if x + panel.width > 24:
            x, y, row = 0, y + row, 0
        yield _panel(number, panel, {"x": x, "y": y, "w": panel.width, "h": height})
        x, row = x + panel.width, max(row, height)


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    targets = [
        {
            "refId": chr(ord("A") + index),
            "datasource": _SOURCE,
            "expr": expr,
            "legendFormat": legend,
        }
        for index, (legend, expr) in enumerate(panel.expressions.items())
    ]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }


def main() -> None:
    """Write them all."""
    for dashboard in DASHBOARDS:
        file = FOLDER / f"{dashboard.uid.removeprefix('mediaserver-')}.json"
        file.write_text(dashboard_json(dashboard), "utf-8")


if __name__ == "__main__":
    main()
