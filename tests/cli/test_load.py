import json
import re
from pathlib import Path

import pytest

from mediaserver.sandbox import Spread
from tests.cli.conftest import report_of
from tests.cli.processes import Run
from tests.cli.stream_listener import interrupted


@pytest.mark.parametrize("command", ["call", "load"])
def test_an_audio_file_that_is_not_there_is_refused_with_status_2(
    run: Run, echo_url: str, command: str
) -> None:
    result = run(command, echo_url, "--audio", "nowhere.wav")
    assert result.exit_code == 2
    assert "nowhere.wav" in result.stderr


def test_ctrl_c_ends_a_load_and_its_report_is_printed() -> None:
    status, out, err = interrupted(
        *("load", "URL", "--json", "--calls", "3", "--ramp", "0.1", "--seconds", "60")
    )
    report = json.loads(out)
    assert (status, report["interrupted"], report["made"]) == (130, True, 1)
    assert "1 live" in err or "1 finished" in err


def test_a_load_tells_what_its_callers_missed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    result = report_of(monkeypatch, run, unanswered=20, uninterrupted=10, mute=3)
    assert result.exit_code == 0
    for text in ("20 unanswered", "10 talked on", "in 3 calls"):
        assert text in result.stdout


@pytest.mark.parametrize(
    ("busy", "late", "limit"),
    [(0.9, 0.5, "took 90% of a core: it may"), (0.1, 0.5, "late: this machine may")],
)
def test_a_load_names_what_may_limit_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, busy: float, late: float, limit: str
) -> None:
    result = report_of(
        monkeypatch, run, generator_busy=busy, sender_lateness=Spread(3, late, late, late)
    )
    assert limit in re.sub(" +", " ", result.stdout)
    assert result.stdout.count(" may ") == 1


def test_many_calls_are_made_and_reported(run: Run, echo_url: str, tone: Path) -> None:
    result = run("load", echo_url, "--calls", 3, "--seconds", 0.5, "--audio", tone)
    assert result.exit_code == 0
    assert "3 of 3 taken" in result.stdout


def test_many_calls_can_be_reported_as_json(run: Run, echo_url: str) -> None:
    result = run("load", echo_url, "--calls", 2, "--seconds", 0.2, "--json")
    report = json.loads(result.stdout)
    assert report["made"] == 2
    assert report["ok"]


def test_calls_that_are_not_taken_end_with_status_1(run: Run, echo_url: str) -> None:
    result = run("load", echo_url.replace("/stream", "/nowhere"), "--calls", 2, "--seconds", 0.2)
    assert result.exit_code == 1
    assert "404" in result.stdout


def test_a_load_of_no_known_format_is_refused(run: Run, echo_url: str) -> None:
    result = run("load", echo_url, "--format", "audio/opus")
    assert result.exit_code == 2
    assert "audio/opus" in result.stderr
