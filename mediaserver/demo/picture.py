"""The demo's picture: both voices on one time axis, with what happened marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from audiocodecs import AudioFormat, Samples
from mediaserver.demo.moment import GOES_ON, INTERRUPTS, UNDERSTANDS, Moment, Who
from mediaserver.demo.verdict import CallFigures
from mediaserver.sandbox import CallReport


COLOURS: Final[dict[Who, str]] = {"caller": "#1f6f8b", "agent": "#c8553d"}
INK: Final = "#22303a"
EDGE: Final = "#d5dbdf"

WIDTH: Final = 17.0
DPI: Final = 110

# Inches: the margins beside the panels and below them, a panel, a row of labels, the title.
_LEFT, _RIGHT, _BELOW = 0.85, 0.9, 0.6
_PANEL, _BETWEEN = 2.1, 0.12
_ROW, _ABOVE_ROWS = 0.25, 0.15
_TITLE = 0.85

_LABEL_SIZE: Final = 10.0
_LABEL_GAP: Final = 0.1
_WORDS_SIZE: Final = 9.0
_WORDS_MARGIN: Final = 0.06

_COLUMNS: Final = 2400
"""Columns of a waveform; each reaches from its lowest sample to its highest."""

_SCRATCH: Final = FigureCanvasAgg(Figure(dpi=DPI)).figure
"""A figure to measure text on."""


def draw(
    path: Path, report: CallReport, moments: Sequence[Moment], figures: CallFigures, *, title: str
) -> None:
    """Write a PNG of a recorded call.

    Args:
        path: File to write.
        report: The phone's report, with its recording.
        moments: What to mark.
        figures: What to sum up below the title.
        title: What to write above.

    Raises:
        OSError: The file cannot be written.

    """
    seconds = max(report.duration, 1.0)
    scale = (WIDTH - _LEFT - _RIGHT) / seconds
    marked = [moment for moment in moments if moment.label]
    rows = stagger(
        [(each.time * scale, text_width(f" {each.label}", _LABEL_SIZE)) for each in marked]
    )
    labels = _ROW * (max(rows, default=0) + 1) + _ABOVE_ROWS
    height = _BELOW + 2 * _PANEL + _BETWEEN + labels + _TITLE

    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white")
    caller, agent = figure.subplots(2, sharex=True)
    figure.subplots_adjust(
        left=_LEFT / WIDTH,
        right=1 - _RIGHT / WIDTH,
        bottom=_BELOW / height,
        top=1 - (labels + _TITLE) / height,
        hspace=_BETWEEN / _PANEL,
    )
    recording = report.recording if report.recording is not None else np.zeros((0, 2), np.int16)
    rate = AudioFormat.parse(report.format).rate
    _voice(caller, "caller", recording[:, 0], rate, report.caller_speech)
    _voice(agent, "agent", recording[:, 1], rate, report.agent_speech)
    caller.tick_params(length=0)
    agent.set_xlim(0, seconds)
    agent.set_xticks(np.arange(0, seconds))
    agent.set_xlabel("seconds after the start of the stream", color=INK)

    _mark(caller, agent, marked, rows)
    _span_replies(agent, report, marked)
    _shade_pauses(agent, marked)
    _subtitle(caller, _said(moments, "caller"), seconds, scale)
    _subtitle(agent, _said(moments, "agent"), seconds, scale)
    _subtitle(caller, _understood(moments), seconds, scale)

    left = _LEFT / WIDTH
    figure.text(left, 1 - 0.36 / height, title, size=16, weight="bold", color=INK)
    figure.text(left, 1 - 0.65 / height, summary(figures), size=11.5, color=INK)
    figure.savefig(path, format="png")


def summary(figures: CallFigures) -> str:
    """Return the key figures in one line."""
    parts = [
        f"first audio after {_ms(figures.first_audio)}",
        f"slowest reply {_ms(figures.reply)} after the last word",
        f"silence {_ms(figures.silence)} after the interruption begins",
        f"gaps {_ms(figures.gaps)}",
    ]
    return "   ·   ".join(parts)


def stagger(labels: Sequence[tuple[float, float]]) -> list[int]:
    """Return a row for each label, 0 the highest, so that none covers another label or a line.

    A label stands to the right of its line, which runs down from it. So it may be in a row only
    if no earlier label in that row, or in one below, reaches as far as its line.

    Args:
        labels: `(position, width)` of each, in the order of position.

    """
    rows: list[int] = []
    ends: list[float] = []
    for position, width in labels:
        taken = [row for row, end in enumerate(ends) if end + _LABEL_GAP > position]
        row = max(taken, default=-1) + 1
        del ends[row + 1 :]
        if row == len(ends):
            ends.append(0.0)
        ends[row] = position + width
        rows.append(row)
    return rows


def text_width(text: str, size: float) -> float:
    """Return the width in inches of a text whose letters have `size` points."""
    written = _SCRATCH.text(0, 0, text, size=size)
    width = written.get_window_extent().width / DPI
    written.remove()
    return width


def _voice(
    axes: Axes, who: Who, samples: Samples, rate: int, speech: Sequence[tuple[float, float]]
) -> None:
    colour = COLOURS[who]
    low, high = envelope(samples, _COLUMNS)
    times = np.linspace(0, len(samples) / rate, len(low))
    axes.fill_between(times, low, high, color=colour, linewidth=0.4, step="mid")
    axes.axhline(0, color=colour, linewidth=0.6)
    for start, end in speech:
        axes.axvspan(start, end, color=colour, alpha=0.10, linewidth=0)
    loudest = max(0.2, high.max(initial=0), -low.min(initial=0))
    axes.set_ylim(-1.75 * loudest, 1.2 * loudest)
    axes.set_yticks([])
    name = "caller" if who == "caller" else "agent\nas heard"
    axes.set_ylabel(name, color=colour, size=12, weight="bold")
    axes.spines[:].set_color(EDGE)
    axes.tick_params(colors=INK)


def envelope(samples: Samples, columns: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lowest and the highest sample of each of `columns`; full scale is 1."""
    starts = np.linspace(0, len(samples), min(columns, len(samples)), endpoint=False).astype(int)
    scaled = samples / 32768
    if not len(samples):
        return scaled, scaled
    return np.minimum.reduceat(scaled, starts), np.maximum.reduceat(scaled, starts)


