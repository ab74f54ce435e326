"""What callers hear of an agent: gaps, interruptions, `heard()`, and a server being stopped.

    python -m benchmarks.playback [--calls 200] [--seconds 60] [--only monologue,drain]
                                  [--json FILE]

README.md in this folder says what is measured and how to read it.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from typing import Any, TypeVar

import msgspec
from rich.console import Console

from benchmarks.servers import Program


if not hasattr(os, "sched_setaffinity"):
    raise SystemExit("this benchmark pins processes to cores, which only works on Linux")

from benchmarks.draining import drain
from benchmarks.errors import BenchmarkError
from benchmarks.experiments import Experiments, Findings, a_while, arguments_of, report_on
from benchmarks.linux import cpu_seconds, waited_seconds
from benchmarks.listening import (
    BLOCK_SECONDS,
    Account,
    Blocks,
    Caller,
    RoundTrips,
    accounts,
    clear_delays,
    cut_in_sometimes,
)
from benchmarks.load import Server
from benchmarks.processes import running
from benchmarks.rig import read_metrics, undisturbed
from mediaserver.sandbox import CallReport, LoadReport, Spread, load


T = TypeVar("T")

EXPERIMENTS = ("monologue", "stalled", "blocked", "interrupt", "heard", "drain")

GRID_MS = 20.0
"""The phone plays in steps of this length: a frame that has begun is heard to its end."""

DISTURBANCE_LIMIT = 0.05
LATE_LIMIT_MS = 20.0


class Run(msgspec.Struct):
    """One experiment on one server.

    Attributes:
        server_cpu: share of its core that the server used.
        phones_cpu: the same for the phones.
        server_waited: share of the time in which other processes held the server's core.
        phones_waited: the same for the phones.
        load: the phones' report.
        metrics: the server's own counters afterwards.

    """

    experiment: str
    server_cpu: float
    phones_cpu: float
    server_waited: float
    phones_waited: float
    load: dict[str, Any]
    metrics: dict[str, float]


class Report(Findings):
    """What callers heard."""

    runs: list[Run] = msgspec.field(default_factory=list)

    def print(self, console: Console) -> None:
        """Print the table, then the doubts about it."""
        console.print(self.table())
        if any("plivo-stream-sdk" in figure.experiment for figure in self.figures):
            console.print("  plivo-stream-sdk: sends a 20 ms frame, then asyncio.sleep(0.02)\n")
        self.print_doubts(console)


class Benchmark(Experiments):
    """The chosen experiments."""

    def __init__(self, chosen: argparse.Namespace, progress: Console) -> None:
        super().__init__(chosen, progress)
        self.report = Report(self.settings, "What callers heard")

    def run(self) -> None:
        """Run one experiment after the other."""
        self.perform(
            {
                "monologue": self._monologues,
                "stalled": self._stalled,
                "blocked": self._blocked,
                "interrupt": self._interrupt,
                "heard": self._heard,
                "drain": self._drain,
            },
            self.report,
        )

    # Gaps

    def _monologues(self) -> None:
        self._monologue("monologue, say()", self._talker("Monologue"))
        self._monologue("monologue, play()", self._talker("Recital"))
        self._peer("the same, plivo-stream-sdk", "plivo_sdk_monologue")

    def _stalled(self) -> None:
        self._monologue("loop stalled 150 ms each second", self._talker("StalledMonologue"))
        self._peer("stalled, plivo-stream-sdk", "plivo_sdk_stalled")

    def _blocked(self) -> None:
        title = "socket blocked 400 ms in 10 s"
        blocks = Blocks(1, self.chosen.seconds)
        self._monologue(title, self._talker("Monologue"), caller=blocks.caller)
        longest = max(blocks.seconds, default=0.0)
        name = f"longest of {len(blocks.seconds)} blocks"
        self.report.add(title, name, round(longest * 1000, 1), "ms")
        if longest > 1.1 * BLOCK_SECONDS:
            self.report.doubts.append(
                f"{title}: the phones were late to read again, after {longest * 1000:.0f} ms: "
                "a gap may be their fault, not the server's"
            )

    def _peer(self, title: str, module: str) -> None:
        """Run the same experiment with another package, without a goal."""
        program = Program(
            title,
            "a frame, then asyncio.sleep(0.02)",
            ("-m", f"benchmarks.servers.{module}"),
            path=f"/stream?seconds={self.chosen.seconds:g}",
            needs=("plivo_stream", "plivo"),
        )
        if program.installed:
            self._monologue(title, program, ours=False)
        else:
            self.report.missing.append(f"{title}: pip install --group bench")

    def _monologue(
        self, title: str, program: Program, *, ours: bool = True, caller: Caller | None = None
    ) -> None:
        """Listen to a monologue in many calls; every silence in it is a gap, however long."""
        chosen = self.chosen
        reports: list[CallReport] = []
        run, result = self._call(
            title,
            program,
            calls=chosen.calls,
            seconds=chosen.seconds + chosen.tail,
            caller=caller,
            reports=reports,
            gap_threshold=600.0,
        )
        worst = max((report.gap_seconds for report in reports), default=0.0) * 1000
        missing = sum(max(0.0, chosen.seconds - each.audio_played) for each in reports)
        zero = 0.0 if ours else None

        def add(name: str, value: float | None, unit: str, limit: float | None) -> None:
            self.report.add(title, name, value, unit, limit)

        add(f"gaps at {result.made} phones", round(result.gap_seconds * 1000, 3), "ms", zero)
        add("gaps, worst call", round(worst, 3), "ms", zero)
        per_minute = round(result.gaps.p50, 1) if result.gaps is not None else None
        add("gaps per minute, median call", per_minute, "ms", None)
        add("speech that was not heard", round(missing, 3), "s", zero)
        add("calls cut or refused", _lost(result), "", zero)
        if ours:
            metrics = run.metrics
            underrun = metrics.get("underrun_seconds_total", 0.0) * 1000
            add("underruns, as the server counts", metrics.get("underruns_total"), "", None)
            add("  and how long they were", round(underrun, 3), "ms", None)
            add("producer gaps, likewise", metrics.get("producer_gaps_total"), "", None)
            lag = metrics.get("loop_lag_max_seconds", 0.0) * 1000
            add("event loop late, at worst", round(lag, 1), "ms", None)
        add("CPU of the server, of a core", round(run.server_cpu * 100, 1), "%", None)

    # Interruptions

    def _interrupt(self) -> None:
        title = "interrupt"
        seconds = 2.5 if self.chosen.quick else 30.0
        trips = RoundTrips(seed=2)
        reports: list[CallReport] = []
        _, result = self._call(
            title,
            self._talker("Interruptible"),
            calls=self.chosen.calls,
            seconds=seconds,
            caller=trips.caller,
            reports=reports,
        )
        clears = Spread.of(delay for report in reports for delay in clear_delays(report))
        trip = Spread.of(trips.seconds)
        ear = result.interrupts
        self._spread(title, "key → clearAudio", clears)
        self._spread(title, "ping → pong", trip)
        if trip is None or clears is None or ear is None:
            raise BenchmarkError("no key was pressed while the agent was heard")
        for name, spread, limit in (
            ("key → clearAudio, less median pong", clears, 5.0),
            ("key → silence heard, less the same", ear, 5.0 + GRID_MS),
        ):
            for rank, value in (("p50", spread.p50), ("p99", spread.p99)):
                beyond = round((value - trip.p50) * 1000, 2)
                self.report.add(
                    title, f"{name}, {rank}", beyond, "ms", limit if rank == "p99" else None
                )
        beyond = round((clears.p99 - trip.p99) * 1000, 2)
        self.report.add(title, "key → clearAudio, p99 less p99 of pongs", beyond, "ms")
        self.report.add(title, "agents that talked on", result.uninterrupted, "", None)
        self.report.add(title, "calls cut or refused", _lost(result), "", 0.0)

    # What was heard

    def _heard(self) -> None:
        title = "heard()"
        quick = self.chosen.quick
        reports: list[CallReport] = []
        _, result = self._call(
            title,
            self._talker("Accountant"),
            calls=min(self.chosen.calls, 50),
            seconds=3.0 if quick else 45.0,
            caller=cut_in_sometimes(seed=3),
            reports=reports,
        )
        found = [account for report in reports for account in accounts(report)]
        whole = [each for each in found if not each.cut]
        self._errors(title, "confirmed", [e for e in whole if e.outcome == "confirmed"], 20.0)
        self._errors(title, "interrupted", [e for e in found if e.cut], 60.0)
        self._errors(title, "unconfirmed", [e for e in whole if e.outcome == "estimated"], None)
        wrong = sum(each.cut != (each.outcome == "interrupted") for each in found)
        self.report.add(title, "called interrupted wrongly, or not", wrong, "", None)
        told = Spread.of(each.told_after for each in whole)
        self._spread(title, "end of sound → heard() told of", told)
        self.report.add(title, "calls cut or refused", _lost(result), "", 0.0)

    def _errors(self, title: str, outcome: str, found: list[Account], limit: float | None) -> None:
        """Record how far `heard()` was off."""
        if limit is not None and len(found) < 200 and not self.chosen.quick:
            self.report.doubts.append(f"{title}: only {len(found)} utterances were {outcome}")
        if not found and limit is None:
            return
        errors = sorted((abs(each.error) * 1000 for each in found), reverse=True)
        worst = round(errors[0], 2) if errors else None
        self.report.add(title, f"worst error of {len(found)} {outcome}", worst, "ms", limit)
        if found:
            means = sum(each.error for each in found) / len(found) * 1000
            self.report.add(
                title, "  mean; above 0: too much was claimed", round(means, 2) + 0.0, "ms"
            )

    # Drain

    def _drain(self) -> None:
        title = "SIGTERM, live calls"
        quick = self.chosen.quick
        calls = min(self.chosen.calls, 50)
        program = self._talker("Monologue", seconds=60)
        with running(program, self.server_core, None) as server:
            result = self._in_loop(drain(server, calls, 1.2 if quick else 8.0), title)
        self.say(f"{title}: {result}")
        self.report.add(title, f"calls cut of {result.calls}", result.cut, "", 0.0)
        self.report.add(title, "gaps in what they heard", round(result.gap_ms, 3), "ms", 0.0)
        for path, asked in result.asked.items():
            name = f"{path}: unanswered of {asked}"
            self.report.add(title, name, result.unanswered[path], "", 0.0)
        self.report.add(title, "calls taken after the signal", result.streams_promised)
        self.report.add(title, "last call's end → process gone", round(result.drained_ms), "ms")
        self.report.add(title, "exit status", result.exit_status, "", 0.0)
        if result.exit_status is None:
            self.report.missing.append(f"{title}: the process did not end")

    # All of them

    def _talker(self, handler: str, *, seconds: float | None = None) -> Program:
        asked = self.chosen.seconds if seconds is None else seconds
        serve = ("-m", "mediaserver", "serve", f"benchmarks.servers.talkers:{handler}")
        return Program(
            handler,
            "talks",
            (*serve, "--max-calls", "1000", "--log-level", "warning"),
            path=f"/stream?seconds={asked:g}",
            health="/healthz",
        )

    def _call(
        self,
        title: str,
        program: Program,
        *,
        calls: int,
        seconds: float,
        caller: Caller | None,
        reports: list[CallReport],
        gap_threshold: float = 0.5,
    ) -> tuple[Run, LoadReport]:
        """Start the server, have the phones call it, and record the results of both."""
        with running(program, self.server_core, None) as server:
            before = _usage(server)
            calling = _bounded_load(
                server.url, calls, seconds, self.chosen.ramp, caller, reports, gap_threshold
            )
            result = self._in_loop(calling, title)
            server_cpu, phones_cpu, server_waited, phones_waited, elapsed = (
                after - earlier for after, earlier in zip(_usage(server), before, strict=True)
            )
            metrics = read_metrics(server) if program.health else {}
        run = Run(
            title,
            server_cpu / elapsed,
            phones_cpu / elapsed,
            server_waited / elapsed,
            phones_waited / elapsed,
            result.to_dict(),
            metrics,
        )
        self.report.runs.append(run)
        self._doubt(run, result)
        gaps = f"{result.gap_seconds * 1000:.0f} ms of gaps in {result.gap_count}"
        self.say(f"{title}: {result.made} calls, {gaps}")
        return run, result

    def _in_loop(self, work: Coroutine[Any, Any, T], title: str) -> T:
        self.say(f"{title} …")
        return undisturbed(work)

    def _doubt(self, run: Run, result: LoadReport) -> None:
        doubts = self.report.doubts
        if self.server_core != self.phones_core:
            worst = max(run.server_waited, run.phones_waited)
            if worst > DISTURBANCE_LIMIT:
                doubts.append(
                    f"{run.experiment}: other processes held the server's core for "
                    f"{run.server_waited:.0%} of the time, the phones' for {run.phones_waited:.0%}"
                )
        late = result.sender_lateness
        if late is not None and late.p50 * 1000 > LATE_LIMIT_MS:
            doubts.append(
                f"{run.experiment}: in half of the calls the phone itself was late by "
                f"{late.p50 * 1000:.0f} ms or more at some time, at worst {late.max * 1000:.0f} ms"
            )
        for text, count in (result.errors | result.warnings | result.failed | result.cut).items():
            doubts.append(f"{run.experiment}: {count} times: {text}")

    def _spread(self, title: str, name: str, spread: Spread | None) -> None:
        for rank in ("p50", "p99"):
            value = round(asdict(spread)[rank] * 1000, 2) if spread is not None else None
            count = f" of {spread.count}" if spread is not None and rank == "p50" else ""
            self.report.add(title, f"{name}, {rank}{count}", value, "ms")


async def _bounded_load(
    url: str,
    calls: int,
    seconds: float,
    ramp: float,
    caller: Caller | None,
    reports: list[CallReport],
    gap_threshold: float,
) -> LoadReport:
    async with asyncio.timeout(calls / ramp + seconds + 30):
        return await load(
            url,
            calls=calls,
            seconds=seconds,
            ramp=ramp,
            gap_threshold=gap_threshold,
            caller=caller,
            on_report=reports.append,
        )


def _usage(server: Server) -> tuple[float, float, float, float, float]:
    """Return the CPU time of server and phones, how long each waited for its core, and the time."""
    ours = os.getpid()
    return (
        cpu_seconds(server.pid),
        cpu_seconds(ours),
        waited_seconds(server.pid),
        waited_seconds(ours),
        time.monotonic(),
    )


def _lost(result: LoadReport) -> int:
    return sum(result.failed.values()) + sum(result.cut.values())


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = arguments_of(
        "playback",
        "What callers hear: gaps, interruptions, heard(), and a server being stopped.",
        EXPERIMENTS,
    )
    parser.add_argument("--calls", type=_whole(1, 1000), default=200, help="at once")
    parser.add_argument("--seconds", type=a_while, default=60.0, help="of each monologue")
    chosen = parser.parse_args(arguments)
    # how long after the end of a monologue its callers listen on
    chosen.tail = 1.5
    # calls dialled per second
    chosen.ramp = 25.0
    if chosen.quick:
        chosen.calls, chosen.seconds = min(chosen.calls, 8), 1.0
        chosen.tail, chosen.ramp = 0.2, 100.0
    return chosen


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a whole number from {least} to {most}"
            )
        return int(text)

    return parse


def main() -> int:
    chosen = parse_arguments()
    return report_on(Benchmark(chosen, Console(stderr=True)), chosen, width=120)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
