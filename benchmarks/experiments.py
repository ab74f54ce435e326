"""What benchmarks of several experiments share: choosing experiments, results, doubts."""

import argparse
import os
import platform
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.errors import BenchmarkError
from benchmarks.linux import cores


class Figure(msgspec.Struct, frozen=True):
    """One line of the table.

    Attributes:
        limit: the goal, the most that the value should be; None without a goal.

    """

    experiment: str
    name: str
    value: float | None
    unit: str = ""
    limit: float | None = None

    @property
    def reached(self) -> bool | None:
        """Whether the value is within the limit; None without a value or a limit."""
        if self.value is None or self.limit is None:
            return None
        return self.value <= self.limit


class Findings(msgspec.Struct):
    """All results; grows while the benchmark runs.

    Attributes:
        title: of the table.
        missing: why something was not measured.
        doubts: what readers must know before they trust the figures.

    """

    settings: dict[str, Any]
    title: str = ""
    figures: list[Figure] = msgspec.field(default_factory=list)
    missing: list[str] = msgspec.field(default_factory=list)
    doubts: list[str] = msgspec.field(default_factory=list)

    def add(
        self,
        experiment: str,
        name: str,
        value: float | None,
        unit: str = "",
        limit: float | None = None,
    ) -> None:
        """Enter a figure."""
        self.figures.append(Figure(experiment, name, value, unit, limit))

    def to_builtins(self) -> dict[str, Any]:
        """Return everything in the form of a JSON document."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        for item, figure in zip(document["figures"], self.figures, strict=True):
            item["reached"] = figure.reached
        return document

    def to_json(self) -> bytes:
        """Return all of it."""
        return msgspec.json.format(msgspec.json.encode(self.to_builtins()), indent=2) + b"\n"

    def print(self, console: Console) -> None:
        """Print the table, then the doubts about it."""
        console.print(self.table())
        self.print_doubts(console)

    def table(self) -> Table:
        """Return the figures, experiment by experiment."""
        table = Table(title=self.title, box=SIMPLE)
        for heading in ("experiment", "figure"):
            table.add_column(heading, no_wrap=True)
        for heading in ("measured", "goal", "reached"):
            table.add_column(heading, justify="right", no_wrap=True)
        last = ""
        for figure in self.figures:
            value, reached = figure.value, figure.reached
            if last and figure.experiment != last:
                table.add_section()
            table.add_row(
                figure.experiment if figure.experiment != last else "",
                figure.name,
                "not measured" if value is None else f"{value:,.10g} {figure.unit}".rstrip(),
                "" if figure.limit is None else f"≤ {figure.limit:g} {figure.unit}".rstrip(),
                "" if reached is None else "yes" if reached else "[red]no",
            )
            last = figure.experiment
        return table

    def print_doubts(self, console: Console) -> None:
        """Print the doubts about the figures."""
        for doubt in (*self.missing, *self.doubts):
            console.print(f"! {doubt}", style="yellow", highlight=False, markup=False)


class Experiments:
    """The chosen experiments, with a server on one core and phones on another.

    Args:
        chosen: the command's arguments.
        progress: where to report progress.

    """

    def __init__(self, chosen: argparse.Namespace, progress: Console) -> None:
        self.chosen = chosen
        self._progress = progress
        self.server_core, self.phones_core = cores()

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of the run, and its machine."""
        return {
            "calls": self.chosen.calls,
            "seconds": self.chosen.seconds,
            "quick": self.chosen.quick,
            "server_core": self.server_core,
            "phones_core": self.phones_core,
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
            "load_average": os.getloadavg()[0],
        }

    def perform(self, experiments: Mapping[str, Callable[[], None]], found: Findings) -> None:
        """Run one experiment after the other; if one fails, the others still run."""
        self.say(f"server on core {self.server_core}, phones on core {self.phones_core}")
        if self.chosen.quick:
            found.doubts.append(
                "--quick: this only shows that the benchmark runs; its figures mean nothing"
            )
        if self.server_core == self.phones_core:
            found.doubts.append("server and phones share one core and disturb each other")
        if os.getloadavg()[0] > 0.5:
            found.doubts.append(
                f"the machine was busy before (load average {os.getloadavg()[0]:.1f})"
            )
        os.sched_setaffinity(0, {self.phones_core})
        for name in self.chosen.only:
            try:
                experiments[name]()
            except BenchmarkError as error:
                found.missing.append(f"{name}: {error}")
                self.say(f"{name}: failed: {error}")

    def say(self, line: str) -> None:
        """Report progress."""
        self._progress.print(line, highlight=False, markup=False)


def arguments_of(
    prog: str, description: str, experiments: Sequence[str]
) -> argparse.ArgumentParser:
    """Return a parser with the arguments that all of these commands take."""

    def names(text: str) -> list[str]:
        unknown = [name for name in text.split(",") if name not in experiments]
        if unknown:
            raise argparse.ArgumentTypeError(
                f"no experiment is called {unknown[0]!r}; choose from {', '.join(experiments)}"
            )
        return list(dict.fromkeys(text.split(",")))

    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{prog}", description=description)
    parser.add_argument(
        "--only",
        type=names,
        default=list(experiments),
        help=f"experiments to run, separated by commas; default all: {','.join(experiments)}",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything to FILE")
    parser.add_argument("--quick", action="store_true", help="only check that everything runs")
    return parser


def a_while(text: str) -> float:
    """Read a number of seconds that an experiment may last."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= 600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 1 to 600")
    return value


def report_on(
    benchmark: Any, chosen: argparse.Namespace, *, width: int, judges: bool = False
) -> int:
    """Run a benchmark, print and write its report, and return the exit status.

    The status is 0 if everything could be measured. A benchmark that `judges` has missed no goal
    either.
    """
    # so that every `finally` runs and no child outlives this process
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    benchmark.run()
    report = benchmark.report
    report.print(Console(width=max(width, shutil.get_terminal_size().columns)))
    if chosen.json:
        chosen.json.write_bytes(report.to_json())
    missed = judges and any(figure.reached is False for figure in report.figures)
    return 1 if report.missing or missed else 0
