import inspect
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest
import typer

from mediaserver.cli.commands import COMMANDS, ListedCommand
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


def _functions(listed: ListedCommand) -> list[Callable[..., object]]:
    function = getattr(import_module(f"mediaserver.cli.{listed.module}"), listed.function)
    if isinstance(function, typer.Typer):
        return [each.callback for each in function.registered_commands if each.callback]
    return [function]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_for_a_number_says_what_it_is_a_number_of(name: str) -> None:
    for function in _functions(COMMANDS[name]):
        for option, kind in get_type_hints(function, include_extras=True).items():
            if get_origin(kind) is Annotated:
                taken, about = get_args(kind)[:2]
                if {int, float} & {taken, *get_args(taken)}:
                    assert about.metavar in ("N", "SECONDS", "DAYS"), option
