"""``reload``, and what commands for a server that runs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from mediaserver.cli.application import fail
from mediaserver.settings import Settings, SettingsError, load_settings


_PATIENCE: Final = 3_600.0
"""Seconds for a reload. The server gives up a worker that starts too slowly, and replies; how many
workers start, one after the other, may be known to it alone."""


AdminOption = Annotated[
    str | None,
    typer.Option(help="The server's admin listener: path of a Unix socket, or HOST:PORT."),
]
PortOption = Annotated[
    str | None,
    typer.Option(metavar="N", help="The server's port, if its admin listener has no address."),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="TOML file of the server; by default mediaserver.toml, if it exists.",
    ),
]


def operated_settings(admin: str | None, port: str | None, config: Path | None) -> Settings:
    """Return the settings of the server whose admin listener is meant, or exit."""
    flags = {"admin": admin, "port": port}
    try:
        settings = load_settings(flags, config)
        if not settings.workers:
            # The server's flag may say so, which decides where it listens by default.
            settings = load_settings({**flags, "workers": 1}, config)
    except SettingsError as error:
        fail(str(error), 2)
    return settings


def reload_command(
    admin: AdminOption = None, port: PortOption = None, config: ConfigOption = None
) -> None:
    """Bring new code, certificates and settings to a running server with workers.

    Waits until new workers take the calls; the old ones let theirs end. If the new ones cannot
    start, the old ones go on, and the exit status is 1. A server without workers only reads its
    certificates again.
    """
    from mediaserver.server.admin.client import AdminClient, AdminClientError

    settings = operated_settings(admin, port, config)
    try:
        with AdminClient.of(settings) as client:
            done = client.post("/reload", within=_PATIENCE)
    except AdminClientError as error:
        fail(str(error))
    typer.echo(done["detail"])
