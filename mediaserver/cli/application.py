"""The application to which the other modules add their commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from mediaserver import __version__
from mediaserver.cli.commands import CommandGroup


if TYPE_CHECKING:
    from mediaserver.sandbox.wire.misbehaviour import Misbehaviour


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


app = typer.Typer(
    name="mediaserver",
    help="A server for Plivo's audio streams, and a local Plivo to test it with.",
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # The list of commands comes at once: rich would double the time. Each command's help has it.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 plus the number of the signal, as in shells."""


@app.callback()
def command_options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version),
    ] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show the traceback of an error in mediaserver.")
    ] = False,
) -> None:
    """Take the options that stand before the command."""


Misbehave = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WHAT",
        help="Something that the carrier does wrong on the stream; 'help' lists all. May be "
        "repeated.",
    ),
]


def misbehaviour(texts: list[str] | None) -> Misbehaviour:
    """Parse the values of `--misbehave`; for `help`, list the misbehaviours and exit."""
    from mediaserver.sandbox.wire.misbehaviour import MISBEHAVIOURS, Misbehaviour

    if texts == ["help"]:
        for usage, text in MISBEHAVIOURS.items():
            typer.echo(f"{usage:28} {text}")
        raise typer.Exit
    try:
        return Misbehaviour.parse(*(texts or []))
    except ValueError as error:
        fail(str(error), 2)


def fail(message: str, status: int = 1) -> NoReturn:
    """Print a message to stderr and exit."""
    for line in message.splitlines():
        typer.echo(f"mediaserver: {line}", err=True)
    raise typer.Exit(status)
