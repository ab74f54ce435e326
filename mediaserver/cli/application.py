"""The command itself, to which the modules beside this one add theirs."""

from __future__ import annotations

from typing import NoReturn

import typer


app = typer.Typer(
    name="mediaserver",
    help="A server for Plivo's audio streams, and a phone to call it with.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def fail(message: str, status: int = 1) -> NoReturn:
    """End the command with a message on stderr."""
    for line in message.splitlines():
        typer.echo(f"mediaserver: {line}", err=True)
    raise typer.Exit(status)
