"""``demo`` and ``version``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mediaserver import __version__
from mediaserver.cli.application import fail


def demo_command(
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder for the recording, the picture and the report."
        ),
    ] = Path("demo-output"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Hold a spoken conversation on this machine, without an account or a network."""
    try:
        from mediaserver.demo import run
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("mediaserver"):
            raise
        fail(f"the demo needs {error.name}: pip install '.[demo]'")
    raise typer.Exit(run(output, as_json=as_json))


def version_command() -> None:
    """Print the version."""
    typer.echo(__version__)
