"""What it costs to keep the wire of calls, and whether a replay is heard alike.

    python -m benchmarks.captures [--only cost,replay] [--calls 200] [--seconds 60] [--rounds 4]

README.md in this folder says what is measured and how to read it.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from itertools import chain
from pathlib import Path

from rich.console import Console


if not hasattr(os, "sched_setaffinity"):
    raise SystemExit("this benchmark pins processes to cores, which only works on Linux")

from audiocodecs import MULAW_8K
from benchmarks.conversing import Asking
from benchmarks.experiments import Experiments, Findings, a_while, arguments_of, report_on
from benchmarks.linux import cpu_seconds
from benchmarks.processes import running
from benchmarks.records import TALK, echo
from benchmarks.rig import observe
from benchmarks.voices import questions, short_question
from mediaserver.agents import Echo
from mediaserver.captures.capture_file import SUFFIX, read_capture
from mediaserver.replay import replayed
from mediaserver.settings import Settings
from mediaserver.testing import joined, run_virtual


EXPERIMENTS = ("cost", "replay")

GOAL = 10.0
"""Percent of the CPU of calls that are not captured, for keeping the wire of 200 calls."""

_SETTLES = 4.0
"""Seconds in which a server has imported everything."""


class Benchmark(Experiments):
    """The chosen experiments, one after the other."""

    def __init__(self, chosen: argparse.Namespace, progress: Console) -> None:
        super().__init__(chosen, progress)
        self.report = Findings(self.settings, "Captures")

    def run(self) -> None:
        """Run one experiment after the other."""
        self.perform({"cost": self._cost, "replay": self._replay}, self.report)

    def _cost(self) -> None:
        calls, used, sizes = self.chosen.calls, dict[bool, list[float]](), list[int]()
        # Both orders in turn, so that a machine that becomes slower harms neither.
        orders = ((False, True), (True, False))
        rounds = range(1 if self.chosen.quick else self.chosen.rounds)
        for kept in chain.from_iterable(orders[number % 2] for number in rounds):
            self.say(f"cost: {calls} echo calls {'with' if kept else 'without'} captures …")
            with tempfile.TemporaryDirectory() as folder:
                options = ("--capture", folder) if kept else ()
                seconds = self._cpu(options)
                files = list(Path(folder).glob(f"*{SUFFIX}"))
                if kept:
                    sizes.append(sum(each.stat().st_size for each in files))
                    self._check(files)
            used.setdefault(kept, []).append(seconds)
            self.say(f"cost: {seconds:.2f} s of CPU")
        without, having = (statistics.median(used[each]) for each in (False, True))
        more = [100 * (two / one - 1) for one, two in zip(used[False], used[True], strict=True)]
        add = self.report.add
        add("cost", f"CPU of {calls} echo calls without captures", round(without, 2), "s")
        add("cost", "with captures", round(having, 2), "s")
        add("cost", "more, median of the rounds", round(statistics.median(more), 1), "%", GOAL)
        add("cost", "least of a round", round(min(more), 1), "%")
        add("cost", "most of a round", round(max(more), 1), "%")
        minutes = calls * self.chosen.seconds / 60
        add("cost", "a minute of a call", round(statistics.mean(sizes) / minutes / 1e6, 2), "MB")

    def _cpu(self, options: tuple[str, ...]) -> float:
        """Return the CPU that a server has used for the calls, from the first to the last."""
        with running(echo(*options), self.server_core, None) as server:
            time.sleep(_SETTLES)
            before = cpu_seconds(server.pid)
            window = observe(
                server,
                Asking([short_question()] if self.chosen.quick else questions(4), TALK),
                calls=self.chosen.calls,
                ramp=20.0,
                warm_up=2.0,
                seconds=self.chosen.seconds,
                measured=False,
            )
            if window.lost:
                self.report.doubts.append(f"cost: {window.lost} calls were lost: too busy?")
            return cpu_seconds(server.pid) - before

    def _check(self, files: list[Path]) -> None:
        if len(files) != self.chosen.calls:
            self.report.doubts.append(f"cost: {len(files)} of {self.chosen.calls} were captured")
        lost = sum(
            line.side == "!" and b'"messages lost"' in line.message
            for path in files
            for line in read_capture(path).lines
        )
        if lost:
            self.report.doubts.append(f"cost: {lost} captures have gaps")

    def _replay(self) -> None:
        seconds = 5.0 if self.chosen.quick else 60.0
        with tempfile.TemporaryDirectory() as folder:
            run_virtual(captured_echo(Path(folder), seconds))
            (path,) = Path(folder).glob(f"*{SUFFIX}")
            began = time.process_time()
            comparison = replayed(path, Echo)
            took = time.process_time() - began
        add = self.report.add
        add("replay", "seconds of call", seconds, "s")
        add("replay", "seconds that are heard differently", comparison.differing_seconds, "s", 0.0)
        add("replay", "CPU of the replay, comparison included", round(took, 2), "s")


async def captured_echo(folder: Path, seconds: float) -> None:
    """Capture a call whose caller asks the same question again and again."""
    question = MULAW_8K.decode(short_question().payload)
    async with joined(Echo, settings=Settings.model_construct(capture=folder)) as line:
        while line.phone.time < seconds:
            line.phone.say(question)
            await asyncio.sleep(len(question) / MULAW_8K.rate + 1.0)


def main() -> int:
    """Return the exit status."""
    parser = arguments_of("captures", "What captures cost, and what replays hear.", EXPERIMENTS)
    parser.add_argument("--calls", type=int, default=200, help="calls that echo")
    parser.add_argument("--seconds", type=a_while, default=60.0, help="how long they are watched")
    parser.add_argument("--rounds", type=int, default=4, help="with and without, so often")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.calls, chosen.seconds = 4, 3.0
    progress = Console(stderr=True)
    return report_on(Benchmark(chosen, progress), chosen, width=110)


if __name__ == "__main__":
    sys.exit(main())
