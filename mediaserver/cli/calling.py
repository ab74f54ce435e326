"""``call`` and ``load``: one phone that calls a server, or many."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mediaserver.cli.application import Misbehave, fail, misbehaviour
from mediaserver.cli.timeline import print_timeline


if TYPE_CHECKING:
    from mediaserver.sandbox import CallReport, LoadReport, Phone, Spread

AuthToken = Annotated[
    str | None,
    typer.Option(
        envvar="MEDIASERVER_AUTH_TOKEN",
        help="Sign the request with this auth token, as Plivo does.",
    ),
]
SignedUrl = Annotated[
    str | None,
    typer.Option(
        help="URL to sign, if the server knows itself by a URL other than the one called."
    ),
]

GOOD_CLOSE_CODES = (1000, 1001, 1005)
"""WebSocket close codes of a call that ended well (RFC 6455, section 7.4)."""

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 plus the number of the signal, as in shells."""


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
        float | None, typer.Option(help="Longest call, in seconds.", min=0.0)
    ] = None,
    silence: Annotated[
        float,
        typer.Option(
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

    wrong = misbehaviour(misbehave)
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
            headers=_signature(signed_url or url, auth_token),
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
        status = f" (HTTP {error.status})" if error.status else ""
        fail(f"{url} did not take the call{status}: {error.reason}")
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
    if interrupted:
        raise typer.Exit(INTERRUPTED)
    cut = result.ended_by in ("lost", "protocol") or result.close_code not in GOOD_CLOSE_CODES
    if not options.misbehaviour and (cut or result.errors):
        raise typer.Exit(1)


def _signature(url: str, auth_token: str | None) -> dict[str, str]:
    from mediaserver.plivo.signatures import sign_upgrade

    return sign_upgrade(url, auth_token) if auth_token else {}


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"extra headers are written NAME=VALUE, not {text!r}")
    return name, value


def _print_report(report: CallReport) -> None:
    from rich.console import Console

    console = Console()
    print_timeline(report.timeline, console)
    answered = [reply.seconds for reply in report.replies if reply.seconds is not None]
    silenced = [each.seconds for each in report.interrupts if each.seconds is not None]
    figures = {
        "ended by": f"{report.ended_by or 'nobody'} after {report.duration:.2f} s",
        "agent heard": f"{report.audio_played:.2f} s played of {report.audio_received:.2f} s sent",
        "gaps": f"{len(report.gaps)}, {report.gap_seconds * 1000:.0f} ms",
        "pauses": _pauses(len(report.pauses), report.pause_seconds, report.longest_pause),
        "replies": ", ".join(f"{each * 1000:.0f} ms" for each in answered) or "none",
        "interrupts": ", ".join(f"{each * 1000:.0f} ms" for each in silenced) or "none",
        "messages": f"{report.messages_sent} out, {report.messages_received} in",
    }
    figures |= {text: f"{count} times" for text, count in report.warnings.items()}
    figures |= {text: f"{count} times" for text, count in report.errors.items()}
    console.print()
    _print_figures(figures)


def _pauses(count: int, seconds: float, longest: float) -> str:
    return f"{count}, {seconds:.2f} s, the longest {longest:.2f} s" if count else "none"


def _print_figures(figures: Mapping[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in figures.items():
        table.add_row(name, value)
    Console().print(table)


def load_command(
    url: Annotated[str, typer.Argument(help="ws:// or wss:// URL of the stream.")],
    calls: Annotated[
        int, typer.Option("--calls", "-n", help="Number of calls at the same time.", min=1)
    ] = 10,
    seconds: Annotated[
        float, typer.Option("--seconds", "-s", help="Length of each call, in seconds.", min=0.1)
    ] = 10.0,
    ramp: Annotated[float, typer.Option(help="Calls to start per second.", min=0.1)] = 50.0,
    audio: Annotated[
        Path | None,
        typer.Option("--audio", "-a", help="WAV file that every caller says, again and again."),
    ] = None,
    format: Annotated[
        str, typer.Option("--format", help="Audio format of the streams.")
    ] = "audio/x-mulaw;rate=8000",
    auth_token: AuthToken = None,
    signed_url: SignedUrl = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Make many calls at the same time, and report what the callers heard."""
    from audiocodecs import AudioFormat, read_wav
    from mediaserver.sandbox import LoadProgress
    from mediaserver.sandbox import load as make_calls

    state = "before the first call"

    def show(progress: LoadProgress) -> None:
        nonlocal state
        state = (
            f"{progress.live} live, {progress.finished} finished, "
            f"{progress.failed} failed, {progress.cut} cut"
        )
        typer.echo(f"{progress.elapsed:5.0f} s  {state}", err=True)

    try:
        said = read_wav(audio) if audio else None
        result = asyncio.run(
            make_calls(
                url,
                calls=calls,
                seconds=seconds,
                ramp=ramp,
                audio=said.mono() if said else None,
                audio_rate=said.rate if said else None,
                format=AudioFormat.parse(format),
                headers=lambda: _signature(signed_url or url, auth_token),
                on_progress=show,
            )
        )
    except (OSError, ValueError) as error:
        fail(str(error), 2)
    except KeyboardInterrupt:
        fail(f"interrupted: {state}", INTERRUPTED)
    if as_json:
        typer.echo(result.to_json())
    else:
        _print_load(result)
    if not result.ok:
        raise typer.Exit(1)


def _print_load(report: LoadReport) -> None:
    def milliseconds(spread: Spread | None, scale: float = 1000.0) -> str:
        if spread is None:
            return "none"
        p50, p99, worst = (value * scale for value in (spread.p50, spread.p99, spread.max))
        return f"{p50:.0f} / {p99:.0f} / {worst:.0f} ms"

    figures = {
        "calls": f"{report.made} of {report.calls} taken, {report.most_at_once} at once",
        "cut": ", ".join(f"{count} {how}" for how, count in report.cut.items()) or "none",
        "first audio (p50 / p99 / max)": milliseconds(report.first_audio),
        "replies": milliseconds(report.replies),
        "key or voice to silence": milliseconds(report.interrupts),
        "gaps per minute of call": milliseconds(report.gaps, 1.0),
        "gaps in all": f"{report.gap_count}, {report.gap_seconds * 1000:.0f} ms",
        "pauses in all": _pauses(report.pause_count, report.pause_seconds, report.longest_pause),
        "agents heard": f"{report.audio_played:.1f} s",
        "messages": f"{report.messages_sent} out, {report.messages_received} in",
        "this load took": f"{report.generator_busy:.0%} of a core"
        + (": it may be what limits the calls" if report.generator_limits else ""),
    }
    figures |= {f"failed: {why}": f"{count} calls" for why, count in report.failed.items()}
    figures |= {text: f"{count} times" for text, count in report.warnings.items()}
    figures |= {text: f"{count} times" for text, count in report.errors.items()}
    _print_figures(figures)
