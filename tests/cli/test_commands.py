import inspect
import subprocess
import sys
from importlib import import_module

import pytest
import typer

from mediaserver.cli.commands import COMMANDS
from tests.cli.processes import Run


HEAVY = (
    "asyncio",
    "audiocodecs",
    "httpx",
    "numpy",
    "pydantic",
    "pydantic_settings",
    "rich",
    "sqlalchemy",
    "starlette",
    "structlog",
    "uvicorn",
    "websockets",
)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_a_command_says_of_itself(name: str) -> None:
    listed = COMMANDS[name]
    function = getattr(import_module(f"mediaserver.cli.{listed.module}"), listed.function)
    if isinstance(function, typer.Typer):
        assert listed.load(name).help == listed.summary
        return
    first = (inspect.getdoc(function) or "").split("\n\n")[0]
    assert listed.summary == " ".join(first.split())
    assert listed.load(name).help.startswith(first)


def test_help_imports_nothing_that_only_a_command_needs() -> None:
    code = (
        "import contextlib, sys\n"
        "from mediaserver.__main__ import launch\n"
        "sys.argv[1:] = ['--help']\n"
        "with contextlib.suppress(SystemExit):\n"
        "    launch()\n"
        f"print([each for each in {HEAVY} if each in sys.modules])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "serve" in result.stdout
    assert result.stdout.splitlines()[-1] == "[]"


def test_a_command_that_is_misspelt_is_guessed(run: Run) -> None:
    result = run("srve")
    assert result.exit_code == 2
    assert "Did you mean 'serve'" in result.stderr


def test_help_has_every_summary_in_full(run: Run) -> None:
    listed = run("--help").stdout
    words = " ".join(listed[listed.index("Commands:") :].split())
    for name, each in COMMANDS.items():
        assert f"{name} {each.summary}" in words
