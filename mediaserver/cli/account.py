"""``dial`` and ``setup-number``: the commands that need a Plivo account."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from mediaserver.cli.application import fail
from mediaserver.settings import Settings, SettingsError, load_settings


if TYPE_CHECKING:
    from mediaserver.server.outbound.outcome import DialReport

Config = Annotated[
    Path | None,
    typer.Option(help="TOML file with settings; by default mediaserver.toml, if it exists."),
]
AuthId = Annotated[str | None, typer.Option(help="Auth ID of the Plivo account.")]
PublicUrl = Annotated[
    str | None, typer.Option(help="URL at which Plivo reaches this server, https://…")
]
ApiUrl = Annotated[str | None, typer.Option(help="Base URL of Plivo's REST API, or of a sandbox.")]


def dial_command(
    to: Annotated[list[str], typer.Argument(help="Numbers to call, such as +14155550123.")],
    handler: Annotated[
        str,
        typer.Option(
            "--handler",
            help="Handler to run when a call is answered: package.module:Name or my_agent.py.",
        ),
    ],
    from_: Annotated[
        str, typer.Option("--from", help="Number to call from; it must belong to the account.")
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=TEXT",
            help="A setting of the handler, such as greeting='Hello!'. May be repeated.",
        ),
    ] = None,
    public_url: PublicUrl = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(metavar="N", help="Port to listen on.")] = None,
    auth_id: AuthId = None,
    api_url: ApiUrl = None,
    machine: Annotated[
        str, typer.Option(help="What to do about answering machines: ignore, detect or hangup.")
    ] = "ignore",
    ring: Annotated[
        int, typer.Option(metavar="SECONDS", help="Seconds to let each phone ring.", min=1)
    ] = 60,
    longest: Annotated[
        int | None, typer.Option(metavar="SECONDS", help="Longest call, in seconds.", min=1)
    ] = None,
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the reports as JSON.")] = False,
) -> None:
    """Call people, run a handler when they answer, and report how each call went.

    The auth token comes from MEDIASERVER_AUTH_TOKEN or the configuration file. The exit status is 0
    if every call was answered and handled, 2 if an argument is wrong, such as a malformed number,
    and 1 otherwise.
    """
    from pydantic import ValidationError

    from mediaserver.checks import check_handler, try_out
    from mediaserver.containment import run_contained
    from mediaserver.handler import HandlerError
    from mediaserver.plivo.errors import PlivoError
    from mediaserver.plivo.models import problems
    from mediaserver.routes import load_name
    from mediaserver.server.account import NoAccountError, connect
    from mediaserver.server.outbound.dialler import DialError, Machine
    from mediaserver.server.outbound.placing import place_calls
    from mediaserver.server.process.listening import BindError
    from mediaserver.server.process.tls import TLSError
    from mediaserver.telemetry.logs import configure_logs

    if machine not in get_args(Machine):
        fail(f"--machine is one of {', '.join(get_args(Machine))}, not {machine!r}", 2)
    settings = _settings(
        config, public_url=public_url, host=host, port=port, auth_id=auth_id, api_url=api_url
    )
    given: dict[str, str] = {}
    for each in set_ or ():
        setting, equals, text = each.partition("=")
        if not (setting.isidentifier() and equals):
            fail(f"--set is like --set greeting='Hello!', not {each!r}", 2)
        given[setting] = text
    try:
        target = load_name(handler)
        check_handler(target, given)
    except HandlerError as error:
        fail(str(error), 2)
    configure_logs(settings.log_level, settings.log_format)

    async def place() -> list[DialReport | Exception]:
        try_out(target, given)
        async with connect(settings) as client:
            return await place_calls(
                settings,
                client,
                target,
                to,
                from_,
                handler_settings=given,
                machine=cast(Machine, machine),
                ring_seconds=ring,
                longest_seconds=longest,
                calls_per_second=settings.calls_per_second,
            )

    try:
        reports = run_contained(place())
    except ValidationError as error:
        fail(problems(error), 2)
    except (HandlerError, NoAccountError, DialError, BindError, TLSError) as error:
        fail(str(error), 2)
    except PlivoError as error:
        fail(str(error))
    documents = [_outcome(number, report) for number, report in zip(to, reports, strict=True)]
    if as_json:
        typer.echo(json.dumps(documents, indent=2))
    else:
        for document in documents:
            typer.echo("  ".join(f"{name}: {value}" for name, value in document.items()))
    if any(isinstance(report, ValueError) for report in reports):
        raise typer.Exit(2)
    if not all(document.get("ok") for document in documents):
        raise typer.Exit(1)


def _outcome(number: str, report: DialReport | Exception) -> dict[str, Any]:
    from pydantic import ValidationError

    from mediaserver.plivo.models import problems

    if isinstance(report, Exception):
        text = problems(report) if isinstance(report, ValidationError) else str(report)
        return {"to": number, "ok": False, "error": text}
    document: dict[str, Any] = json.loads(report.to_json())
    shown = {name: value for name, value in document.items() if value is not None}
    return shown | {"ok": report.ok}


def setup_number_command(
    number: Annotated[str, typer.Argument(help="Number to set up; it must belong to the account.")],
    public_url: PublicUrl = None,
    path: Annotated[str | None, typer.Option(help="Path of the stream for its calls.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the Plivo application.")] = None,
    dry_run: Annotated[
        bool, typer.Option(help="Print what would change, without changing it.")
    ] = False,
    auth_id: AuthId = None,
    api_url: ApiUrl = None,
    config: Config = None,
) -> None:
    """Have this server answer the calls to a number, and print what was changed at Plivo."""
    from mediaserver.plivo.errors import PlivoError
    from mediaserver.server.account import NoAccountError, connect
    from mediaserver.server.outbound.number_setup import NumberSetupError, set_up_number

    settings = _settings(config, public_url=public_url, auth_id=auth_id, api_url=api_url)
    if settings.public_url is None:
        fail("--public-url is not set: Plivo needs the URL of this server", 2)
    server_url: str = settings.public_url

    async def set_up() -> Any:
        async with connect(settings) as client:
            return await set_up_number(
                client, number, server_url, path=path, app_name=name, dry_run=dry_run
            )

    try:
        setup = asyncio.run(set_up())
    except (NoAccountError, NumberSetupError) as error:
        fail(str(error), 2)
    except PlivoError as error:
        fail(str(error))
    for change in setup.changes:
        typer.echo(f"{'would change ' if dry_run else ''}{change}")
    state = "would be" if dry_run and setup.changes else "is"
    nothing = "" if setup.changes else ": nothing to change"
    typer.echo(f"+{setup.number} {state} answered at {setup.answer_url}{nothing}")


def _settings(config: Path | None, **flags: Any) -> Settings:
    try:
        return load_settings(flags, config)
    except SettingsError as error:
        fail(str(error), 2)
