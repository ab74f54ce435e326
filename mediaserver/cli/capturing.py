"""``capture``: have the next call of a number captured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mediaserver.cli.application import fail
from mediaserver.cli.operating import ConfigOption
from mediaserver.settings import SettingsError, load_settings


def capture_command(
    number: Annotated[
        str,
        typer.Argument(
            help="The number of the caller or the number that is dialled: +14155550100."
        ),
    ],
    folder: Annotated[
        Path | None,
        typer.Option(
            "--capture", metavar="DIR", help="The folder that the server was given as --capture."
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Have the next call from or to a number captured, on this machine.

    It takes effect within a second. It is for a server that captures a share of its calls, or none:
    `mediaserver serve --capture DIR --capture-share 0`. Of several workers one captures the call. A
    call has numbers only if it comes by the server's /answer.
    """
    from mediaserver.captures.capture_folder import CaptureFolder

    try:
        found = load_settings({"capture": folder}, config).capture
    except SettingsError as error:
        fail(str(error), 2)
    if found is None:
        fail("no folder is known: give the server's, as --capture DIR", 2)
    try:
        CaptureFolder(found).ask_for(number)
    except ValueError as error:
        fail(str(error), 2)
    except FileNotFoundError:
        fail(f"{found} is no folder of captures: a server that is given --capture {found} makes it")
    except OSError as error:
        fail(f"{error.filename or found}: {error.strerror}")
    typer.echo(f"the next call from or to {number} is captured to {found}")
