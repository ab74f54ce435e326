"""The ``mediaserver`` command.

What a command is for goes to stdout, everything else to stderr. Exit status: 0 if it worked, 1 if
it did not, 2 if it was not asked for properly, 130 if it was interrupted.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from mediaserver import __version__
from mediaserver.settings import (
    Settings,
    SettingsError,
    default_of,
    flag_of,
    group_of,
    load_settings,
)


if TYPE_CHECKING:
    from mediaserver.handler import Routes
    from mediaserver.sandbox import CallReport, LoadReport, Phone, Spread

GOOD_CLOSE_CODES = (1000, 1001, 1005)
"""WebSocket close codes of a call that nothing went wrong with (RFC 6455, section 7.4)."""

INTERRUPTED = 130
"""Exit status of a command that Ctrl-C ended: 128 and the signal's number, as shells have it."""

app = typer.Typer(
    name="mediaserver",
    help="A server for Plivo's audio streams, and a phone to call it with.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command that the arguments name."""
    app()


def fail(message: str, status: int = 1) -> NoReturn:
    """End the command with a message on stderr."""
    for line in message.splitlines():
        typer.echo(f"mediaserver: {line}", err=True)
    raise typer.Exit(status)


# serve


def serve(**options: Any) -> None:
    """Run the server: webhooks and media on one port.

    SPEC names a handler as package.module:Name. Several, by the path of the stream or the number
    dialled: /sales=shop.calls:Sales +14155550100=shop.calls:Support.

    Every option is also an environment variable (MEDIASERVER_MAX_CALLS) and a line in a TOML file
    (max_calls = 50).
    """
    specs: list[str] = options.pop("spec") or []
    config: Path | None = options.pop("config")
    if options.pop("reload"):
        _serve_reloading()
        return
    try:
        settings = load_settings({**options, "handler": tuple(specs) or None}, config)
    except SettingsError as error:
        fail(str(error), 2)
    routes = _load_routes(settings)

    from mediaserver.server import daemon
    from mediaserver.server.tls import TLSError

    try:
        status = daemon.serve(settings, routes)
    except TLSError as error:
        fail(str(error), 2)
    except daemon.BindError as error:
        fail(str(error))
    raise typer.Exit(status)


def _load_routes(settings: Settings) -> Routes:
    from mediaserver.handler import HandlerError, Routes

    if not settings.handler:
        fail(
            "which handler? Name one as package.module:Name, such as mediaserver.agents:Echo",
            2,
        )
    # As with `python -m`: a handler in the working directory can be named.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return Routes.load(*settings.handler, path=settings.path)
    except HandlerError as error:
        fail(str(error), 2)


def _serve_reloading() -> None:
    from mediaserver.server.reload import ReloadError, run_reloading

    arguments = [each for each in sys.argv[1:] if each != "--reload"]
    # Who has just saved a file does not want to wait for calls to end.
    command = [sys.executable, "-m", "mediaserver", *arguments, flag_of("drain_timeout"), "0"]
    try:
        run_reloading(command, Path.cwd())
    except ReloadError as error:
        fail(str(error), 2)


def _options_of(settings: type[Settings]) -> inspect.Signature:
    """Return the signature of `serve`: a flag for every setting."""
    parameters = [
        _parameter(
            "spec",
            list[str] | None,
            typer.Argument(metavar="SPEC…", help="Handlers.", show_default=False),
        ),
        _parameter(
            "config",
            Path | None,
            typer.Option(
                "--config", "-c", help="TOML file with settings (default mediaserver.toml)."
            ),
        ),
    ]
    for name, field in settings.model_fields.items():
        if name == "handler":
            continue
        default = default_of(field)
        flag = flag_of(name)
        annotation: Any = str | None
        if field.annotation is bool:
            annotation = bool | None
            flag = f"{flag}/--no-{flag[2:]}"
        option = typer.Option(
            flag,
            help=f"{field.description}{f' (default {default})' if default else ''}",
            metavar=None if field.annotation is bool else _metavar(field),
            rich_help_panel=group_of(field),
            show_default=False,
        )
        parameters.append(_parameter(name, annotation, option))
    reload = typer.Option("--reload", help="Restart when a source file changes; for development.")
    parameters.append(_parameter("reload", bool, reload, default=False))
    return inspect.Signature(parameters)


def _parameter(name: str, kind: Any, info: Any, default: Any = None) -> inspect.Parameter:
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, info],
    )


