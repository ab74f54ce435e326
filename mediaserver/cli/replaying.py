"""``replay``: a captured call again, against other code."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mediaserver.cli.application import fail
from mediaserver.cli.printable import printable, printable_json


if TYPE_CHECKING:
    from mediaserver.replay.captured_call import CapturedCall
    from mediaserver.replay.comparison import CallComparison
    from mediaserver.routes import Routes


def replay_command(
    capture: Annotated[
        Path, typer.Argument(metavar="FILE", help="A capture: a file of the folder `--capture`.")
    ],
    handler: Annotated[
        str,
        typer.Argument(
            metavar="HANDLER", help="The handler, as package.module:Name or my_agent.py:Name."
        ),
    ],
    real_time: Annotated[
        bool,
        typer.Option(
            "--real-time",
            help="Let the call take as long as it took, so that the handler can use the network and"
            " threads.",
        ),
    ] = False,
    patience: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0.0,
            help="How long the caller stays on, in silence, where the server had ended the call.",
        ),
    ] = 10.0,
    tolerance: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0.0,
            max=10.0,
            help="By how much the same audio may be heard earlier or later, each stretch of it by"
            " itself, and still count as the same. A frame is 0.02. By default 0, and with"
            " --real-time 0.02.",
            show_default=False,
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw both runs to this .png. Needs the extra `demo`."),
    ] = None,
    audio: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write what is heard to this .wav: what the caller heard then left, what they hear"
            " now right.",
        ),
    ] = None,
    to_test: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a test that replays the call, such as tests/test_a_call.py, with the"
            " capture beside it.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Play the carrier's side of a captured call against a handler, and compare the two calls.

    The carrier sends what it sent then, at the same times. Its answers follow from what it is sent
    now: a checkpoint is played when this audio has been played. By default the call takes place in
    virtual time, in which a minute takes about a second and services must not need the network.

    The exit status is 0 if the caller hears the same audio, sample for sample and at the same times
    within the tolerance, 1 if they hear something else, and 2 if the call cannot be replayed.
    """
    from mediaserver.captures.capture_file import read_capture
    from mediaserver.captures.capture_lines import CaptureError
    from mediaserver.error_lines import error_lines
    from mediaserver.handler import HandlerError
    from mediaserver.protocol import ProtocolError
    from mediaserver.replay.captured_call import CapturedCall
    from mediaserver.replay.comparison import ONE_FRAME
    from mediaserver.routes import Routes
    from mediaserver.sandbox.errors import CallFailed
    from mediaserver.telemetry.logs import configure_logs
    from mediaserver.testing.virtual_time import StalledError

    if tolerance is None:
        tolerance = ONE_FRAME if real_time else 0.0
    _check_files(picture, audio)
    if to_test is not None:
        _check_test(to_test, capture, handler)
    # What the handler does wrong is told with the result.
    configure_logs("critical")
    try:
        call = CapturedCall.read(read_capture(capture))
        routes = Routes.load(handler, path=call.route_path)
    except OSError as error:
        fail(f"{capture} cannot be read: {error.strerror}", 2)
    except (CaptureError, HandlerError) as error:
        fail(str(error), 2)
    try:
        comparison = _replayed(
            call, routes, real_time=real_time, patience=patience, tolerance=tolerance
        )
    except (CallFailed, LookupError, ProtocolError, TimeoutError, StalledError) as error:
        hint = "" if real_time else "\nA handler that needs the network or threads: --real-time"
        fail(f"the call cannot be replayed: {error}{hint}", 2)
    except Exception as error:
        if not routes.opening:
            raise
        lines = "\n".join(error_lines(error))
        fail(f"the call cannot be replayed, since {routes.opening} failed: {lines}", 2)
    title = _title(call)
    if as_json:
        typer.echo(printable_json(json.dumps(_fields(comparison), indent=2, ensure_ascii=False)))
    else:
        _print(comparison, title)
    _write(comparison, title, picture=picture, audio=audio)
    if to_test is not None:
        _write_test(to_test, capture, handler, title, comparison)
        if real_time:
            typer.echo(
                "it replays the call in virtual time: a handler that needs the network or threads"
                " fails there, unless it gets services that answer by a script",
                err=True,
            )
    raise typer.Exit(0 if comparison.heard_alike else 1)


def _check_files(picture: Path | None, audio: Path | None) -> None:
    if picture is not None and picture.suffix.lower() != ".png":
        fail(f"--picture must end in .png, not {picture.name}", 2)
    if picture is not None and find_spec("matplotlib") is None:
        fail("--picture needs matplotlib: pip install '.[demo]'", 2)
    if audio is not None and audio.suffix.lower() != ".wav":
        fail(f"--audio must end in .wav, not {audio.name}", 2)
    for name, path in (("--picture", picture), ("--audio", audio)):
        if path is not None and not path.parent.is_dir():
            fail(f"{name}: there is no folder {path.parent}", 2)


