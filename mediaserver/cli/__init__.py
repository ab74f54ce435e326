"""The ``mediaserver`` command.

A command prints its result to stdout, and everything else to stderr. Exit status: 0 if it worked, 1
if it failed, 2 if its arguments are wrong, 130 if it was interrupted.
"""

from __future__ import annotations

import io
import sys
from typing import Any

import typer

from mediaserver.cli.application import INTERRUPTED, app
from mediaserver.cli.elsewhere import ELSEWHERE
from mediaserver.error_lines import error_lines


__all__ = ["app", "main"]


def main() -> None:
    """Run the command that the arguments name."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # An encoding without a character, such as ASCII, must not cost the output.
            stream.reconfigure(errors="backslashreplace")
    try:
        status = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except Exception as error:
        if "--traceback" in sys.argv:
            raise
        status = _explain(error)
    sys.exit(status if isinstance(status, int) else 0)


def _explain(error: Any) -> int:
    """Print what went wrong, and return the exit status."""
    lines = error_lines(error)
    status = 1
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return int(error.exit_code)
    if hasattr(error, "format_message"):
        # Typer's errors about the arguments. Their class depends on the version of Typer.
        context = getattr(error, "ctx", None)
        program = context.command_path if context is not None else "mediaserver"
        elsewhere = ELSEWHERE.get(getattr(error, "option_name", ""), f"See {program} --help.")
        said = " ".join(error.format_message().split()).rstrip(".")
        lines = [f"{said if said.endswith('?') else said + '.'} {elsewhere}"]
        status = error.exit_code
    else:
        lines.append("this is a fault of mediaserver; `mediaserver --traceback …` shows where")
    for line in lines:
        typer.echo(f"mediaserver: {line}", err=True)
    return status
