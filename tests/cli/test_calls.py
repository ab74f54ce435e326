import csv
import json
import shutil
import sqlite3
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from mediaserver.records.batches import Batch
from mediaserver.records.database import RecordsDatabase
from mediaserver.records.events import RecordEvent
from tests.cli.processes import Run
from tests.forbidden import forbid
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
    ("handler", "hint"), [("Ecko", "did you mean 'Echo'?"), ("Nobody", "there are Echo")]
)
@pytest.mark.parametrize("command", ["list", "export"])
def test_a_handler_of_which_no_call_is_recorded_is_told(
    run: Run, records: Path, command: str, handler: str, hint: str
) -> None:
    result = run("calls", command, "--records", records, "--handler", handler)
    assert result.exit_code == 0
    assert f"--handler: no call of {handler!r} is recorded; {hint}" in result.stderr


def test_a_handler_with_calls_that_are_not_wanted_is_known(run: Run, records: Path) -> None:
    options = ("--records", records, "--handler", "Echo", "--until", "2020-01-01")
    assert "--handler" not in run("calls", "list", *options).stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("list", "--since", "yesterday"), "--since: must be such as 2027-01-15"),
        (("list", "--worse-than", "loop_lag"), "must be such as loop_lag=0.2"),
        (("list", "--worse-than", "x=1"), "'x' is not one of audio_dropped"),
        (("list", "--worse-than", "loop_lag=nan"), "must be such as loop_lag=0.2"),
        (("list", "--since", "999999d"), "--since: '999999d' is before the first year"),
        (("list", "--until", "0001-01-01T00:00+23:00"), "is before the first year"),
        (("list", "--number", "\ud800" * 9), "the database cannot search for such a value"),
        (
            ("list", "--cause", "handler_eror"),
            "'handler_eror' is not one of handler, handler_error",
        ),
        (("prune", "--days", "1e6"), "--days: must be from 0 to 36500, not 1e+06"),
        (("prune", "--days", "nan"), "--days: must be from 0 to 36500, not nan"),
        (("show", "nobody"), "there is no record of 'nobody'"),
        (("list", "--records", "mysql://x"), "must be on, the path of a SQLite file"),
        (("list", "--records", "/dev/null/calls.db"), "there is no database /dev/null/calls.db"),
        (("list", "--records", "/dev/null"), "/dev/null has no tables of call records"),
    ],
)
def test_what_is_wrong_is_said(run: Run, records: Path, arguments: Any, text: str) -> None:
    result = run("calls", *arguments[:1], "--records", records, *arguments[1:])
    assert result.exit_code != 0
    assert text in result.stderr


def test_without_a_setting_the_usual_file_is_read(
    run: Run, tmp_path: Path, records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mediaserver.cli.calls._OF_THE_SERVICE", tmp_path / "none")
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    assert run("calls", "list").stdout.splitlines()[1].endswith("live")
    records.unlink()
    result = run("calls", "list")
    assert result.exit_code == 2
    assert "no database is named" in result.stderr


@pytest.mark.parametrize("named", ["on", None])
def test_the_file_of_the_service_is_read_if_this_user_has_none(
    run: Run, tmp_path: Path, records: Path, monkeypatch: pytest.MonkeyPatch, named: str | None
) -> None:
    monkeypatch.setattr("mediaserver.cli.calls._OF_THE_SERVICE", records)
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "of-this-user"))
    if named:
        monkeypatch.setenv("MEDIASERVER_RECORDS", named)
    assert run("calls", "list").stdout.splitlines()[1].endswith("live")


def test_a_file_that_this_user_cannot_reach_is_named(
    run: Run, tmp_path: Path, records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(monkeypatch, records)
    result = run("calls", "list", "--records", records)
    assert result.exit_code == 2
    assert f"this user cannot read {records}: run the command as the server's user" in result.stderr


@pytest.mark.parametrize("command", [["list"], ["show", "good"], ["export"], ["prune"]])
def test_a_database_that_is_not_there_is_not_made(
    run: Run, tmp_path: Path, command: list[str]
) -> None:
    path = tmp_path / "tpyo" / "calls.db"
    result = run("calls", *command, "--records", path)
    assert (result.exit_code, path.parent.exists()) == (2, False)
    assert f"there is no database {path}" in result.stderr


def test_tables_of_an_older_version_are_left_to_the_server(run: Run, records: Path) -> None:
    with closing(sqlite3.connect(records)) as connection, connection:
        connection.execute("UPDATE mediaserver_records SET version_num = '0000'")
    result = run("calls", "list", "--records", records)
    assert result.exit_code == 1
    assert "has tables of version 0000: a server of this version of mediaserver" in result.stderr


@pytest.mark.parametrize(("limit", "more"), [(2, True), (3, False)])
def test_a_list_says_that_it_is_cut(run: Run, records: Path, limit: int, more: bool) -> None:
    result = run("calls", "list", "--records", records, "--limit", limit)
    assert len(result.stdout.splitlines()) == limit + 1
    assert ("raise --limit" in result.stderr) is more


@pytest.mark.parametrize(
    ("reason", "cell"),
    [
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("+1+1", "'+1+1"),
        ("\r=1+1", "'\r=1+1"),
        ("+14155550155", "+14155550155"),
    ],
)
def test_a_formula_is_exported_as_text(run: Run, records: Path, reason: str, cell: str) -> None:
    with closing(sqlite3.connect(records)) as connection, connection:
        connection.execute("UPDATE calls SET reason = ?", [reason])
    text = run("calls", "export", "--records", records).stdout_bytes.decode()
    assert next(csv.DictReader(StringIO(text, newline="")))["reason"] == cell
