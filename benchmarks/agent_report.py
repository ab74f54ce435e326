"""The results of the agents benchmark: figures, the table of steps, doubts."""

from typing import Any

import msgspec
import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.experiments import Findings


DELAY_LIMIT_MS = 50.0
CALLS_GOAL = 120


class Spread(msgspec.Struct, frozen=True):
    """Percentiles of some durations, in milliseconds."""

    count: int
    p50: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, seconds: list[float]) -> "Spread | None":
        """Return the spread of values in seconds, or None if the list is empty."""
        if not seconds:
            return None
        values = np.percentile(np.array(seconds) * 1000, [50, 95, 99, 100])
        return cls(len(seconds), *(round(float(value), 2) for value in values))


class Step(msgspec.Struct):
    """A number of simultaneous calls on one server.

    Attributes:
        caller_talk: share of the time in which callers were heard to speak.
        agent_talk: the same of the agents.
        answered: utterances in the window that were answered.
        unanswered: utterances in the window that were not answered.
        beyond: time from the caller's last sound to the first audio at the phone, less the
            end-of-turn silence and the time of the services.
        beyond_unloaded: the same, less the time that the same clip took with two calls.
        underruns: underruns that the server counted.
        gaps: silences in the agents' speech at the phone.
        gap_ms: their total duration.
        longest_gap_ms: the longest gap.
        server_cpu: share of a core.
        phones_cpu: the same for the phones.
        server_waited: share of the time that other processes held the server's core.
        phones_waited: the same for the phones.
        megabytes: resident memory of the server.
        lag_ms: largest lag of the event loop since the server's start.
        lost: calls that were refused or cut.

    """

    server: str
    calls: int
    caller_talk: float
    agent_talk: float
    answered: int
    unanswered: int
    beyond: Spread | None
    beyond_unloaded: Spread | None
    underruns: int | None
    gaps: int
    gap_ms: float
    longest_gap_ms: float
    server_cpu: float
    phones_cpu: float
    server_waited: float
    phones_waited: float
    megabytes: float
    lag_ms: float | None
    lost: int

    @property
    def disturbance(self) -> float:
        """Share of the time that others held the core of the server or the phones."""
        return max(self.server_waited, self.phones_waited)

    @property
    def failings(self) -> list[str]:
        """Return the reasons why this number of calls does not count as held."""
        found = []
        if self.lost:
            found.append("calls lost")
        if self.unanswered or not self.answered:
            found.append("unanswered")
        if self.underruns:
            found.append("underruns")
        if self.longest_gap_ms > GAP_LIMIT_MS:
            found.append("gaps")
        if self.beyond_unloaded is None or self.beyond_unloaded.p99 > DELAY_LIMIT_MS:
            found.append("late")
        return found


GAP_LIMIT_MS = 20.5
"""A service that speaks in real time leaves gaps of a frame in some answers by itself."""


class Report(Findings):
    """The results of the voice agents benchmark."""

    steps: list[Step] = msgspec.field(default_factory=list)

    def to_builtins(self) -> dict[str, Any]:
        """Return everything in the form of a JSON document."""
        document = super().to_builtins()
        for item, step in zip(document["steps"], self.steps, strict=True):
            item["failings"] = step.failings
        return document

    def print(self, console: Console) -> None:
        """Print the tables, then the doubts about them."""
        if self.steps:
            console.print(_step_table(self.steps))
        if self.figures:
            console.print(self.table())
        self.print_doubts(console)


def _step_table(steps: list[Step]) -> Table:
    title = "Calls at once on one core; delays of the first audio in ms, p50 / p99"
    table = Table(title=title, box=SIMPLE)
    headings = (
        "server",
        "calls",
        "talk",
        "answers",
        "beyond own",
        "beyond 2 calls",
        "underruns",
        "gaps, ms",
        "CPU",
        "MB",
        "lag, ms",
        "lost",
        "phones",
        "holds",
    )
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    for step in steps:
        failings = step.failings
        table.add_row(
            step.server,
            str(step.calls),
            f"{step.caller_talk:.0%} + {step.agent_talk:.0%}",
            f"{step.answered}" + (f" - {step.unanswered}" if step.unanswered else ""),
            _two(step.beyond),
            _two(step.beyond_unloaded),
            "" if step.underruns is None else str(step.underruns),
            f"{step.gaps}, ≤ {step.longest_gap_ms:.0f}" if step.gaps else "0",
            f"{step.server_cpu:.0%}",
            f"{step.megabytes:.0f}",
            "" if step.lag_ms is None else f"{step.lag_ms:.1f}",
            str(step.lost),
            f"{step.phones_cpu:.0%}",
            "[red]" + ", ".join(failings) if failings else "yes",
        )
    return table


def _two(spread: Spread | None) -> str:
    return "-" if spread is None else f"{spread.p50:.0f} / {spread.p99:.0f}"
