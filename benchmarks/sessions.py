"""Voice agents whose services have sessions: what the agent adds to the services' own time.

    python -m benchmarks.sessions [--calls 100] [--seconds 20] [--only final,interim] [--json FILE]

README.md in this folder says what is measured and how to read it.
"""

import argparse
import os
import sys
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from rich.console import Console


if not hasattr(os, "sched_setaffinity"):
    raise SystemExit("this benchmark pins processes to cores, which only works on Linux")

from audiocodecs import mulaw_encode
from benchmarks.agent_report import Spread
from benchmarks.conversations import Conversations, ours
from benchmarks.conversing import Asking, Callers, CuttingIn, Line
from benchmarks.experiments import Findings, a_while, arguments_of, report_on
from benchmarks.processes import BenchmarkError, serving
from benchmarks.rig import Window
from benchmarks.servers.mock_timings import END_OF_TURN, PUBLISHED
from benchmarks.voices import Clip


EXPERIMENTS = ("final", "interim")


def told(callers: Callers, name: str) -> Iterator[tuple[Line, float]]:
    """Yield the numbers with a name that the agents of some callers told."""
    for line in callers.lines:
        for own, number in line.told:
            if own == name:
                yield line, number


def since_speech(line: Line, time: float) -> Iterator[float]:
    """Yield how long before a time on the monotonic clock the caller's latest speech ended."""
    ends = [line.origin + end for _, end in line.phone.report().caller_speech]
    before = bisect_right(ends, time)
    if before:
        yield time - ends[before - 1]


class Benchmark(Conversations):
    """The experiments that were asked for."""

    def __init__(self, chosen: argparse.Namespace, progress: Console) -> None:
        super().__init__(chosen, progress)
        self.report = Findings(self.settings, "Agents whose services have sessions")

    def run(self) -> None:
        """Run one experiment after the other."""
        self.perform({"final": self._final, "interim": self._interim}, self.report)

    # From the last word to the final transcript

    def _final(self) -> None:
        title, calls = "final", self.chosen.calls
        asking = Asking([tone(1.0)], 1.0 / self.chosen.turn, within=self.chosen.within)
        with _recognizer(self.phones_core):
            window, _ = self.call(
                f"{title}, sessions", ours("session_agents:Understanding"), asking, calls
            )
        own = END_OF_TURN + PUBLISHED.transcript
        self._enter(
            title,
            f"last word → transcript used, less {own:g} s, {calls} calls",
            [
                seconds - own
                for line, at in told(asking, "used")
                for seconds in since_speech(line, at)
            ],
            20.0,
        )
        mocks, _ = self.call(
            f"{title}, mocks",
            ours("session_agents:Unhearing"),
            Asking([tone(1.0)], 1.0 / self.chosen.turn, within=self.chosen.within),
            calls,
        )
        add, spent = self.report.add, (_per_second(window, calls), _per_second(mocks, calls))
        add(title, "CPU of a second of a call, with a recogniser's session", spent[0], "ms")
        add(title, "the same with a mock that does nothing with the audio", spent[1], "ms")
        add(title, "the one over the other", round(spent[0] / spent[1], 2), "times", 1.1)

    # From interim words to the interruption

    def _interim(self) -> None:
        title, calls = "interim", self.chosen.cutting_calls
        clip = tone(1.5)
        callers = CuttingIn([clip], [clip], after=self.chosen.cutting_after, rest=1.0)
        with _recognizer(self.phones_core):
            self.call(title, ours("session_agents:Interruptible"), callers, calls)
        name = f"interim words told → agent interrupted, {calls} calls"
        self._enter(title, name, [number for _, number in told(callers, "interrupted")], 250.0)

    def _enter(self, title: str, name: str, seconds: list[float], limit: float) -> None:
        spread = Spread.of(seconds)
        if spread is None:
            raise BenchmarkError("nothing was understood")
        self.report.add(title, f"{name}: p50 of {spread.count}", spread.p50, "ms")
        self.report.add(title, "p99", spread.p99, "ms", limit)
        self.report.add(title, "longest", spread.max, "ms")


@contextmanager
def _recognizer(core: int) -> Iterator[None]:
    """Run the recogniser in a separate process, whose address agents find in the environment."""
    # The name of `benchmarks.servers.session_agents`, which loads the agents' packages.
    name = "BENCHMARK_RECOGNIZER_URL"
    with serving("benchmarks.servers.recognizer", core) as url:
        os.environ[name] = url
        try:
            yield
        finally:
            del os.environ[name]


def tone(seconds: float) -> Clip:
    """Return a tone, which begins and ends at once."""
    times = np.arange(round(seconds * 8000)) / 8000
    samples = (8000 * np.sin(2 * np.pi * 220 * times)).astype(np.int16)
    return Clip("tone", mulaw_encode(samples), 0.0)


def _per_second(window: Window, calls: int) -> float:
    return round(window.cpu_seconds / (calls * window.seconds) * 1000, 2)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = arguments_of(
        "sessions",
        "Voice agents whose services have sessions: what the agent adds to their time.",
        EXPERIMENTS,
    )
    parser.add_argument("--calls", type=int, default=100, help="number of calls at once")
    parser.add_argument("--seconds", type=a_while, default=20.0, help="how long to watch each run")
    chosen = parser.parse_args(arguments)
    if not 1 <= chosen.calls <= 1000:
        parser.error(f"--calls must be 1 to 1000, not {chosen.calls}")
    # calls dialled per second
    chosen.ramp, chosen.warm_up, chosen.tail = 25.0, 3.0, 2.5
    chosen.turn, chosen.within = 4.0, None
    chosen.cutting_calls, chosen.cutting_after = 20, (0.8, 3.0)
    if chosen.quick:
        chosen.calls = chosen.cutting_calls = 4
        chosen.ramp, chosen.seconds, chosen.warm_up, chosen.tail = 50.0, 5.0, 0.0, 1.0
        chosen.within, chosen.cutting_after = 0.5, (0.3, 1.0)
    return chosen


def main() -> int:
    chosen = parse_arguments()
    return report_on(Benchmark(chosen, Console(stderr=True)), chosen, width=130)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