def _replayed(
    call: CapturedCall, routes: Routes, *, real_time: bool, patience: float, tolerance: float
) -> CallComparison:
    from mediaserver.replay.replaying import longest, replay
    from mediaserver.testing.virtual_time import run_virtual

    playing = replay(call, routes, patience=patience, tolerance=tolerance)
    if real_time:
        return asyncio.run(playing)
    return run_virtual(playing, within=longest(call, patience))


def _title(call: CapturedCall) -> str:
    head = call.capture.head
    return printable(
        f"call {call.start.call_id} of {head.began[:19].replace('T', ' ')}, {head.handler}"
    )


def _print(comparison: CallComparison, title: str) -> None:
    typer.echo(title)
    if comparison.call.capture.full:
        typer.echo("the capture ends before its call: captures took all of --capture-megabytes")
    elif not comparison.call.capture.whole:
        typer.echo("the capture has no end: the server was killed, or the call still goes on")
    typer.echo(f"\n{'':44}{'then':>12}{'now':>12}")
    for figure in comparison.figures:
        then, now = (_number(each, figure.unit) for each in (figure.captured, figure.replayed))
        typer.echo(f"{figure.name:44}{then:>12}{now:>12}")
    for number, (then_said, now_said) in enumerate(comparison.words, 1):
        if then_said != now_said:
            typer.echo()
            typer.echo(printable(f"turn {number}, then: {' / '.join(then_said) or '-'}"))
            typer.echo(printable(f"turn {number}, now:  {' / '.join(now_said) or '-'}"))
    typer.echo()
    for error in comparison.errors[1:]:
        typer.echo(printable(f"the handler raised {error}"))
    typer.echo(printable(comparison.verdict))
    if comparison.difference and (enough := comparison.with_enough_tolerance):
        typer.echo(
            f"it is the same audio, up to {1_000 * enough.largest_shift:.0f} ms earlier or later:"
            f" --tolerance {enough.tolerance:g} takes that for the same"
        )


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return f"{value:.2f} {unit}" if unit else f"{value:g}"


def _fields(comparison: CallComparison) -> dict[str, Any]:
    call = comparison.call
    return {
        "call": call.start.call_id,
        "handler": call.capture.head.handler,
        "began": call.capture.head.began,
        "whole": call.capture.whole,
        "full": call.capture.full,
        "heard_alike": comparison.heard_alike,
        "first_difference": comparison.first_difference,
        "differing_seconds": comparison.differing_seconds,
        "tolerance": comparison.tolerance,
        "largest_shift": comparison.largest_shift,
        "shifts": [asdict(each) for each in comparison.shifts],
        "errors": list(comparison.errors),
        "figures": [
            {"name": each.name, "captured": each.captured, "replayed": each.replayed}
            for each in comparison.figures
        ],
        "turns": [{"captured": then, "replayed": now} for then, now in comparison.words],
    }


def _write(
    comparison: CallComparison, title: str, *, picture: Path | None, audio: Path | None
) -> None:
    try:
        if picture is not None:
            from mediaserver.replay.picture import draw_comparison

            draw_comparison(picture, comparison, title=title)
            typer.echo(f"picture: {picture}", err=True)
        if audio is not None:
            from audiocodecs import write_wav

            write_wav(audio, comparison.both_heard, comparison.captured.format.rate)
            typer.echo(f"audio: {audio}", err=True)
    except OSError as error:
        fail(f"{error.filename} cannot be written: {error.strerror}", 2)


def _check_test(path: Path, capture: Path, handler: str) -> None:
    """Refuse what cannot become a test, before the call takes its time."""
    from mediaserver.replay.written_test import check_test

    try:
        check_test(path, capture, handler)
    except ValueError as error:
        fail(f"--to-test: {error}", 2)
    except OSError as error:
        fail(f"--to-test: {error.filename or path}: {error.strerror}", 2)


def _write_test(
    path: Path, capture: Path, handler: str, title: str, comparison: CallComparison
) -> None:
    from mediaserver.replay.written_test import write_test

    # A test that fails from the start, by a frame that came late in the captured call, is no use.
    enough = comparison.with_enough_tolerance if comparison.difference else comparison
    tolerance = (enough or comparison).tolerance
    try:
        copy = write_test(path, capture, handler, title=title, tolerance=tolerance)
    except ValueError as error:
        fail(f"--to-test: {error}", 2)
    except OSError as error:
        fail(f"--to-test: {error.filename or path}: {error.strerror}", 2)
    typer.echo(f"test: {path}, with {copy}", err=True)
    if enough is None:
        typer.echo("it fails as long as the caller hears something else", err=True)
    elif tolerance > comparison.tolerance:
        typer.echo(f"it has tolerance={tolerance:g}, without which it would fail", err=True)
