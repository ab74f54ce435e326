"""``mediaserver demo``: makes the call, writes the files and checks the result."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from time import time
from typing import Any, Final

from rich.console import Console

from audiocodecs import MULAW_8K, write_wav
from mediaserver.demo.display import Display, print_checks, print_files, print_turns
from mediaserver.demo.moment import Moment, Tell
from mediaserver.demo.picture import draw
from mediaserver.demo.scene import Scene
from mediaserver.demo.server import DemoServerError, serving
from mediaserver.demo.verdict import LONGEST_CALL, CallFigures, Check, judge
from mediaserver.espeak import SpeechError
from mediaserver.sandbox import CallEnded, CallFailed, CallReport, Phone
from mediaserver.server.process.listening import BindError
from mediaserver.telemetry.logs import configure_logs


FORMAT: Final = MULAW_8K

OPENING: Final = """\

A phone on this machine calls a server on this machine, whose handler takes reservations.
They speak: voices, recognition and voice detection are real, and the language model is a script.
"""

RECORDING: Final = "call.wav"
PICTURE: Final = "call.png"
REPORT: Final = "report.json"

_REFRESH: Final = 0.1


def run(output: Path, *, as_json: bool = False) -> int:
    """Hold a call between a local phone and a local server, and print how it went.

    Args:
        output: Folder to write ``call.wav``, ``call.png`` and ``report.json`` to. It is created if
            it does not exist, and existing files are overwritten.
        as_json: Print the report to standard output, and everything else to standard error.

    Returns:
        The exit status: 0 if every check passed, otherwise 1.

    """
    console = Console(stderr=as_json, highlight=False)
    configure_logs("error")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return _fail([f"cannot write to {output}: {error}"])
    try:
        scene = Scene.spoken()
        console.print(OPENING, soft_wrap=True)
        moments, report = _call(scene, console)
    except (CallFailed, BindError, DemoServerError, SpeechError) as error:
        return _fail([f"the demo failed: {error}"])
    checks = judge(report, scene)
    document = summarise(report, scene, moments, checks)
    try:
        with console.status("drawing"):
            files = _write(output, document, report, scene, moments)
    except OSError as error:
        return _fail([f"cannot write to {output}: {error}"])
    print_turns(console, scene.notes.turns)
    print_checks(console, checks)
    print_files(console, files)
    if as_json:
        print(json.dumps(document, indent=2))
    failed = [check for check in checks if not check.passed]
    return _fail([f"check failed: {each.name}: {each.found}" for each in failed])


async def hold_call(scene: Scene, phone: Phone, tell: Tell) -> CallReport:
    """Make the call: play the caller's part, and hang up if the agent did not.

    Raises:
        CallFailed: The server did not take the call.

    """
    tell(Moment(0.0, "caller", "calls", f"calls {phone.url}, {phone.format}"))
    async with phone:
        try:
            async with asyncio.timeout(LONGEST_CALL):
                await scene.perform(phone, tell)
        except (CallEnded, TimeoutError):
            pass  # The report shows how far the call came.
    return phone.report()


def summarise(
    report: CallReport, scene: Scene, moments: Sequence[Moment], checks: Sequence[Check]
) -> dict[str, Any]:
    """Return everything known about the call, as ``report.json`` has it."""
    figures = asdict(CallFigures.of(report))
    return {
        "passed": all(check.passed for check in checks),
        "checks": [asdict(check) for check in checks],
        "figures": {f"{name}_seconds": _rounded(value) for name, value in figures.items()},
        "moments": [{**asdict(moment), "time": _rounded(moment.time)} for moment in moments],
        "turns": [_plain(asdict(turn)) for turn in scene.notes.turns],
        "conversation": [
            {"kind": type(message).__name__, **asdict(message)} for message in scene.notes.messages
        ],
        "call": report.to_dict(),
    }


def _call(scene: Scene, console: Console) -> tuple[list[Moment], CallReport]:
    moments: list[Moment] = []
    with serving(scene.routes) as url, Display(console, scene.seconds) as display:

        def tell(moment: Moment) -> None:
            moments.append(moment)
            display.tell(moment)

        async def call() -> CallReport:
            phone = Phone(url, format=FORMAT, epoch=time())
            watching = asyncio.create_task(_watch(phone, display))
            try:
                return await hold_call(scene, phone, tell)
            finally:
                watching.cancel()
                _show(phone, display)

        report = asyncio.run(call())
    return moments, report


async def _watch(phone: Phone, display: Display) -> None:
    while True:
        await asyncio.sleep(_REFRESH)
        _show(phone, display)


def _show(phone: Phone, display: Display) -> None:
    display.update(phone.time, phone.recording(), phone.format.rate)


def _write(
    output: Path,
    document: dict[str, Any],
    report: CallReport,
    scene: Scene,
    moments: Sequence[Moment],
) -> list[tuple[Path, str]]:
    recording, picture, text = output / RECORDING, output / PICTURE, output / REPORT
    assert report.recording is not None, "the phone keeps its audio"
    write_wav(recording, report.recording, FORMAT.rate)
    heard = [scene.notes.as_heard(moment) for moment in moments]
    draw(picture, report, heard, CallFigures.of(report), title="A table at the Blue Door")
    text.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return [
        (recording, "caller left, agent right"),
        (picture, "picture of the call"),
        (text, "the phone's measurements and the agent's notes"),
    ]


def _fail(problems: Sequence[str]) -> int:
    """Print the problems, and return the exit status: 0 if there are none."""
    for problem in problems:
        print(f"mediaserver: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, with its floats rounded."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return round(value, 6) if isinstance(value, float) else value


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
