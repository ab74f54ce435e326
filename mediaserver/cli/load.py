"""``load``: many phones that call a server."""

from __future__ import annotations

import asyncio
import signal
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mediaserver.cli.application import INTERRUPTED, fail
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


if TYPE_CHECKING:
    from mediaserver.sandbox import LoadProgress, LoadReport, Spread


def load_command(
    url: Annotated[str, typer.Argument(help="ws:// or wss:// URL of the stream.")],
    calls: Annotated[
        int,
        typer.Option("--calls", "-n", metavar="N", help="Number of calls at the same time.", min=1),
    ] = 10,
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds", "-s", metavar="SECONDS", help="Length of each call, in seconds.", min=0.1
        ),
    ] = 10.0,
    ramp: Annotated[
        float, typer.Option(metavar="N", help="Calls to start per second.", min=0.1)
    ] = 50.0,
    audio: Annotated[
        Path | None,
        typer.Option("--audio", "-a", help="WAV file that every caller says, again and again."),
    ] = None,
    format: Annotated[
        str, typer.Option("--format", help="Audio format of the streams.")
    ] = "audio/x-mulaw;rate=8000",
    auth_token: AuthToken = None,
    signed_url: SignedUrl = None,
    http_header: HttpHeaders = None,
    cafile: CaFile = None,
    insecure: Insecure = False,
    threshold: Thresholds = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Make many calls at the same time, and report what the callers heard.

    Ctrl-C ends the calls, and the report says what there was until then.
    """
    from audiocodecs import AudioFormat, read_wav
    from mediaserver.sandbox import load as make_calls
    from mediaserver.sandbox.phone.threshold import LOAD_FIGURES, load_figures

    demanded = parse_thresholds(threshold, LOAD_FIGURES)

    async def make(headers: Mapping[str, str], tls: ssl.SSLContext | None) -> LoadReport:
        with _interruptible() as interrupted:
            return await make_calls(
                url,
                calls=calls,
                seconds=seconds,
                ramp=ramp,
                audio=said.mono() if said else None,
                audio_rate=said.rate if said else None,
                format=AudioFormat.parse(format),
                headers=lambda: {**headers, **upgrade_signature(signed_url or url, auth_token)},
                ssl=tls,
                on_progress=_progress_on(sys.stderr.isatty()),
                until=interrupted,
            )

    try:
        said = read_wav(audio) if audio else None
        tls = tls_of(url, cafile, insecure)
        result = asyncio.run(make(http_headers(http_header), tls))
    except (OSError, ValueError) as error:
        fail(str(error), 2)
    except KeyboardInterrupt:
        fail("interrupted", INTERRUPTED)
    if as_json:
        typer.echo(result.to_json())
    else:
        _print_load(result)
    met = met_thresholds(demanded, load_figures(result))
    if result.interrupted:
        raise typer.Exit(INTERRUPTED)
    if not result.ok or not met:
        raise typer.Exit(1)


@contextmanager
def _interruptible() -> Iterator[asyncio.Event]:
    """Give what Ctrl-C sets. A second Ctrl-C ends the process as usual."""
    loop, pressed = asyncio.get_running_loop(), asyncio.Event()

    def press(_signal: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        loop.call_soon_threadsafe(pressed.set)

    before = signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _progress_on(terminal: bool) -> Callable[[LoadProgress], None]:
    """Return what shows the progress: on a terminal one line that changes, else a line a second."""

    def show(progress: LoadProgress) -> None:
        line = (
            f"{progress.elapsed:5.0f} s  {progress.live} live, {progress.finished} finished, "
            f"{progress.failed} failed, {progress.cut} cut"
        )
        over = progress.finished + progress.failed + progress.cut == progress.calls
        if terminal:
            typer.echo(f"\r\x1b[K{line}", err=True, nl=over)
        else:
            typer.echo(line, err=True)

    return show


def _print_load(report: LoadReport) -> None:
    from mediaserver.sandbox.phone.load import BUSY_LIMIT

    def milliseconds(spread: Spread | None, scale: float = 1000.0) -> str:
        if spread is None:
            return "none"
        p50, p99, worst = (value * scale for value in (spread.p50, spread.p99, spread.max))
        return f"{p50:.0f} / {p99:.0f} / {worst:.0f} ms"

    busy = report.generator_busy > BUSY_LIMIT
    figures = {
        "calls": f"{report.made} of {report.calls} taken, {report.most_at_once} at once"
        + (f"; interrupted after {report.elapsed:.0f} s" if report.interrupted else ""),
        "cut": listed(f"{count} {how}" for how, count in report.cut.items()),
        "the agent never spoke": f"in {report.mute} calls",
        "connect (p50 / p99 / max)": milliseconds(report.connect),
        "first audio": milliseconds(report.first_audio),
        "replies": f"{milliseconds(report.replies)}, {report.unanswered} unanswered",
        "key or voice to silence": f"{milliseconds(report.interrupts)}, "
        f"{report.uninterrupted} talked on",
        "silence in gaps, per minute of call": milliseconds(report.gaps, 1.0),
        "gaps in all": f"{report.gap_count}, {report.gap_seconds * 1000:.0f} ms",
        "pauses in all": paused(report.pause_count, report.pause_seconds, report.longest_pause),
        "agents heard": f"{report.audio_played:.1f} s",
        "messages": f"{report.messages_sent} out, {report.messages_received} in",
        "this load took": f"{report.generator_busy:.0%} of a core"
        + (": it may be what limits the calls" if busy else ""),
        "this load's frames left": f"{milliseconds(report.sender_lateness)} late"
        + ("" if busy or not report.generator_limits else ": this machine may limit the calls"),
    }
    figures |= {f"failed: {why}": f"{count} calls" for why, count in report.failed.items()}
    figures |= {text: f"{count} times" for text, count in report.warnings.items()}
    figures |= {text: f"{count} times" for text, count in report.errors.items()}
    print_figures(figures)
