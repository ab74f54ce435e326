"""``trace``: follow a live call."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from mediaserver.cli.application import fail
from mediaserver.cli.operating import AdminOption, ConfigOption, PortOption, operated_settings
from mediaserver.cli.printable import printable, printable_json


if TYPE_CHECKING:
    from mediaserver.cli.traced_audio import TracedAudio

_SUFFIXES = (".wav", ".flac")


def trace_command(
    call: Annotated[str, typer.Argument(help="The id of the call, or of its stream.")],
    audio: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the audio to this .wav or .flac file: the caller left, what they hear "
            "right. The server must let you (--admin-listen-in).",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object per line, for programs.")
    ] = False,
    admin: AdminOption = None,
    port: PortOption = None,
    config: ConfigOption = None,
) -> None:
    """Follow a live call: what is received, sent and decided, until it ends.

    Nothing is restarted, and the call does not notice. Media are summed up once a second. Numbers,
    words and keys are hidden unless the server shows personal data (--admin-personal-data).
    """
    from mediaserver.server.admin.client import AdminClient, AdminClientError

    if audio is not None and audio.suffix.lower() not in _SUFFIXES:
        fail(f"--audio must end in {' or '.join(_SUFFIXES)}, not {audio.name}", 2)
    settings = operated_settings(admin, port, config)
    path = f"/calls/{quote(call, safe='')}"
    try:
        with AdminClient.of(settings) as client:
            entry = {} if audio is None else client.get(path)
            if audio is not None and entry["format"] is None:
                fail("the stream of the call has not started: try again in a second")
            lines = client.lines(f"{path}/trace", **({} if audio is None else {"audio": "1"}))
            # A server that refuses sends no line, and leaves no file behind.
            if (first := next(lines, None)) is None:
                return
            with _written(audio, entry) as file:
                for line in chain([first], lines):
                    _take(line, file, as_json=as_json)
    except AdminClientError as error:
        fail(str(error))


@contextmanager
def _written(path: Path | None, entry: Mapping[str, Any]) -> Iterator[TracedAudio | None]:
    """Open the file for the audio of a call, if there is to be one."""
    if path is None:
        yield None
        return
    from audiocodecs import AudioFormat
    from mediaserver.cli.traced_audio import TracedAudio

    try:
        file = TracedAudio(path, AudioFormat.parse(entry["format"]))
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}")
    try:
        yield file
    finally:
        file.close()
        typer.echo(f"audio: {file.path}", err=True)


def _take(line: dict[str, Any], file: TracedAudio | None, *, as_json: bool) -> None:
    if file is not None:
        file.take(line)
    if line["what"].startswith("audio ") and "payload" in line:
        return
    if line["what"] == "loudness" and not as_json:
        return  # It is for pictures.
    typer.echo(
        printable_json(json.dumps(line, ensure_ascii=False)) if as_json else line_for_people(line)
    )


def line_for_people(line: Mapping[str, Any]) -> str:
    """Return a line of a trace for people, which is safe to print to a terminal."""
    at = line.get("at")
    details = [
        f"{name}={value}"
        for name, value in line.items()
        if name not in ("at", "what") and value not in (None, "", [], {})
    ]
    time = " " * 9 if at is None else f"{at:9.3f}"
    return printable("  ".join([time, line["what"], *details]))