def _metavar(field: FieldInfo) -> str:
    text = str(field.annotation)
    if get_origin(field.annotation) is Literal:
        return "|".join(get_args(field.annotation))
    if "float" in text:
        return "SECONDS"
    if "int" in text and "ip" not in text:
        return "N"
    return "PATH" if "Path" in text else "TEXT"


serve.__signature__ = _options_of(Settings)  # type: ignore[attr-defined]
app.command()(serve)


# call


@app.command()
def call(
    url: Annotated[str, typer.Argument(help="ws:// or wss:// URL of the stream.")],
    audio: Annotated[
        Path | None, typer.Option("--audio", "-a", help="WAV file of what the caller says.")
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option("--record", "-r", help="WAV file to write: caller left, agent right."),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="JSON file to write the report to.")] = None,
    press: Annotated[
        list[str] | None,
        typer.Option(metavar="KEYS@SECONDS", help="Press keys, such as 3@2.5. May be repeated."),
    ] = None,
    format: Annotated[
        str, typer.Option("--format", help="Format of the stream.")
    ] = "audio/x-mulaw;rate=8000",
    seconds: Annotated[float | None, typer.Option(help="Longest call.", min=0.0)] = None,
    silence: Annotated[
        float,
        typer.Option(help="Hang up when all is said and the agent silent for so long.", min=0.0),
    ] = 2.0,
    header: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="extraHeaders of the stream. May be repeated."),
    ] = None,
    misbehave: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT", help="What the phone does wrong; 'help' lists it. May be repeated."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Call any server that speaks Plivo's stream protocol, and report what the caller heard."""
    from audiocodecs import AudioFormat
    from mediaserver.sandbox import (
        MISBEHAVIOURS,
        CallFailed,
        CallOptions,
        KeyPress,
        Misbehaviour,
        place_call,
    )

    if misbehave == ["help"]:
        for usage, text in MISBEHAVIOURS.items():
            typer.echo(f"{usage:28} {text}")
        return
    try:
        options = CallOptions(
            url=url,
            audio=audio,
            record=record,
            report=report,
            presses=tuple(KeyPress.parse(each) for each in press or []),
            format=AudioFormat.parse(format),
            seconds=seconds,
            silence=silence,
            misbehaviour=Misbehaviour.parse(*(misbehave or [])),
            extra_headers=dict(_pair(each) for each in header or []),
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
        # Before the call it is what was asked for that cannot be used.
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


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"extra headers are written NAME=VALUE, not {text!r}")
    return name, value


def _print_report(report: CallReport) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    timeline = Table(box=None, pad_edge=False, show_header=False)
    timeline.add_column(justify="right", style="dim")
    timeline.add_column()
    timeline.add_column(style="dim")
    for entry in report.timeline:
        kind = entry.kind.replace("_", " ")
        timeline.add_row(f"{entry.time:.2f} s", kind, entry.text)
    console.print(timeline)
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


# load


@app.command()
def load(
    url: Annotated[str, typer.Argument(help="ws:// or wss:// URL of the stream.")],
    calls: Annotated[int, typer.Option("--calls", "-n", help="Calls at once.", min=1)] = 10,
    seconds: Annotated[
        float, typer.Option("--seconds", "-s", help="How long each call lasts.", min=0.1)
    ] = 10.0,
    ramp: Annotated[float, typer.Option(help="Calls dialled per second.", min=0.1)] = 50.0,
    audio: Annotated[
        Path | None,
        typer.Option("--audio", "-a", help="WAV file that every caller says, over and over."),
    ] = None,
    format: Annotated[
        str, typer.Option("--format", help="Format of the streams.")
    ] = "audio/x-mulaw;rate=8000",
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Make many calls at once, and report what their callers heard."""
    from audiocodecs import AudioFormat, read_wav
    from mediaserver.sandbox import LoadProgress
    from mediaserver.sandbox import load as make_calls

    def show(progress: LoadProgress) -> None:
        typer.echo(
            f"{progress.elapsed:5.0f} s  {progress.live} live, {progress.finished} finished, "
            f"{progress.failed} failed, {progress.cut} cut",
            err=True,
        )

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
                on_progress=show,
            )
        )
    except (OSError, ValueError) as error:
        fail(str(error), 2)
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


# demo


@app.command()
def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the recording, picture and report.")
    ] = Path("demo-output"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Hold a whole call with speech on this machine: no account, no network."""
    try:
        from mediaserver.demo import run
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("mediaserver"):
            raise
        fail(f"the demo needs {error.name}: pip install 'mediaserver[demo]'")
    raise typer.Exit(run(output, as_json=as_json))


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)
