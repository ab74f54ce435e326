"""``reload``: the command for a server that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from mediaserver.cli.application import fail
from mediaserver.settings import SettingsError, load_settings


_PATIENCE: Final = 3_600.0
"""Seconds for a reload. The server gives up a worker that starts too slowly, and replies; how many
workers start, one after the other, may be known to it alone."""


def reload_command(
    admin: Annotated[
        str | None,
        typer.Option(help="The server's admin listener: path of a Unix socket, or HOST:PORT."),
    ] = None,
    port: Annotated[
        str | None,
        typer.Option(metavar="N", help="The server's port, if its admin listener has no address."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            help="TOML file of the server; by default mediaserver.toml, if it exists.",
        ),
    ] = None,
) -> None:
    """Bring new code, certificates and settings to a running server with workers.

    Waits until new workers take the calls; the old ones let theirs end. If the new ones cannot
    start, the old ones go on, and the exit status is 1. A server without workers only reads its
    certificates again.
    """
    from mediaserver.server.admin.client import AdminClient, AdminClientError

    flags = {"admin": admin, "port": port}
    try:
        settings = load_settings(flags, config)
        if not settings.workers:
            # The server's flag may say so, which decides where it listens by default.
            settings = load_settings({**flags, "workers": 1}, config)
    except SettingsError as error:
        fail(str(error), 2)
    try:
        with AdminClient.of(settings) as client:
            done = client.post("/reload", within=_PATIENCE)
    except AdminClientError as error:
        fail(str(error))
    typer.echo(done["detail"])
