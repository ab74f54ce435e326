"""``dev``: talk to an agent from the browser."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from mediaserver.cli.application import fail
from mediaserver.cli.serving import NO_HANDLER
from mediaserver.settings import SettingsError, load_settings


def dev_command(
    spec: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SPEC…",
            help="Handlers to talk to, as for serve: package.module:Name or my_agent.py:Name.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int,
        typer.Option(
            metavar="N", help="Port of the page; 0 takes any free port.", min=0, max=65535
        ),
    ] = 8090,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")
    ] = True,
    captures: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder in which the wire of calls is kept, for `mediaserver replay`; by default"
            " it is forgotten at the end.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            help="TOML file with the server's settings; by default mediaserver.toml, if it exists.",
        ),
    ] = None,
    log_level: Annotated[
        str, typer.Option(help="Least severe level of the sandbox's messages to log.")
    ] = "warning",
) -> None:
    """Talk to an agent from the browser, see what happens in each call, and change its code.

    Serves the agent, a local Plivo and a page with a phone, on this machine alone and without an
    account. When a Python or TOML file changes, the agent is started again, and the page stays.
    """
    try:
        import watchfiles  # noqa: F401

        from mediaserver.dev.agent_command import stream_paths
        from mediaserver.dev.running import DevOptions, open_browser, run_dev
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("mediaserver"):
            raise
        fail(f"dev needs {error.name}: pip install '.[dev]'")
    from mediaserver.telemetry.logs import LogLevel, configure_logs

    if log_level not in get_args(LogLevel):
        fail(f"--log-level is one of {', '.join(get_args(LogLevel))}, not {log_level!r}", 2)
    configure_logs(cast(LogLevel, log_level))
    named = spec or _handlers_of(config)
    if not named:
        fail(NO_HANDLER, 2)

    def opened(url: str) -> None:
        shown = browser and open_browser(url)
        typer.echo(f"The page is at {url}" + ("" if shown else " (open it in a browser)"))
        typer.echo("Ctrl-C ends it.")

    def ready(url: str) -> None:
        # Beside the addresses of the agent's own server, which is no page.
        typer.echo(f"The agent is ready: {url}")

    options = DevOptions(
        specs=tuple(spec or ()),
        port=port,
        config=config,
        captures=captures,
        paths=stream_paths(named),
    )
    try:
        asyncio.run(run_dev(options, opened=opened, ready=ready))
    except OSError as error:
        # The port of the page is taken, or the system cannot watch more files.
        fail(str(error))


def _handlers_of(config: Path | None) -> Sequence[str]:
    """Return the handlers that the environment or the TOML file names."""
    try:
        return load_settings({}, config).handler
    except SettingsError:
        return ["unknown"]  # It can be mended while the page is open, which tells what is wrong.
