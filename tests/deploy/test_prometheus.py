"""The rules: what they name exists, and each alert fires when it should and is silent otherwise."""

import re
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from mediaserver.cli import app
from mediaserver.records.database import RecordsDatabase
from mediaserver.records.shipping_thread import ShippedFigures
from tests.deploy.promql import metric_names
from tests.deploy.rules import DEPLOY, RULE_FILES, rules
from tests.telemetry.exposed import exposed_metrics, full_exposition


ALERTS = rules("alert")
RECORDED = rules("record")

_NODE = 'job="mediaserver", instance="a:9100"'
_ECHO = f'{_NODE}, handler="Echo"'

QUIET = {
    f"up{{{_NODE}}}": "1x40",
    f"process_open_fds{{{_NODE}}}": "50x40",
    f"process_max_fds{{{_NODE}}}": "1000x40",
    f"mediaserver_calls_active{{{_NODE}}}": "40x40",
    f"mediaserver_calls_limit{{{_NODE}}}": "100x40",
    f'mediaserver_calls_refused_total{{{_NODE}, cause="busy"}}': "7x40",
    f'mediaserver_calls_refused_total{{{_NODE}, cause="token"}}': "0+5x40",
    f'mediaserver_calls_ended_total{{{_ECHO}, cause="plivo"}}': "0+30x40",
    f'mediaserver_calls_ended_total{{{_ECHO}, cause="lost"}}': "0+0x40",
    f'mediaserver_calls_ended_total{{{_ECHO}, cause="handler_error"}}': "3x40",
    f"mediaserver_underruns_total{{{_ECHO}}}": "2x40",
    f'mediaserver_turn_seconds_bucket{{{_ECHO}, stage="audio_heard", le="1.0"}}': "0+20x40",
    f'mediaserver_turn_seconds_bucket{{{_ECHO}, stage="audio_heard", le="3.0"}}': "0+20x40",
    f'mediaserver_turn_seconds_bucket{{{_ECHO}, stage="audio_heard", le="+Inf"}}': "0+20x40",
    f"mediaserver_turns_total{{{_ECHO}}}": "0+20x40",
    f'mediaserver_service_failures_total{{{_ECHO}, service="openai_chat"}}': "9x40",
    f"mediaserver_streams_over_budget_total{{{_ECHO}}}": "1x40",
    f"mediaserver_fleet_members_lost_total{{{_NODE}}}": "4x40",
    f'mediaserver_worker_deaths_total{{{_NODE}, cause="signal 9"}}': "1x40",
    f"mediaserver_loop_blocks_total{{{_NODE}}}": "2x40",
    f"mediaserver_loop_lag_seconds{{{_NODE}}}": "0.002x40",
    f"mediaserver_overloaded{{{_NODE}}}": "0x40",
    f"mediaserver_accept_failures_total{{{_NODE}}}": "3x40",
    f"mediaserver_certificate_expiry_timestamp_seconds{{{_NODE}}}": f"{60 * 86400}x40",
    f"mediaserver_redis_up{{{_NODE}}}": "1x40",
    f"mediaserver_redis_requests_dropped_total{{{_NODE}}}": "8x40",
    f"mediaserver_records_database_up{{{_NODE}}}": "1x40",
    f"mediaserver_records_journal_up{{{_NODE}}}": "1x40",
    f'mediaserver_records_dropped_total{{{_NODE}, cause="journal"}}': "5x40",
    f"mediaserver_records_unstorable_total{{{_NODE}}}": "2x40",
    f"mediaserver_records_calls_lost_total{{{_NODE}}}": "3x40",
    f'mediaserver_records_webhooks_total{{{_NODE}, outcome="given_up"}}': "1x40",
    f'mediaserver_records_webhooks_total{{{_NODE}, outcome="failed"}}': "0+2x40",
}
"""A server on a good day; its counters have seen worse ones."""


@dataclass(frozen=True)
class Case:
    """What makes an alert fire, in place of the quiet series of the same names."""

    series: dict[str, str]
    summary: str
    labels: dict[str, str] = field(default_factory=lambda: {"instance": "a:9100"})


_HANDLER = "{{ $labels.handler }}"

_BY_HANDLER = {"handler": "Echo"}

