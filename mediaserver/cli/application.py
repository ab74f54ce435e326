"""The application to which the other modules add their commands."""

from __future__ import annotations

from typing import NoReturn

import typer


app = typer.Typer(
    name="mediaserver",
    help="A server for Plivo's audio streams, and a local Plivo to test it with.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def fail(message: str, status: int = 1) -> NoReturn:
    """Print a message to stderr and exit."""
    for line in message.splitlines():
        typer.echo(f"mediaserver: {line}", err=True)
    raise typer.Exit(status)