def _mark(caller: Axes, agent: Axes, moments: Sequence[Moment], rows: Sequence[int]) -> None:
    """Draw a line down through both panels for each moment, and its label above them."""
    lowest = max(rows, default=0)
    for moment, row in zip(moments, rows, strict=True):
        cut = moment.label == INTERRUPTS
        colour = INK if cut else COLOURS[moment.who]
        top = 1 + (_ROW * (lowest - row + 0.5) + _ABOVE_ROWS / 2) / _PANEL
        for axes, until in ((caller, top), (agent, 1 + _BETWEEN / _PANEL)):
            axes.axvline(
                moment.time,
                ymax=until,
                clip_on=False,
                color=colour,
                alpha=0.7,
                linewidth=1.6 if cut else 0.9,
            )
        caller.text(
            moment.time,
            top,
            f" {moment.label}",
            transform=caller.get_xaxis_transform(),
            color=colour,
            size=_LABEL_SIZE,
            weight="bold" if cut else "normal",
            verticalalignment="center",
        )


def _span_replies(axes: Axes, report: CallReport, moments: Sequence[Moment]) -> None:
    """Draw an arrow from the end of each utterance to its reply."""
    resumed = [moment.time for moment in moments if moment.label == GOES_ON]
    for reply in report.replies:
        if reply.seconds is None:
            continue
        if reply.utterance_end + reply.seconds not in resumed:
            axes.annotate(
                "",
                xy=(reply.utterance_end + reply.seconds, 0.8),
                xytext=(reply.utterance_end, 0.8),
                xycoords=axes.get_xaxis_transform(),
                arrowprops={"arrowstyle": "<->", "color": INK, "shrinkA": 0, "shrinkB": 0},
            )


def _shade_pauses(axes: Axes, moments: Sequence[Moment]) -> None:
    """Shade the pauses from where the agent falls silent to where it continues."""
    agent = [moment for moment in moments if moment.who == "agent"]
    for silenced, following in pairwise(agent):
        if following.label == GOES_ON:
            axes.axvspan(
                silenced.time,
                following.time,
                facecolor="none",
                edgecolor=COLOURS["agent"],
                alpha=0.5,
                hatch="///",
                linewidth=0,
            )


def _said(moments: Sequence[Moment], who: Who) -> list[Moment]:
    """Return what somebody says, and where it ends. A pause does not end it."""
    own = [moment for moment in moments if moment.who == who and moment.aloud]
    pauses = {before.time for before, after in pairwise(own) if after.label == GOES_ON}
    return [each for each in own if each.time not in pauses and each.label != GOES_ON]


def _understood(moments: Sequence[Moment]) -> list[Moment]:
    """Return what the agent understood, each followed by what the caller does next."""
    return [
        replace(moment, words=f"understood: {moment.words}" if moment.who == "agent" else "")
        for moment in moments
        if moment.who == "caller" or moment.text == UNDERSTANDS
    ]


def _subtitle(axes: Axes, moments: Sequence[Moment], seconds: float, scale: float) -> None:
    """Write the words below a voice, each up to the next moment."""
    ends = [*(moment.time for moment in moments[1:]), seconds]
    for moment, end in zip(moments, ends, strict=False):
        if moment.words:
            axes.text(
                moment.time + _WORDS_MARGIN / scale,
                0.03,
                wrap(moment.words, (end - moment.time) * scale - 2 * _WORDS_MARGIN),
                transform=axes.get_xaxis_transform(),
                color=COLOURS[moment.who],
                size=_WORDS_SIZE,
                style="italic",
                verticalalignment="bottom",
            )


def wrap(words: str, width: float) -> str:
    """Break words into lines of at most `width` inches; a longer word has a line to itself."""
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and text_width(longer, _WORDS_SIZE) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def _ms(seconds: float | None) -> str:
    return "never" if seconds is None else f"{1000 * seconds:.0f} ms"
