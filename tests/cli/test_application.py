import pytest
import typer

from mediaserver import __version__
from mediaserver.cli.application import fail, misbehaviour
from mediaserver.sandbox import Misbehaviour
from tests.cli.processes import Run


def test_the_version_is_an_option_too(run: Run) -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"{__version__}\n")


def test_shells_can_complete_the_command(run: Run) -> None:
    assert "--install-completion" in run("--help").stdout


def test_failing_prints_a_line_for_each_problem_and_exits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(typer.Exit) as left:
        fail("one\nother", 2)
    assert left.value.exit_code == 2
    assert capsys.readouterr() == ("", "mediaserver: one\nmediaserver: other\n")


def test_misbehaviours_are_read_from_the_options() -> None:
    assert misbehaviour(None) == Misbehaviour()
    assert misbehaviour(["drop@3"]) == Misbehaviour(drop=3.0)


def test_help_lists_the_misbehaviours(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as left:
        misbehaviour(["help"])
    assert left.value.exit_code == 0
    assert "drop@" in capsys.readouterr().out


def test_an_unknown_misbehaviour_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as left:
        misbehaviour(["dance"])
    assert left.value.exit_code == 2
    assert "dance" in capsys.readouterr().err
