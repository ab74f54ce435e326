"""What a tester demands of a call or of a load: `replies.p99<1.5`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Self, TypeAlias

from mediaserver.sandbox.phone.load import LoadReport, Spread
from mediaserver.sandbox.phone.report import CallReport


_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_FORM = re.compile(r"\s*([\w.]+)\s*(<=|>=|==|<|>)\s*(\d+(?:\.\d*)?|\.\d+)\s*(ms|s)?\s*")


@dataclass(frozen=True, slots=True)
class Threshold:
    """A figure of a report, and what it must be.

    Attributes:
        figure: Name of the figure, such as `replies.p99`.
        comparison: One of `<`, `<=`, `==`, `>=`, `>`.
        value: What the figure is compared with, in the figure's unit.

    """

    figure: str
    comparison: str
    value: float

    @classmethod
    def parse(cls, text: str, figures: Iterable[str]) -> Self:
        """Read a threshold such as `replies.p99<1.5`, `replies.p99<1500ms` or `unanswered==0`.

        Args:
            text: A figure, a comparison and a number, with `s` or `ms` where it is a time.
            figures: The names that there are.

        Raises:
            ValueError: The text is not of this form, or there is no such figure.

        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError(
                f"a threshold is written FIGURE<NUMBER, such as replies.p99<1.5, not {text!r}; "
                f"it compares by {', '.join(_COMPARISONS)}"
            )
        figure, comparison, number, unit = match.groups()
        names = list(figures)
        if figure not in names:
            near = get_close_matches(figure, names, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
            raise ValueError(f"there is no figure {figure!r}; {hint}")
        own = "ms" if figure.startswith("gaps.") else "s"
        scale = 1.0 if unit in (None, own) else 0.001 if unit == "ms" else 1000.0
        return cls(figure, comparison, float(number) * scale)

    def holds(self, found: float | None) -> bool:
        """Whether a figure is what it must be. What was not measured, such as None, is not."""
        return found is not None and _COMPARISONS[self.comparison](found, self.value)

    def __str__(self) -> str:
        return f"{self.figure} {self.comparison} {self.value:g}"


def call_figures(report: CallReport) -> dict[str, float | None]:
    """Return what a threshold of one call can name; times are in seconds."""
    return {name: figure(report) for name, figure in CALL_FIGURES.items()}


def load_figures(report: LoadReport) -> dict[str, float | None]:
    """Return what a threshold of a load can name; times are in seconds, `gaps` in milliseconds."""
    figures: dict[str, float | None] = {}
    for item in fields(report):
        value = getattr(report, item.name)
        if item.name in _SPREADS:
            figures |= _spread(item.name, value)
        elif isinstance(value, dict):
            figures[item.name] = math.fsum(value.values())
        elif isinstance(value, int | float):
            figures[item.name] = value
    return figures


_SPREADS = {item.name for item in fields(LoadReport) if str(item.type).startswith("Spread")}


def _spread(name: str, spread: Spread | None) -> dict[str, float | None]:
    return {f"{name}.{each}": getattr(spread, each, None) for each in _STATISTICS}


_STATISTICS = tuple(item.name for item in fields(Spread))


def _of_call(values: Callable[[CallReport], Iterable[float | None]], each: str) -> _Figure:
    def figure(report: CallReport) -> float | None:
        measured = Spread.of(value for value in values(report) if value is not None)
        return getattr(measured, each, None)

    return figure


_Figure: TypeAlias = Callable[[CallReport], float | None]

CALL_FIGURES: dict[str, _Figure] = {
    "duration": lambda report: report.duration,
    "connect": lambda report: report.connect_seconds,
    "first_audio": lambda report: report.first_audio,
    "first_speech": lambda report: report.first_speech,
    "audio_played": lambda report: report.audio_played,
    "audio_cleared": lambda report: report.audio_cleared,
    "audio_unplayed": lambda report: report.audio_unplayed,
    "gap_count": lambda report: len(report.gaps),
    "gap_seconds": lambda report: report.gap_seconds,
    "pause_count": lambda report: len(report.pauses),
    "pause_seconds": lambda report: report.pause_seconds,
    "longest_pause": lambda report: report.longest_pause,
    "unanswered": lambda report: report.unanswered,
    "uninterrupted": lambda report: report.talked_on,
    "warnings": lambda report: sum(report.warnings.values()),
    "errors": lambda report: sum(report.errors.values()),
    "sender_lateness": lambda report: report.sender_lateness,
} | {
    f"{name}.{each}": _of_call(values, each)
    for name, values in (
        ("replies", lambda report: (each.seconds for each in report.replies)),
        (
            "interrupts",
            lambda report: (each.seconds for each in report.interrupts if not each.talked_on),
        ),
    )
    for each in _STATISTICS
}
"""What a threshold of one call can name, and where it is in the report."""

LOAD_FIGURES = tuple(load_figures(LoadReport("", "", 1, 1.0, 1.0)))
"""What a threshold of a load can name."""
