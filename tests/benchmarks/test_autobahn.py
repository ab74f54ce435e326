import json
import sys
from pathlib import Path

import pytest

from benchmarks.autobahn import OURS, THEIRS, judge, run


def suite(folder: Path, program: str) -> str:
    """Return a program in place of Python 2.7 with Autobahn's test suite."""
    path = folder / "python2"
    path.write_text(f"#!{sys.executable}\n{program}\n")
    path.chmod(0o700)
    return str(path)


def ended(how: str) -> dict[str, dict[str, str]]:
    return {"1.1.1": {"behavior": how, "behaviorClose": "OK"}}


def write_report(folder: Path, ours: str = "OK") -> str:
    """Return a program that writes the report of a run."""
    path, report = folder / "reports/index.json", {OURS: ended(ours), THEIRS: ended("OK")}
    return (
        f"import pathlib; path = pathlib.Path({str(path)!r}); path.parent.mkdir(exist_ok=True)\n"
        f"path.write_text({json.dumps(report)!r})"
    )


@pytest.mark.parametrize(("ours", "status"), [("OK", 0), ("FAILED", 1)])
async def test_the_report_of_the_run_is_judged(tmp_path: Path, ours: str, status: int) -> None:
    assert await run(suite(tmp_path, write_report(tmp_path, ours)), tmp_path, ["1.*"]) == status


@pytest.mark.parametrize("program", ["raise SystemExit(3)", "", "{written}\nraise SystemExit(3)"])
async def test_a_run_that_failed_is_no_success_whatever_reports_are_there(
    tmp_path: Path, program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(write_report(tmp_path))
    program = program.format(written=write_report(tmp_path))
    assert await run(suite(tmp_path, program), tmp_path, ["1.*"]) == 1
    assert "before it had tried all cases" in capsys.readouterr().out


def test_a_case_that_is_worse_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert judge(ended("NON-STRICT"), ended("OK")) == 1
    assert "1.1.1: behavior is NON-STRICT, of websockets OK" in capsys.readouterr().out
    assert judge(ended("NON-STRICT"), ended("FAILED")) == 0
