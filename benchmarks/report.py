"""The results of the transport benchmark: ratios, goals, tables."""

import statistics
from collections.abc import Callable, Iterable

import msgspec
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.load import EchoResult, IdleResult
from benchmarks.servers import PROGRAMS


OURS = "mediaserver"
LOAD_BUSY_LIMIT = 0.6  # a load that uses more of its core may itself be the bottleneck
DISTURBANCE_LIMIT = 0.05
FRAME_US = 20_000


class Settings(msgspec.Struct, frozen=True):
    """The arguments of the run, and its machine."""

    calls: int
    idle_calls: int
    seconds: float
    warm_up: float
    repeat: int
    quick: bool
    server_core: int
    load_core: int
    python: str
    machine: str
    load_average: float


class EchoRun(msgspec.Struct, frozen=True):
    """One server, one scheme, one repeat.

    Attributes:
        attempts: how often it was run until other processes did not disturb it.

    """

    server: str
    scheme: str
    repeat: int
    attempts: int
    result: EchoResult


class IdleRun(msgspec.Struct, frozen=True):
    """One server's memory, one repeat."""

    server: str
    repeat: int
    result: IdleResult


class Spread(msgspec.Struct, frozen=True):
    """The same figure over the repeats."""

    min: float
    median: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread | None":
        """Return the spread, or None if there are no values."""
        found = list(values)
        return cls(min(found), statistics.median(found), max(found)) if found else None


class Goal(msgspec.Struct, frozen=True):
    """A figure of our server, and the goal for it.

    Attributes:
        spread: the figure over the repeats; None if it was not measured.
        limit: the goal, the most that it should be; None without a goal.

    """

    name: str
    spread: Spread | None
    limit: float | None

    @property
    def reached(self) -> bool | None:
        """Whether the median is within the limit; None without a median or a limit."""
        if self.spread is None or self.limit is None:
            return None
        return self.spread.median <= self.limit


