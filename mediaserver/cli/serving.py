"""``serve``: the daemon."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import typer

from mediaserver.cli.application import fail
from mediaserver.cli.setting_options import signature_with_settings
from mediaserver.settings import (
    Settings,
    SettingsError,
    flag_of,
    load_settings,
    unknown_variables,
)


if TYPE_CHECKING:
    from mediaserver.routes import Routes
    from mediaserver.server.workers.duty import Duty


_COMMAND: Final = (sys.executable, "-m", "mediaserver")

NO_HANDLER: Final = (
    "no handler is named: give one as package.module:Name or my_agent.py, such as"
    " mediaserver.agents:Echo"
)

CHANNEL_VARIABLE: Final = "_MEDIASERVER_CHANNEL"
"""As in `mediaserver.server.workers.duty`, which is imported in a worker alone."""


def serve_command(**options: Any) -> None:
    """Run the server, which takes webhooks and audio streams on one port.

    SPEC names a handler as package.module:Name or my_agent.py:Name. The name can be left out if
    there is only one handler. To serve several, name each by the path of the stream or by the
    number dialled: /sales=shop.calls:Sales +14155550100=shop.calls:Support.

    Every option can also be set as an environment variable (MEDIASERVER_MAX_CALLS) or in a TOML
    file (max_calls = 50).
    """
    specs: list[str] = options.pop("spec") or []
    config: Path | None = options.pop("config")
    checks: bool = options.pop("check")
    reloads: bool = options.pop("reload")
    flags = {**options, "handler": tuple(specs) or None}
    if reloads:
        _serve_reloading(flags, config)
        return

    given = _duty()
    try:
        settings = load_settings(flags, config)
    except SettingsError as error:
        _refuse(str(error), given)
    if not settings.handler:
        _refuse(NO_HANDLER, given)

    from mediaserver.handler import HandlerError
    from mediaserver.routes import Routes
    from mediaserver.server.process.listening import BindError
    from mediaserver.server.process.tls import TLSError
    from mediaserver.server.workers.channel import ChannelError

    try:
        if settings.workers and given is None and not checks:
            from mediaserver.server.workers.running import run_supervisor

            status = run_supervisor(settings, [*_COMMAND, *sys.argv[1:]])
        else:
            routes = Routes.load(*settings.handler, path=settings.path)
            status = _serve(settings, routes, checks, given)
    except (TLSError, HandlerError, BindError, ChannelError) as error:
        _refuse(str(error), given)
    raise typer.Exit(status)


def _duty() -> Duty | None:
    """Return what a supervisor gave to this process; None unless it is a worker."""
    if CHANNEL_VARIABLE not in os.environ:
        return None
    from mediaserver.server.workers.duty import duty

    return duty()


def _serve(settings: Settings, routes: Routes, checks: bool, given: Duty | None) -> int:
    if checks:
        return _check(settings, routes)
    if given is not None:
        from mediaserver.server.workers.worker import run_worker

        return run_worker(settings, routes, given)
    from mediaserver.server.process.daemon import run_server

    return run_server(settings, routes)


def _refuse(message: str, given: Duty | None) -> NoReturn:
    """Say what is wrong; a worker says it to its supervisor."""
    if given is not None:
        given.refuse(message, 2)
    fail(message, 2)


def _check(settings: Settings, routes: Routes) -> int:
    from mediaserver.containment import run_contained
    from mediaserver.handler import HandlerError
    from mediaserver.server.process.start_check import check_start
    from mediaserver.server.process.tls import TLSError
    from mediaserver.telemetry.logs import configure_logs

    for warning in unknown_variables():
        typer.echo(f"mediaserver: {warning}", err=True)
    # What is wrong is printed, in a line each.
    configure_logs("critical", settings.log_format)
    try:
        problems = run_contained(check_start(settings, routes))
    except (HandlerError, TLSError) as error:
        problems = [str(error)]
    if problems:
        fail("\n".join(problems), 2)
    for route in routes.routes:
        typer.echo(f"{route.name} can be served at {route.path}")
    return 0


def _serve_reloading(flags: dict[str, Any], config: Path | None) -> None:
    from mediaserver.server.process.reload import ReloadError, run_reloading

    try:
        workers = load_settings(flags, config).workers
    except SettingsError:
        # The server says it, and is started again when the file has changed.
        workers = 0
    if workers:
        fail(
            "--reload is for development, with one process: leave --workers out, or add --workers 0"
            f" where MEDIASERVER_WORKERS or the TOML file sets {workers}. `mediaserver reload`"
            " brings new code to a server with workers",
            2,
        )
    arguments = [each for each in sys.argv[1:] if each != "--reload"]
    # A developer who has just saved a file does not want to wait for calls to end.
    command = [*_COMMAND, *arguments, flag_of("drain_timeout"), "0"]
    try:
        run_reloading(command, Path.cwd())
    except ReloadError as error:
        fail(str(error), 2)


serve_command.__signature__ = signature_with_settings(  # type: ignore[attr-defined]
    "serve",
    check=(bool, typer.Option("--check", help="Find out whether the server can start, and exit.")),
    reload=(
        bool,
        typer.Option("--reload", help="Restart when a source file changes, for development."),
    ),
)
