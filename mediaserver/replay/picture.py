"""A picture of a replay: the caller, what they heard then, and what they hear now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from audiocodecs import Samples
from mediaserver.replay.captured_call import CapturedCall
from mediaserver.replay.comparison import CallComparison


_COLUMNS: Final = 2_400
"""Columns of a waveform; each reaches from its lowest sample to its highest."""

_INK: Final = "#22303a"
_VOICES: Final = {"caller": "#1f6f8b", "heard then": "#c8553d", "heard now": "#c8553d"}
_DIFFERING: Final = "#f2b8b5"
_SHIFTED: Final = "#f7e3a1"
_MARKED: Final = {"barge-in": "barge-in", "reply begins": "reply", "tool begins": "tool"}


def draw_comparison(path: Path, comparison: CallComparison, *, title: str) -> None:
    """Write a PNG of two runs of a call on one time axis.

    Stretches in which the caller hears something else now are shaded red, those that they hear a
    little earlier or later yellow.

    Raises:
        OSError: the file cannot be written.

    """
    captured, replayed = comparison.captured, comparison.replayed
    rate = captured.format.rate
    seconds = max(captured.seconds, replayed.seconds, 1.0)
    figure = Figure(figsize=(15, 7.5), dpi=110, facecolor="white", layout="constrained")
    panels: Sequence[Axes] = figure.subplots(3, sharex=True)
    caller = caller_audio(comparison.call)
    for panel, (name, colour), samples in zip(
        panels, _VOICES.items(), (caller, captured.audio, replayed.audio), strict=True
    ):
        _wave(panel, samples, rate, colour)
        panel.set_ylabel(name, color=_INK)
        panel.set_ylim(-1.05, 1.05)
        panel.set_yticks([])
        panel.spines[["top", "right", "left"]].set_visible(False)
    for shifted in comparison.shifts:
        for panel, shift in zip(panels[1:], (0.0, shifted.shift), strict=True):
            stretch = shifted.start + shift, shifted.end + shift
            panel.axvspan(*stretch, color=_SHIFTED, alpha=0.5, lw=0, zorder=0)
    for start, end in comparison.differing_stretches:
        for panel in panels[1:]:
            panel.axvspan(start, end, color=_DIFFERING, alpha=0.6, lw=0, zorder=0)
    for panel, run in zip(panels[1:], (captured, replayed), strict=True):
        for decision in run.decisions:
            if decision.what in _MARKED and 0 <= decision.at <= seconds:
                panel.axvline(decision.at, color=_INK, lw=0.8, alpha=0.5)
                panel.text(decision.at, 1.0, f" {_MARKED[decision.what]}", size=8, color=_INK)
    panels[-1].set_xlim(0, seconds)
    panels[-1].set_xlabel("seconds after the start of the stream", color=_INK)
    figure.suptitle(f"{title}\n{comparison.verdict}", color=_INK, size=12, x=0.01, ha="left")
    figure.savefig(path, format="png")


def caller_audio(call: CapturedCall) -> Samples:
    """Return what the caller said, ``int16[n]``, by the time at which it came."""
    rate = call.format.rate
    audio = np.zeros(max(1, round(call.seconds * rate)), np.int16)
    position = 0
    for at, payload in call.caller_frames:
        samples = call.format.decode(payload)
        # A frame ends when it comes. One that is a little early or late joins the one before.
        start = round((at - call.started) * rate) - len(samples)
        if abs(start - position) < rate // 10:
            start = position
        start = max(0, start)
        piece = samples[: max(0, len(audio) - start)]
        audio[start : start + len(piece)] = piece
        position = start + len(samples)
    return audio


def _wave(panel: Axes, samples: Samples, rate: int, colour: str) -> None:
    if not len(samples):
        return
    columns = min(_COLUMNS, len(samples))
    edges = np.linspace(0, len(samples), columns + 1).astype(int)[:-1]
    low = np.minimum.reduceat(samples, edges) / 32_768
    high = np.maximum.reduceat(samples, edges) / 32_768
    panel.fill_between(edges / rate, low, high, color=colour, lw=0.4)