class Report(msgspec.Struct):
    """All results; grows while the benchmark runs.

    Attributes:
        missing: why a row, or a part of it, is missing.

    """

    settings: Settings
    echo: list[EchoRun] = []
    idle: list[IdleRun] = []
    missing: list[str] = []

    def figures(
        self, server: str, scheme: str, figure: Callable[[EchoResult], float]
    ) -> dict[int, float]:
        """Return one figure of a server for each repeat."""
        return {
            run.repeat: figure(run.result)
            for run in self.echo
            if run.server == server and run.scheme == scheme
        }

    def memory(self, server: str) -> Spread | None:
        """Return KiB per idle call, without measurements during which calls were cut."""
        return Spread.of(
            run.result.kib_per_call
            for run in self.idle
            if run.server == server and not run.result.disconnected
        )

    def ratio(self, server: str, other: str, scheme: str) -> Spread | None:
        """Return the ratio of `server`'s CPU per frame to `other`'s, for each repeat."""
        ours = self.figures(server, scheme, _us_per_frame)
        theirs = self.figures(other, scheme, _us_per_frame)
        return Spread.of(ours[n] / theirs[n] for n in sorted(ours.keys() & theirs.keys()))

    def goals(self) -> list[Goal]:
        """Return the goals for our server, with the measured figures."""
        schemes = dict.fromkeys(run.scheme for run in self.echo)
        goals = []
        for scheme in schemes:
            for other, limit in (("websockets", 0.80), ("plivo-stream-sdk", 0.30), ("floor", None)):
                name = f"CPU per frame against {other}, {scheme}"
                goals.append(Goal(name, self.ratio(OURS, other, scheme), limit))
        for scheme in schemes:
            p99 = Spread.of(self.figures(OURS, scheme, lambda r: r.latency_p99_ms).values())
            goals.append(Goal(f"echo latency p99 in ms, {scheme}", p99, 5))
        goals.append(Goal("resident KiB per idle call", self.memory(OURS), 24))
        return goals

    def to_json(self) -> bytes:
        """Return settings, every run, the goals and what is missing."""
        document = msgspec.to_builtins(self)
        for entry, run in zip(document["echo"], self.echo, strict=True):
            entry["us_per_frame"] = run.result.us_per_frame
        for item, idle in zip(document["idle"], self.idle, strict=True):
            item["kib_per_call"] = idle.result.kib_per_call
        document["goals"] = [
            msgspec.to_builtins(goal) | {"reached": goal.reached} for goal in self.goals()
        ]
        return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"

    def print(self, console: Console) -> None:
        """Print the tables, then the doubts about them."""
        console.print(self._servers())
        for server in dict.fromkeys(run.server for run in self.echo):
            console.print(f"  {server}: {PROGRAMS[server].does}", highlight=False)
        console.print()
        console.print(self._goals())
        for doubt in self.doubts():
            console.print(f"! {doubt}", style="yellow", highlight=False, markup=False)

    def doubts(self) -> list[str]:
        """Return what readers must know before they trust the figures."""
        doubts = list(self.missing)
        if self.settings.quick:
            doubts.append(
                "--quick: this only shows that the benchmark runs; its figures mean nothing"
            )
        if self.settings.server_core == self.settings.load_core:
            doubts.append(
                "server and load share one core: the latencies are those of both together"
            )
        if self.settings.load_average > 0.5:
            doubts.append(
                f"the machine was busy before (load average {self.settings.load_average:.1f}): "
                "trust the ratios, not the figures"
            )
        for (server, scheme), runs in self._rows().items():
            row = f"{server} ({scheme})"
            busiest = max(run.load_busy for run in runs)
            if busiest > LOAD_BUSY_LIMIT:
                doubts.append(
                    f"{row}: the load took {busiest:.0%} of its core (limit {LOAD_BUSY_LIMIT:.0%}):"
                    " it may be the bottleneck"
                )
            disturbed = sum(run.disturbance > DISTURBANCE_LIMIT for run in runs)
            if disturbed and self.settings.server_core != self.settings.load_core:
                worst = max(run.disturbance for run in runs)
                doubts.append(
                    f"{row}: {disturbed} of {len(runs)} runs disturbed, other processes held a core"
                    f" for up to {worst:.0%} of the time: latencies are too high, and CPU per frame"
                    " too low as frames bunch up"
                )
            for count, what in (
                (sum(run.lost for run in runs), "frames sent were not answered"),
                (sum(run.garbled for run in runs), "replies held none of the caller's frames"),
                (sum(run.duplicates for run in runs), "frames were answered more than once"),
                (sum(run.disconnected for run in runs), "calls were cut by the server"),
            ):
                if count:
                    doubts.append(f"{row}: {count} {what}")
        doubts.extend(
            f"{idle.server} (repeat {idle.repeat + 1}): {idle.result.disconnected} idle calls were "
            "cut while its memory was measured; that measurement does not count"
            for idle in self.idle
            if idle.result.disconnected
        )
        return doubts

    def _rows(self) -> dict[tuple[str, str], list[EchoResult]]:
        """Return the results of all repeats by server and scheme."""
        rows: dict[tuple[str, str], list[EchoResult]] = {}
        for run in self.echo:
            rows.setdefault((run.server, run.scheme), []).append(run.result)
        return rows

    def _servers(self) -> Table:
        asked = self.settings
        table = Table(
            title=f"Echo of {asked.calls} calls, one 20 ms frame every 20 ms each; "
            f"median of {asked.repeat} x {asked.seconds:g} s",
            box=SIMPLE,
            padding=(0, 1, 0, 0),
        )
        table.add_column("server", no_wrap=True)
        for heading in (
            "",
            "µs CPU\nper frame",
            "\nrange",
            "calls\nper core",
            "latency\np50 ms",
            "\np99 ms",
            "\nmax ms",
            "frames\nlost",
            "load\nbusy",
            "sent late\nmax ms",
            "KiB per\nidle call",
        ):
            table.add_column(heading, justify="right", no_wrap=True)
        for (server, scheme), runs in self._rows().items():
            cpu = Spread.of(map(_us_per_frame, runs))
            memory = self.memory(server) if scheme == "ws" else None
            assert cpu is not None
            table.add_row(
                server,
                scheme,
                f"{cpu.median:.1f}",
                f"{cpu.min:.1f}-{cpu.max:.1f}",
                f"{FRAME_US / cpu.median:,.0f}",
                f"{statistics.median(r.latency_p50_ms for r in runs):.2f}",
                f"{statistics.median(r.latency_p99_ms for r in runs):.2f}",
                f"{max(r.latency_max_ms for r in runs):.1f}",
                f"{sum(r.lost for r in runs):,}",
                f"{max(r.load_busy for r in runs):.0%}",
                f"{max(r.lateness_max_ms for r in runs):.1f}",
                f"{memory.median:.1f}" if memory else "",
            )
        return table

    def _goals(self) -> Table:
        table = Table(title=f"{OURS}: repeat by repeat, {self.settings.repeat} in all", box=SIMPLE)
        table.add_column("figure")
        for heading in ("min", "median", "max", "goal", "reached"):
            table.add_column(heading, justify="right", no_wrap=True)
        for goal in self.goals():
            spread = goal.spread
            reached = {True: "yes", False: "no", None: "" if spread else "not measured"}
            table.add_row(
                goal.name,
                *(f"{value:.2f}" for value in msgspec.structs.astuple(spread))
                if spread
                else ("", "", ""),
                f"≤ {goal.limit:g}" if goal.limit is not None else "",
                reached[goal.reached],
            )
        return table


def _us_per_frame(result: EchoResult) -> float:
    return result.us_per_frame
