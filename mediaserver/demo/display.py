"""The demo in the terminal: moments and both voices while they happen, and tables at the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from audiocodecs import Samples
from mediaserver.call.turn import STAGES, Turn
from mediaserver.demo.moment import Moment, Who
from mediaserver.demo.verdict import Check


STYLES: Final[dict[Who, str]] = {"caller": "cyan", "agent": "yellow"}
"""Colours, in the order of a recording's channels."""

CELLS: Final = 60
"""Width of the drawing of a call in characters, if the terminal is wide enough."""

_BARS: Final = "▁▂▃▄▅▆▇█"
_ASCII_BARS: Final = ".:-=+*%#"

_QUIETEST, _LOUDEST = -36.0, -16.0
"""Levels of the lowest and the highest bar: root mean square, in dB of full scale."""

HEADINGS: Final = {"audio_sent": "sent", "audio_heard": "heard"}
"""Headings of stages whose names are too long."""

_NAMES: Final = 9
"""Width of the column to the left of the voices, in characters."""


class Display:
    """A progress display, as a context manager; moments are printed above it.

    Args:
        console: Where to print.
        seconds: Expected length of the call.

    """

    def __init__(self, console: Console, seconds: float) -> None:
        self._console = console
        self._expected = seconds
        # Time, recording and rate are one attribute because another thread reads them.
        self._heard: tuple[float, Samples, int] = (0.0, np.zeros((0, 2), np.int16), 8000)
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=12)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    def tell(self, moment: Moment) -> None:
        """Print a moment."""
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_column(justify="right", width=8)
        row.add_column(width=6)
        row.add_column(ratio=1)
        text = Text(moment.text)
        if moment.words:
            text.append(f': "{moment.words}"', style="italic")
        row.add_row(f"{moment.time:.2f} s", Text(moment.who, STYLES[moment.who]), text)
        self._console.print(row)

    def update(self, time: float, recording: Samples, rate: int) -> None:
        """Draw the call so far.

        Args:
            time: Seconds since the call began.
            recording: int16[n, 2], caller and agent.
            rate: Sample rate of the recording, in Hz.

        """
        self._heard = (time, recording, rate)

    def _render(self) -> Group:
        time, recording, rate = self._heard
        cells = max(10, min(CELLS, self._console.width - 24))
        bars = _ASCII_BARS if self._console.options.ascii_only else _BARS
        seconds = max(self._expected, time)
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(justify="right", width=_NAMES - 1)
        table.add_column(width=cells)
        table.add_column()
        for who, samples in zip(STYLES, recording.T, strict=True):
            drawn = silhouette(samples, round(seconds * rate / cells), bars)
            table.add_row(Text(who, STYLES[who]), Text(drawn[:cells], STYLES[who]), "")
        bar = ProgressBar(total=seconds, completed=time, width=cells)
        table.add_row("", bar, f"{time:.1f} s")
        return Group("", table)


def silhouette(samples: Samples, length: int, bars: str) -> str:
    """Return a voice as text: a bar for each `length` samples, a space for silence."""
    whole = len(samples) - len(samples) % length
    pieces = samples[:whole].reshape(-1, length).astype(np.float64)
    power = np.mean(pieces * pieces, axis=1) / 32768**2
    level = 10 * np.log10(np.maximum(power, 1e-12))
    heights = np.ceil((level - _QUIETEST) / (_LOUDEST - _QUIETEST) * len(bars))
    return "".join((" " + bars)[int(each)] for each in np.clip(heights, 0, len(bars)))


def print_checks(console: Console, checks: Sequence[Check]) -> None:
    """Print each check, and what was found."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", width=_NAMES - 1)
    table.add_column()
    table.add_column()
    for check in checks:
        mark = Text("ok", "green") if check.passed else Text("not ok", "bold red")
        table.add_row(mark, check.name, Text(check.found, "dim" if check.passed else "bold red"))
    console.print()
    console.print(table)


def print_turns(console: Console, turns: Sequence[Turn]) -> None:
    """Print when each turn reached each stage, from the caller's last word on."""
    table = Table(box=None, padding=(0, 2, 0, 0), title_justify="left", header_style="dim")
    table.add_column("turn", justify="right", width=_NAMES - 1)
    for stage in STAGES:
        table.add_column(
            HEADINGS.get(stage, stage.replace("_", " ")), justify="right", no_wrap=True
        )
    table.add_column("")
    for turn in turns:
        if not turn.number:
            continue  # a greeting does not follow a turn of the caller
        times = [getattr(turn, stage) for stage in STAGES]
        table.add_row(
            str(turn.number),
            *("" if time is None else f"{1000 * time:.0f} ms" for time in times),
            Text("interrupted" if turn.interrupted else turn.error or "", "dim"),
        )
    console.print()
    console.print(table)


def print_files(console: Console, files: Sequence[tuple[Path, str]]) -> None:
    """Print the paths and the contents of the files that were written."""
    width = max(len(str(path)) for path, _ in files)
    console.print()
    for path, text in files:
        # Wrapping or cutting a path would keep it from being copied.
        line = Text.assemble("   wrote  ", (str(path).ljust(width), "bold"), "  ", (text, "dim"))
        console.print(line, soft_wrap=True)