CASES = {
    "MediaserverCallersToldBusy": Case(
        {f'mediaserver_calls_refused_total{{{_NODE}, cause="busy"}}': "7+2x40"},
        "10 callers were told that the server is busy",
        {},
    ),
    "MediaserverNearlyFull": Case(
        {f"mediaserver_calls_active{{{_NODE}}}": "90x40"}, "a:9100 uses 90% of its places"
    ),
    "MediaserverCallsLost": Case(
        {f'mediaserver_calls_ended_total{{{_ECHO}, cause="lost"}}': "0+1x40"},
        "15 calls of Echo lost their connection",
        _BY_HANDLER,
    ),
    "MediaserverUnderruns": Case(
        {f"mediaserver_underruns_total{{{_ECHO}}}": "2+3x40"},
        "callers of Echo hear gaps: 15 in 5 minutes",
        _BY_HANDLER,
    ),
    "MediaserverSlowAnswers": Case(
        {f'mediaserver_turn_seconds_bucket{{{_ECHO}, stage="audio_heard", le="1.0"}}': "0+0x40"},
        "one answer in twenty of Echo takes 2.9 s",
        {"handler": "Echo", "stage": "audio_heard"},
    ),
    "MediaserverServiceFails": Case(
        {f'mediaserver_service_failures_total{{{_ECHO}, service="openai_chat"}}': "9+2x40"},
        "openai_chat fails in 10% of the turns of Echo",
        {"handler": "Echo", "service": "openai_chat"},
    ),
    "MediaserverHandlerErrors": Case(
        {f'mediaserver_calls_ended_total{{{_ECHO}, cause="handler_error"}}': "3+2x40"},
        "30 calls of Echo ended with an exception",
        _BY_HANDLER,
    ),
    "MediaserverStreamsOverBudget": Case(
        {f"mediaserver_streams_over_budget_total{{{_ECHO}}}": "1+1x40"},
        "15 streams of Echo sent more than their budget",
        _BY_HANDLER,
    ),
    "MediaserverNodeGone": Case({f"up{{{_NODE}}}": "1x10 0x30"}, "a:9100 does not answer"),
    "MediaserverProcessesLost": Case(
        {f"mediaserver_fleet_members_lost_total{{{_NODE}}}": "4+1x40"},
        "5 processes of the fleet died without a farewell",
        {},
    ),
    "MediaserverWorkersDie": Case(
        {f'mediaserver_worker_deaths_total{{{_NODE}, cause="signal 9"}}': "1+1x40"},
        "15 workers of a:9100 died",
    ),
    "MediaserverLoopLag": Case(
        {f"mediaserver_loop_blocks_total{{{_NODE}}}": "2+1x40"},
        "the event loop of a:9100 is blocked again and again",
    ),
    "MediaserverOverloaded": Case(
        {f"mediaserver_overloaded{{{_NODE}}}": "1x40"},
        "a:9100 turns new calls away because too much comes",
    ),
    "MediaserverOutOfDescriptors": Case(
        {f"mediaserver_accept_failures_total{{{_NODE}}}": "3+1x40"},
        "a:9100 could not accept connections: no file descriptor was left",
    ),
    "MediaserverDescriptorsNearlyGone": Case(
        {f"process_open_fds{{{_NODE}}}": "900x40"}, "a:9100 uses 90% of its descriptors"
    ),
    "MediaserverCertificateExpires": Case(
        {f"mediaserver_certificate_expiry_timestamp_seconds{{{_NODE}}}": f"{13 * 86400 + 1800}x40"},
        "the certificate of a:9100 expires in 13d 0h 0m 0s",
    ),
    "MediaserverRedisAway": Case(
        {f"mediaserver_redis_up{{{_NODE}}}": "1x10 0x30"}, "a:9100 gets no answer from Redis"
    ),
    "MediaserverRedisRequestsDropped": Case(
        {f"mediaserver_redis_requests_dropped_total{{{_NODE}}}": "8+1x40"},
        "a:9100 drops requests to Redis",
    ),
    "MediaserverRecordsDatabaseAway": Case(
        {f"mediaserver_records_database_up{{{_NODE}}}": "1x10 0x30"},
        "a:9100 cannot reach the database of call records",
    ),
    "MediaserverRecordsLost": Case(
        {f'mediaserver_records_dropped_total{{{_NODE}, cause="journal"}}': "5+1x40"},
        "a:9100 loses call records, or is about to",
    ),
    "MediaserverRecordsUnstorable": Case(
        {f"mediaserver_records_unstorable_total{{{_NODE}}}": "2x20 3x20"},
        "1 events of calls from a:9100 are in no record",
    ),
    "MediaserverCallsCutByDeath": Case(
        {f"mediaserver_records_calls_lost_total{{{_NODE}}}": "3+2x40"},
        "30 calls ended because their process died",
        {},
    ),
    "MediaserverWebhooksGivenUp": Case(
        {f'mediaserver_records_webhooks_total{{{_NODE}, outcome="given_up"}}': "0x20 1x20"},
        "1 ended calls were never told to the webhook",
        {},
    ),
}


