"""``call`` and ``load``: one phone that calls a server, or many."""

from __future__ import annotations

import asyncio
import re
import signal
import ssl
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from mediaserver.cli.application import INTERRUPTED, Misbehave, fail, misbehaviour
from mediaserver.cli.timeline import print_timeline


if TYPE_CHECKING:
    from mediaserver.sandbox import CallReport, LoadProgress, LoadReport, Phone, Spread
    from mediaserver.sandbox.phone.report import InterruptReport
    from mediaserver.sandbox.phone.threshold import Threshold

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
HttpHeaders = Annotated[
    list[str] | None,
    typer.Option(
        "--http-header",
        metavar="NAME=VALUE",
        help="HTTP header of the WebSocket request, such as an Authorization for a proxy. May be "
        "repeated.",
    ),
]
CaFile = Annotated[
    Path | None,
    typer.Option(help="File of certificates to trust for wss://, such as a self-signed one."),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Trust any certificate of a wss:// server.")
]
Thresholds = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold",
        metavar="FIGURE<NUMBER",
        help="End with exit status 1 unless this figure of the report is so, such as "
        "replies.p99<1.5 or unanswered==0; 'help' lists the figures. May be repeated.",
    ),
]

GOOD_CLOSE_CODES = (1000, 1001, 1005)
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
    demanded = _thresholds(threshold, tuple(CALL_FIGURES))
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
            headers=_http_headers(http_header) | _signature(signed_url or url, auth_token),
            ssl=_tls(url, cafile, insecure),
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
    met = _judge(demanded, call_figures(result))
    if interrupted:
        raise typer.Exit(INTERRUPTED)
    cut = result.ended_by in ("lost", "protocol") or result.close_code not in GOOD_CLOSE_CODES
    if not met or (not options.misbehaviour and (cut or result.errors)):
        raise typer.Exit(1)


def _thresholds(texts: Sequence[str] | None, figures: Sequence[str]) -> list[Threshold]:
    """Parse the values of `--threshold`; for `help`, list the figures and exit."""
    from mediaserver.sandbox.phone.threshold import Threshold

    if texts and list(texts) == ["help"]:
        typer.echo("\n".join(figures))
        raise typer.Exit
    try:
        return [Threshold.parse(text, figures) for text in texts or ()]
    except ValueError as error:
        fail(str(error), 2)


def _judge(demanded: Sequence[Threshold], figures: Mapping[str, float | None]) -> bool:
    """Tell on stderr what each threshold came to; return whether all hold."""
    for threshold in demanded:
        found = figures[threshold.figure]
        verdict = "holds" if threshold.holds(found) else "FAILS"
        value = "it was not measured" if found is None else f"it is {found:.6g}"
        typer.echo(f"threshold {threshold}  {verdict}: {value}", err=True)
    return all(threshold.holds(figures[threshold.figure]) for threshold in demanded)


_HANDSHAKE = re.compile(r"(?i)upgrade|connection|sec-websocket-.*|content-length|transfer-encoding")


def _http_headers(texts: Sequence[str] | None) -> dict[str, str]:
    """Read `NAME=VALUE` headers of the WebSocket request (RFC 9110, section 5.6.2: names)."""
    headers: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise ValueError(f"HTTP headers are written NAME=VALUE, not {text!r}")
        if not value.isprintable() or not value.isascii():
            raise ValueError(f"the value of the HTTP header {name} must be printable ASCII")
        if _HANDSHAKE.fullmatch(name):
            raise ValueError(f"the HTTP header {name} belongs to the WebSocket's own handshake")
        headers[name] = value
    return headers


def _tls(url: str, cafile: Path | None, insecure: bool) -> ssl.SSLContext | None:
    """Return how to verify the server, None for the default."""
    scheme = urlsplit(url).scheme
    if scheme not in ("ws", "wss"):
        raise ValueError(f"{url!r} is not a WebSocket address: ws://… or wss://…")
    if cafile is None and not insecure:
        return None
    if scheme != "wss":
        raise ValueError("--cafile and --insecure are for wss:// addresses")
    if cafile is not None and insecure:
        raise ValueError("--cafile and --insecure exclude each other")
    try:
        context = ssl.create_default_context(cafile=cafile)
    except ssl.SSLError as error:
        raise ValueError(f"{cafile} holds no certificates in PEM form: {error}") from error
    except OSError as error:
        raise ValueError(f"cannot read {cafile}: {error.strerror}") from error
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


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
    figures = {
        "ended by": f"{report.ended_by or 'nobody'} after {report.duration:.2f} s",
        "agent heard": f"{report.audio_played:.2f} s played of {report.audio_received:.2f} s sent"
        + ("" if report.agent_speech else ": the agent never spoke"),
        "gaps": f"{len(report.gaps)}, {report.gap_seconds * 1000:.0f} ms",
        "pauses": _pauses(len(report.pauses), report.pause_seconds, report.longest_pause),
        "replies": _listed(
            "no reply" if each.seconds is None else f"{each.seconds * 1000:.0f} ms"
            for each in report.replies
        ),
        "interrupts": _listed(map(_interrupt, report.interrupts)),
        "messages": f"{report.messages_sent} out, {report.messages_received} in",
    }
    figures |= {text: f"{count} times" for text, count in report.warnings.items()}
    figures |= {text: f"{count} times" for text, count in report.errors.items()}
    console.print()
    _print_figures(figures)


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(texts) or "none"


def _interrupt(interrupt: InterruptReport) -> str:
    if interrupt.talked_on:
        return f"talked on after {interrupt.by} at {interrupt.time:.2f} s"
    cleared = f"{interrupt.cleared:.2f} s cleared" if interrupt.cleared else "nothing cleared"
    return f"{(interrupt.seconds or 0) * 1000:.0f} ms ({cleared})"


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

    demanded = _thresholds(threshold, LOAD_FIGURES)

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
                headers=lambda: {**headers, **_signature(signed_url or url, auth_token)},
                ssl=tls,
                on_progress=_progress_on(sys.stderr.isatty()),
                until=interrupted,
            )

    try:
        said = read_wav(audio) if audio else None
        tls = _tls(url, cafile, insecure)
        result = asyncio.run(make(_http_headers(http_header), tls))
    except (OSError, ValueError) as error:
        fail(str(error), 2)
    except KeyboardInterrupt:
        fail("interrupted", INTERRUPTED)
    if as_json:
        typer.echo(result.to_json())
    else:
        _print_load(result)
    met = _judge(demanded, load_figures(result))
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
        "cut": _listed(f"{count} {how}" for how, count in report.cut.items()),
        "the agent never spoke": f"in {report.mute} calls",
        "connect (p50 / p99 / max)": milliseconds(report.connect),
        "first audio": milliseconds(report.first_audio),
        "replies": f"{milliseconds(report.replies)}, {report.unanswered} unanswered",
        "key or voice to silence": f"{milliseconds(report.interrupts)}, "
        f"{report.uninterrupted} talked on",
        "silence in gaps, per minute of call": milliseconds(report.gaps, 1.0),
        "gaps in all": f"{report.gap_count}, {report.gap_seconds * 1000:.0f} ms",
        "pauses in all": _pauses(report.pause_count, report.pause_seconds, report.longest_pause),
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
    _print_figures(figures)
