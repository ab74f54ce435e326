import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mediaserver.cli.printable import printable, printable_json
from mediaserver.cli.tracing import line_for_people
from mediaserver.records.batches import Batch
from mediaserver.records.database import RecordsDatabase
from tests.cli.processes import Run
from tests.records.conftest import over


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("+1\x1b[2J", r"+1\x1b[2J"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\x9b2J\x7f", r"\x9b2J\x7f"),
        ("\u202e0100", r"\u202e0100"),
        ("\ud83d", r"\ud83d"),
        ("Grüße 😀 नमस्ते क्‍ष", "Grüße 😀 नमस्ते क्‍ष"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.dictionaries(st.text(), st.text()))
@example({"a\x9b2J\x7f": "Grüße 😀\u2028\u202e\U000e0001"})
def test_json_reads_the_same_and_has_nothing_that_a_terminal_would_obey(value: object) -> None:
    shown = printable_json(json.dumps(value, indent=2, ensure_ascii=False))
    assert json.loads(shown) == value
    assert all(printable(line) == line for line in shown.split("\n"))


@given(st.text(st.characters(categories=["Cc", "Cs", "L", "Nd", "Zl", "Zp"])))
@example("\x1b]0;title\x07")
def test_no_control_character_is_left(text: str) -> None:
    assert printable(text).isprintable()


def test_a_trace_is_shown_without_escapes_for_the_terminal() -> None:
    line = line_for_people({"at": 1.0, "what": "received", "caller": "+1\x1b[2J"})
    assert line == r"    1.000  received  caller=+1\x1b[2J"


def test_records_are_shown_without_escapes_for_the_terminal(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "calls.db"
    database = RecordsDatabase(f"sqlite:///{path}")
    database.prepare()
    database.write(Batch([over("r1", call_id="c1", caller="+1\x1b[2J", reason="a\nb")], "j1"))
    database.close()
    for arguments in (("list",), ("show", "c1")):
        shown = run("calls", *arguments, "--records", path).stdout
        assert "\x1b" not in shown
        assert r"+1\x1b[2J" in shown
    assert r"a\nb" in shown
