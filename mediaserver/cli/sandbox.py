"""``sandbox``: a local Plivo."""

from __future__ import annotations

import asyncio
import logging
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer
from pydantic import SecretStr

from mediaserver.cli.application import Misbehave, fail, misbehaviour
from mediaserver.cli.timeline import print_timeline
from mediaserver.plivo.callbacks import Scheme


if TYPE_CHECKING:
    from mediaserver.sandbox.calls.call import SandboxCall


def sandbox_command(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            metavar="N", help="Port to listen on; 0 takes any free port.", min=0, max=65535
        ),
    ] = 9000,
    auth_id: Annotated[
        str | None, typer.Option(help="Auth ID that clients must use; random if left out.")
    ] = None,
    auth_token: Annotated[
        str | None, typer.Option(help="Auth token that clients must use; random if left out.")
    ] = None,
    phone: Annotated[
        str | None,
        typer.Option(help="The person at every number: a WAV file, a YAML file, or a script."),
    ] = None,
    database: Annotated[
        Path | None,
        typer.Option(help="SQLite file for calls and streams; kept in memory if left out."),
    ] = None,
    callbacks: Annotated[
        str,
        typer.Option(help="Names in stream callbacks: A (StartStream, …) or B (started, …)."),
    ] = "A",
    extra_headers: Annotated[
        str,
        typer.Option(
            help="Form of a stream's extra headers: live (as Plivo sends them), documented or json."
        ),
    ] = "live",
    calls_per_second: Annotated[
        float,
        typer.Option(metavar="N", help="Outbound calls to start per second; more are queued."),
    ] = 2.0,
    concurrency: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Calls at the same time; more are refused with error 5030.", min=1
        ),
    ] = None,
    rate_limit: Annotated[
        int,
        typer.Option(
            metavar="N", help="API requests in 5 seconds; more are refused with HTTP 429.", min=1
        ),
    ] = 300,
    stream_rate: Annotated[
        str,
        typer.Option(
            metavar="DOLLARS",
            help="Price of a minute of stream in dollars, for the billing fields.",
        ),
    ] = "0.003",
    misbehave: Misbehave = None,
    recordings: Annotated[Path, typer.Option(help="Folder for recordings.")] = Path("recordings"),
    transfers: Annotated[
        str,
        typer.Option(
            help="When a transfer runs its XML on a call that a stream holds: wait (until the"
            " stream ends, as the real platform was met to do) or at-once (it ends the stream)."
        ),
    ] = "wait",
    rounded_bill_duration: Annotated[
        str,
        typer.Option(
            help="Type of this field of streams: number (as on Plivo's page) or text (as Plivo's"
            " Go SDK reads it)."
        ),
    ] = "number",
    quiet: Annotated[
        bool,
        typer.Option("--quiet", help="Tell only what goes wrong in a call, and print no timeline."),
    ] = False,
    log_level: Annotated[str, typer.Option(help="Least severe level of messages to log.")] = "info",
) -> None:
    """Run a local Plivo: REST API, calls, streams, callbacks and signatures, without an account.

    A person answers every number after a short ring, and speaks. The command prints the
    environment variables that point an application at the sandbox. It logs what happens in each
    call, a line each, and prints the call's timeline at its end.
    """
    try:
        from mediaserver.sandbox.account import Account, new_auth_id, new_auth_token
        from mediaserver.sandbox.calls.services import (
            ExchangeOptions,
            ExtraHeadersStyle,
            RoundedBillDuration,
            Transfers,
        )
        from mediaserver.sandbox.people.person import ScriptError
        from mediaserver.sandbox.platform import SandboxOptions, environment, serve_sandbox
        from mediaserver.sandbox.records.billing import Rates, Tariff
        from mediaserver.sandbox.records.store import StoreError
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("mediaserver"):
            raise
        fail(f"the sandbox needs {error.name}: pip install '.[sandbox]'")
    from mediaserver.telemetry.logs import LogLevel, configure_logs

    wrong = misbehaviour(misbehave)
    if log_level not in get_args(LogLevel):
        fail(f"--log-level is one of {', '.join(get_args(LogLevel))}, not {log_level!r}", 2)
    configure_logs(cast(LogLevel, log_level))
    if quiet:
        logging.getLogger("mediaserver.sandbox.calls").setLevel(logging.WARNING)
    if callbacks.upper() not in get_args(Scheme):
        fail(f"--callbacks is A or B, not {callbacks!r}", 2)
    styles = get_args(ExtraHeadersStyle)
    if extra_headers not in styles:
        fail(f"--extra-headers is one of {', '.join(styles)}, not {extra_headers!r}", 2)
    if transfers not in get_args(Transfers):
        fail(f"--transfers is wait or at-once, not {transfers!r}", 2)
    if rounded_bill_duration not in get_args(RoundedBillDuration):
        fail(f"--rounded-bill-duration is number or text, not {rounded_bill_duration!r}", 2)
    try:
        account = Account(auth_id or new_auth_id(), SecretStr(auth_token or new_auth_token()))
        options = SandboxOptions(
            account=account,
            host=host,
            port=port,
            phone=phone,
            database=database,
            exchange=ExchangeOptions(
                callback_scheme=cast(Scheme, callbacks.upper()),
                extra_headers_style=cast(ExtraHeadersStyle, extra_headers),
                rounded_bill_duration=cast(RoundedBillDuration, rounded_bill_duration),
                transfers=cast(Transfers, transfers),
                calls_per_second=calls_per_second,
                concurrency=concurrency,
                recordings=recordings,
                misbehaviour=wrong,
            ),
            rates=Rates(stream=Tariff(_dollars(stream_rate))),
            requests=rate_limit,
        )
    except ValueError as error:
        fail(str(error), 2)

    def ready(url: str) -> None:
        typer.echo(f"# A local Plivo at {url}, its API described at {url}/openapi.json")
        for line in environment(account, url):
            typer.echo(line)

    try:
        asyncio.run(serve_sandbox(options, ready=ready, call_ended=None if quiet else _print_call))
    except (OSError, ScriptError, StoreError) as error:
        fail(str(error))


def _print_call(call: SandboxCall) -> None:
    """Print the timeline of a call that has ended, on standard error, as its log."""
    from rich.console import Console

    console = Console(stderr=True)
    console.print()
    print_timeline(call.diary.timeline, console)
    console.print()


def _dollars(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"--stream-rate is an amount in dollars, not {text!r}") from None
