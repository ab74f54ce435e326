"""``call``: one phone that calls a server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mediaserver.cli.application import INTERRUPTED, Misbehave, fail, misbehaviour
from mediaserver.cli.figures import listed, paused, print_figures
from mediaserver.cli.reaching import (
    AuthToken,
    CaFile,
    HttpHeaders,
    Insecure,
    SignedUrl,
    http_headers,
    tls_of,
    upgrade_signature,
)
from mediaserver.cli.thresholds import Thresholds, met_thresholds, parse_thresholds
from mediaserver.cli.timeline import print_timeline


if TYPE_CHECKING:
    from mediaserver.sandbox import CallReport, Phone
    from mediaserver.sandbox.phone.report import InterruptReport

GOOD_CLOSE_CODES: Final = (1000, 1001, 1005)
"""WebSocket close codes of a call that ended well (RFC 6455, section 7.4)."""


def call_command(
    url: Annotated[str, typer.Argument(help="ws:// or wss:// URL of the stream.")],
    audio: Annotated[
        Path | None, typer.Option("--audio", "-a", help="WAV file that the caller says.")
    ] = None,
    after_greeting: Annotated[
        bool,
        typer.Option("--after-greeting", help="Wait for the agent's greeting before saying it."),
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(
            "--record", "-r", help="WAV file to write the call to: caller left, agent right."
        ),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="JSON file to write the report to.")] = None,
    press: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEYS@SECONDS",
            help="Press keys, such as 3@2.5: key 3 after 2.5 s. May be repeated.",
        ),
    ] = None,
    format: Annotated[
        str, typer.Option("--format", help="Audio format of the stream.")
    ] = "audio/x-mulaw;rate=8000",
    seconds: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Longest call, in seconds.", min=0.0)
    ] = None,
    silence: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="Hang up when the caller has finished and the agent is silent for this long.",
            min=0.0,
        ),
    ] = 2.0,
    header: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Extra header of the stream. May be repeated."),
    ] = None,
    misbehave: Misbehave = None,
    auth_token: AuthToken = None,
    signed_url: SignedUrl = None,
    http_header: HttpHeaders = None,
    cafile: CaFile = None,
    insecure: Insecure = False,
    threshold: Thresholds = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Call a server that speaks Plivo's stream protocol, and report what the caller heard."""
    from audiocodecs import AudioFormat
    from mediaserver.sandbox import (
        CallFailed,
        CallOptions,
        KeyPress,
        place_call,
    )
    from mediaserver.sandbox.phone.threshold import CALL_FIGURES, call_figures

    wrong = misbehaviour(misbehave)
    demanded = parse_thresholds(threshold, tuple(CALL_FIGURES))
    try:
        options = CallOptions(
            url=url,
            audio=audio,
            after_greeting=after_greeting,
            record=record,
            report=report,
            presses=tuple(KeyPress.parse(each) for each in press or []),
            format=AudioFormat.parse(format),
            seconds=seconds,
            silence=silence,
            misbehaviour=wrong,
            extra_headers=dict(_pair(each) for each in header or []),
            headers=http_headers(http_header) | upgrade_signature(signed_url or url, auth_token),
            ssl=tls_of(url, cafile, insecure),
        )
    except ValueError as error:
        fail(str(error), 2)
    for file in (record, report):
        if file is not None and not file.parent.is_dir():
            fail(f"{file}: there is no folder {file.parent}", 2)
    taken: list[Phone] = []
    interrupted = False
    try:
        asyncio.run(place_call(options, watch=taken.append))
    except CallFailed as error:
        if error.status is None:
            fail(error.reason)
        fail(f"{url} did not take the call (HTTP {error.status}): {error.reason}")
    except (OSError, ValueError) as error:
        # The call has not begun, so an argument is wrong.
        fail(str(error), 1 if taken else 2)
    except KeyboardInterrupt:
        if not taken:
            fail("interrupted before the call was taken", INTERRUPTED)
        interrupted = True
    result = taken[0].report()
    if as_json:
        typer.echo(result.to_json())
    else:
        _print_report(result)
    met = met_thresholds(demanded, call_figures(result))
    if interrupted:
        raise typer.Exit(INTERRUPTED)
    cut = result.ended_by in ("lost", "protocol") or result.close_code not in GOOD_CLOSE_CODES
    if not met or (not options.misbehaviour and (cut or result.errors)):
        raise typer.Exit(1)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"extra headers are written NAME=VALUE, not {text!r}")
    return name, value


def _print_report(report: CallReport) -> None:
    from rich.console import Console

    console = Console()
    print_timeline(report.timeline, console)
    figures = {
        "ended by": f"{report.ended_by or 'nobody'} after {report.duration:.2f} s",
        "agent heard": f"{report.audio_played:.2f} s played of {report.audio_received:.2f} s sent"
        + ("" if report.agent_speech else ": the agent never spoke"),
        "gaps": f"{len(report.gaps)}, {report.gap_seconds * 1000:.0f} ms",
        "pauses": paused(len(report.pauses), report.pause_seconds, report.longest_pause),
        "replies": listed(
            "no reply" if each.seconds is None else f"{each.seconds * 1000:.0f} ms"
            for each in report.replies
        ),
        "interrupts": listed(map(_interrupt, report.interrupts)),
        "messages": f"{report.messages_sent} out, {report.messages_received} in",
    }
    figures |= {text: f"{count} times" for text, count in report.warnings.items()}
    figures |= {text: f"{count} times" for text, count in report.errors.items()}
    console.print()
    print_figures(figures)


def _interrupt(interrupt: InterruptReport) -> str:
    if interrupt.talked_on:
        return f"talked on after {interrupt.by} at {interrupt.time:.2f} s"
    cleared = f"{interrupt.cleared:.2f} s cleared" if interrupt.cleared else "nothing cleared"
    return f"{(interrupt.seconds or 0) * 1000:.0f} ms ({cleared})"
