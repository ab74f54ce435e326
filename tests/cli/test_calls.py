import csv
import json
import shutil
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from mediaserver.records.batches import Batch
from mediaserver.records.database import RecordsDatabase
from mediaserver.records.events import RecordEvent
from tests.cli.processes import Run
from tests.records.conftest import began, over, turn


@pytest.fixture
def records(filled: Path, tmp_path: Path) -> Path:
    """Return a database with a good call, a bad one and a live one."""
    return Path(shutil.copy(filled, tmp_path / "calls.db"))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return that database, to be copied."""
    path = tmp_path_factory.mktemp("calls") / "calls.db"
    database = RecordsDatabase(f"sqlite:///{path}")
    database.prepare()
    events: list[RecordEvent] = [
        over("r1", call_id="good", started_at=1_800_000_000.0, reason="=1+1"),
        over(
            "r2",
            call_id="bad",
            caller="+14155550155",
            caller_key="14155550155",
            started_at=1_800_000_100.0,
            slowest_answer=3.5,
            loop_lag=0.4,
        ),
        turn("r2", 0, number=0, audio_heard=0.2, heard_words=2),
        turn("r2", 1, first_token=3.0, audio_heard=3.5, interrupted=True, error="slow", agent="Hi"),
        began("r3", call_id="live", started_at=1_800_000_200.0),
    ]
    database.write(Batch(events, "j1"))
    database.close()
    return path


def listed(run: Run, records: Path, *arguments: object) -> list[str]:
    result = run("calls", "list", "--records", records, "--json", *arguments)
    assert result.exit_code == 0, result.stderr
    return [each["call_id"] for each in json.loads(result.stdout)]


def test_calls_are_listed_newest_first(run: Run, records: Path) -> None:
    lines = run("calls", "list", "--records", records).stdout.splitlines()
    assert lines[0].split()[:2] == ["began", "(UTC)"]
    assert [line.split()[-1] for line in lines[1:]] == ["live", "bad", "good"]
    assert "2027-01-15 08:01:40  ended" in lines[2]


@pytest.mark.parametrize(
    ("arguments", "calls"),
    [
        (("--number", "+1 415 555 0155"), ["bad"]),
        (("--number", "0155"), ["bad"]),
        (("--since", "2027-01-15T08:01"), ["live", "bad"]),
        (("--until", "2027-01-15T09:01:00+01:00"), ["good"]),
        (("--state", "live"), ["live"]),
        (("--bad",), ["bad"]),
        (("--worse-than", "loop_lag=0.3"), ["bad"]),
        (("--cause", "plivo", "--handler", "Echo"), ["bad", "good"]),
        (("--limit", "1"), ["live"]),
    ],
)
def test_calls_are_filtered(run: Run, records: Path, arguments: Any, calls: list[str]) -> None:
    assert listed(run, records, *arguments) == calls


def test_a_time_may_be_so_long_ago(run: Run, records: Path) -> None:
    database = RecordsDatabase(f"sqlite:///{records}")
    database.write(Batch([over("r0", call_id="old", started_at=1_500_000_000.0)], "j1"))
    database.close()
    assert listed(run, records, "--since", "200w") == ["live", "bad", "good"]


def test_one_call_is_shown_with_what_was_bad(run: Run, records: Path) -> None:
    shown = run("calls", "show", "bad", "--records", records).stdout
    assert "! the event loop stood still for 0.40 s" in shown
    assert "! in turn 1, the language model took 3.00 s of it" in shown
    assert "caller                  +14155550155" in shown
    assert "1  first token 3.00, heard 3.50; 0 words heard; interrupted; failed: slow" in shown
    assert "agent: Hi" in shown
    assert "nothing was bad" in run("calls", "show", "good", "--records", records).stdout
    assert "to be bad yet" in run("calls", "show", "live", "--records", records).stdout


def test_a_call_is_shown_as_json(run: Run, records: Path) -> None:
    (call,) = json.loads(run("calls", "show", "bad", "--records", records, "--json").stdout)
    assert call["state"] == "ended"
    assert len(call["turn_list"]) == 2
    assert call["complaints"]


def test_calls_are_exported_as_a_table(run: Run, records: Path) -> None:
    text = run("calls", "export", "--records", records).stdout
    rows = list(csv.DictReader(StringIO(text)))
    assert [row["call_id"] for row in rows] == ["good", "bad", "live"]
    assert rows[1]["caller"] == "+14155550155"
    # What a spreadsheet would take for a formula is text.
    assert rows[0]["reason"] == "'=1+1"


def test_calls_are_exported_as_lines_with_their_turns(run: Run, records: Path) -> None:
    text = run("calls", "export", "--format", "jsonl", "--bad", "--records", records).stdout
    (call,) = [json.loads(line) for line in text.splitlines()]
    assert [each["number"] for each in call["turn_list"]] == [0, 1]


def test_old_records_are_deleted(run: Run, records: Path) -> None:
    database = RecordsDatabase(f"sqlite:///{records}")
    database.write(Batch([over("r0", call_id="old", started_at=1_500_000_000.0)], "j1"))
    database.close()
    result = run("calls", "prune", "--days", 2_000, "--records", records)
    assert result.stdout == "deleted 1 record\n"
    assert listed(run, records) == ["live", "bad", "good"]


def test_a_list_without_calls_says_so(run: Run, records: Path) -> None:
    result = run("calls", "list", "--records", records, "--handler", "Nobody")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no calls were found" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("list", "--since", "yesterday"), "--since: must be such as 2027-01-15"),
        (("list", "--worse-than", "loop_lag"), "must be such as loop_lag=0.2"),
        (("list", "--worse-than", "x=1"), "'x' is not one of audio_dropped"),
        (("show", "nobody"), "there is no record of 'nobody'"),
        (("list", "--records", "mysql://x"), "must be on, the path of a SQLite file"),
        (("list", "--records", "/dev/null/calls.db"), "the database cannot be used"),
    ],
)
def test_what_is_wrong_is_said(run: Run, records: Path, arguments: Any, text: str) -> None:
    result = run("calls", *arguments[:1], "--records", records, *arguments[1:])
    assert result.exit_code != 0
    assert text in result.stderr


def test_without_a_setting_the_usual_file_is_read(
    run: Run, tmp_path: Path, records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    assert run("calls", "list").stdout.splitlines()[1].endswith("live")
    records.unlink()
    result = run("calls", "list")
    assert result.exit_code == 2
    assert "no database is named" in result.stderr