def names_in(rule: dict[str, Any]) -> set[str]:
    return metric_names(rule["expr"])


@pytest.mark.parametrize("rule", [*ALERTS.values(), *RECORDED.values()], ids=[*ALERTS, *RECORDED])
def test_rules_use_only_what_exists(rule: dict[str, Any]) -> None:
    known = exposed_metrics() | set(RECORDED) | {"up"}
    assert names_in(rule)
    assert names_in(rule) <= known


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(rule["annotations"]) - {"find"} == {"summary", "description", "runbook"}
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    text = (DEPLOY.parent / page).read_text("utf-8")
    assert anchor == alert.lower()
    assert re.search(rf"^### {alert}$", text, re.M)


@pytest.mark.parametrize(
    "alert", [name for name in ALERTS if "find" in ALERTS[name]["annotations"]]
)
def test_the_command_that_finds_the_calls_works(alert: str, records: Path) -> None:
    program, *arguments = shlex.split(ALERTS[alert]["annotations"]["find"])
    found = CliRunner().invoke(app, [*arguments, "--records", str(records)])
    assert (program, found.exit_code, found.stderr) == ("mediaserver", 0, "no calls were found\n")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database without calls."""
    path = tmp_path_factory.mktemp("records") / "calls.db"
    database = RecordsDatabase(f"sqlite:///{path}")
    database.prepare()
    database.close()
    return path


@pytest.mark.parametrize(
    "alert", ["MediaserverProcessesLost", "MediaserverWorkersDie", "MediaserverLoopLag"]
)
def test_an_alert_about_a_process_names_the_calls_that_it_harmed(alert: str) -> None:
    assert "find" in ALERTS[alert]["annotations"]


def test_the_first_loss_of_a_kind_is_an_increase() -> None:
    figures = ShippedFigures()
    assert dict(figures.dropped) == {"journal": 0, "disk": 0, "event": 0}
    assert dict(figures.webhooks) == {"delivered": 0, "failed": 0, "given_up": 0}


def test_each_alert_is_tested() -> None:
    assert set(CASES) == set(ALERTS)


def test_the_rules_are_well_formed(promtool: str) -> None:
    subprocess.run([promtool, "check", "rules", *RULE_FILES], check=True, capture_output=True)


def test_the_names_of_metrics_follow_the_conventions(promtool: str) -> None:
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=full_exposition(), capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def series(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"series": name, "values": given} for name, given in values.items()]


def expected(alert: str, case: Case) -> dict[str, Any]:
    rule = ALERTS[alert]
    return {
        "exp_labels": {"job": "mediaserver", "severity": rule["labels"]["severity"], **case.labels},
        "exp_annotations": {
            **{name: text.replace(_HANDLER, "Echo") for name, text in rule["annotations"].items()},
            "summary": case.summary,
        },
    }


def test_each_alert_fires_in_its_case_and_is_silent_on_a_good_day(
    promtool: str, tmp_path: Path
) -> None:
    quiet = {
        "interval": "1m",
        "input_series": series(QUIET),
        "alert_rule_test": [{"eval_time": "30m", "alertname": alert} for alert in ALERTS],
    }
    firing = [
        {
            "name": alert,
            "interval": "1m",
            "input_series": series(QUIET | case.series),
            "alert_rule_test": [
                {"eval_time": "30m", "alertname": alert, "exp_alerts": [expected(alert, case)]}
            ],
        }
        for alert, case in CASES.items()
    ]
    file = tmp_path / "alerts.test.yaml"
    file.write_text(
        yaml.safe_dump({"rule_files": list(map(str, RULE_FILES)), "tests": [quiet, *firing]})
    )
    tested = subprocess.run([promtool, "test", "rules", file], capture_output=True, check=False)
    assert tested.returncode == 0, (tested.stdout + tested.stderr).decode()
