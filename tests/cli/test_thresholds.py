import pytest

from tests.cli.conftest import report_of
from tests.cli.processes import Run


@pytest.mark.parametrize(
    ("thresholds", "status"),
    [(["unanswered<=20"], 0), (["unanswered<=20", "replies.p99<1"], 1), (["unanswered==0"], 1)],
)
def test_thresholds_set_the_exit_status(
    run: Run, monkeypatch: pytest.MonkeyPatch, thresholds: list[str], status: int
) -> None:
    options = [text for each in thresholds for text in ("--threshold", each)]
    result = report_of(monkeypatch, run, *options, unanswered=20)
    assert result.exit_code == status
    assert result.stderr.count("FAILS") == status


@pytest.mark.parametrize("command", ["call", "load"])
def test_the_figures_of_thresholds_are_listed(run: Run, command: str) -> None:
    result = run(command, "ws://127.0.0.1:1/", "--threshold", "help")
    assert result.exit_code == 0
    assert "replies.p99" in result.stdout.splitlines()
