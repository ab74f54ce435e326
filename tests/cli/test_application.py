import subprocess
import sys

import pytest
import typer

from mediaserver.cli.application import fail


def test_the_command_line_loads_no_server_until_it_is_asked_to() -> None:
    code = (
        "import sys, mediaserver.cli\n"
        "print([each for each in ('uvicorn', 'websockets', 'starlette', 'matplotlib', 'structlog')"
        " if each in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout == "[]\n"


def test_failing_prints_a_line_for_each_problem_and_exits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(typer.Exit) as left:
        fail("one\nother", 2)
    assert left.value.exit_code == 2
    assert capsys.readouterr() == ("", "mediaserver: one\nmediaserver: other\n")
