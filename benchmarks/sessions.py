"""Voice agents whose services have sessions: what the agent adds to the services' own time.

    python -m benchmarks.sessions [--calls 100] [--seconds 20] [--only final,voice,…] [--json FILE]

README.md in this folder says what is measured and how to read it.
"""

import argparse
import os
import sys
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console


if not hasattr(os, "sched_setaffinity"):
    raise SystemExit("this benchmark pins processes to cores, which only works on Linux")

from benchmarks.agent_report import Spread
from benchmarks.conversations import Conversations, ours
from benchmarks.conversing import Asking, Callers, CuttingIn, Line
from benchmarks.cut_words import Following
from benchmarks.errors import BenchmarkError
from benchmarks.experiments import Findings, a_while, arguments_of, report_on
from benchmarks.processes import serving
from benchmarks.rig import Window
from benchmarks.servers import contexts, nova
from benchmarks.servers.mock_timings import END_OF_TURN, PUBLISHED
from benchmarks.servers.word_marks import WORD_SECONDS, marked_word
from benchmarks.voices import Clip


EXPERIMENTS = ("final", "interim", "voice", "cut")


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
        self.perform(
            {
                "final": self._final,
                "interim": self._interim,
                "voice": self._voice,
                "cut": self._cut,
            },
            self.report,
        )

    # From the last word to the final transcript

    def _final(self) -> None:
        title, calls = "final", self.chosen.calls
        asking = Asking([words(4)], 0.96 / self.chosen.turn, within=self.chosen.within)
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
        self._compare(title, "a recogniser's session", window)

    # From interim words to the interruption

    def _interim(self) -> None:
        title, calls = "interim", self.chosen.cutting_calls
        clip = words(6)
        callers = CuttingIn([clip], [clip], after=self.chosen.cutting_after, rest=1.0)
        with _recognizer(self.phones_core):
            self.call(title, ours("session_agents:Interruptible"), callers, calls)
        name = f"interim words told → agent interrupted, {calls} calls"
        self._enter(title, name, [number for _, number in told(callers, "interrupted")], 250.0)

    # From the model's last word to the first audio

    def _voice(self) -> None:
        title, calls = "voice", self.chosen.calls
        asking = Asking([words(4)], 0.96 / self.chosen.turn, within=self.chosen.within)
        with _recognizer(self.phones_core), _speaker(self.phones_core):
            window, _ = self.call(
                f"{title}, sessions", ours("session_agents:Speaking"), asking, calls
            )
        own = PUBLISHED.first_chunk
        self._enter(
            title,
            f"text complete → first audio at the phone, less {own:g} s, {calls} calls",
            [delay for line in asking.lines for _, delay in line.arrivals],
            10.0,
        )
        self._compare(title, "sessions of a recogniser and a voice", window)

    def _compare(self, title: str, what: str, window: Window) -> None:
        """Have the same conversation with mocks, and compare the CPU time."""
        calls = self.chosen.calls
        mocks, _ = self.call(
            f"{title}, mocks",
            ours("session_agents:Unhearing"),
            Asking([words(4)], 0.96 / self.chosen.turn, within=self.chosen.within),
            calls,
        )
        add, spent = self.report.add, (_per_second(window, calls), _per_second(mocks, calls))
        add(title, f"CPU of a second of a call, with {what}", spent[0], "ms")
        add(title, "the same with mocks in the server's process", spent[1], "ms")
        add(title, "the one over the other", round(spent[0] / spent[1], 2), "times", 1.1)

    # Connections that are cut in the middle of a turn

    def _cut(self) -> None:
        title, calls, add = "cut", self.chosen.cut_calls, self.report.add
        talk = nova.WORDS * WORD_SECONDS / self.chosen.cut_turn
        asking = Asking([words(nova.WORDS)], talk, within=self.chosen.within)
        with _recognizer(self.phones_core):
            window, _ = self.call(
                f"{title}, recogniser", ours("session_agents:CutEar"), asking, calls
            )
        lost = [number for _, number in told(asking, "lost")]
        add(
            title,
            f"recogniser cut {_cuts(window)} times, {len(lost)} turns: words lost",
            sum(lost),
            "",
            0,
        )
        twice = sum(number for _, number in told(asking, "twice"))
        add(title, "words understood twice", twice, "", 0)
        talk = 2 * WORD_SECONDS / self.chosen.cut_turn
        following = Following([words(2)], talk, within=self.chosen.within)
        with _speaker(self.phones_core):
            window, _ = self.call(
                f"{title}, voice", ours("session_agents:CutVoice"), following, calls
            )
        answers = list(following.answers(contexts.WORDS))
        missing = sum(answer.lost for answer in answers)
        add(
            title,
            f"voice cut {_cuts(window)} times, {len(answers)} answers: words lost",
            missing,
            "",
            0,
        )
        add(title, "words heard twice", sum(answer.twice for answer in answers), "", 0)
        gaps = [answer.gap for answer in answers]
        self._enter(title, "longest silence within an answer", gaps, 500.0)

    def _enter(self, title: str, name: str, seconds: list[float], limit: float) -> None:
        spread = Spread.of(seconds)
        if spread is None:
            raise BenchmarkError("nothing was understood")
        self.report.add(title, f"{name}: p50 of {spread.count}", spread.p50, "ms")
        self.report.add(title, "p99", spread.p99, "ms", limit)
        self.report.add(title, "longest", spread.max, "ms")


def _recognizer(core: int) -> AbstractContextManager[None]:
    # The names are those of `benchmarks.servers.session_agents`, which loads the agents' packages.
    return _service("benchmarks.servers.nova", "BENCHMARK_RECOGNIZER_URL", core)


def _speaker(core: int) -> AbstractContextManager[None]:
    return _service("benchmarks.servers.contexts", "BENCHMARK_VOICE_URL", core)


@contextmanager
def _service(module: str, variable: str, core: int) -> Iterator[None]:
    """Run a service in a separate process, whose address agents find in the environment."""
    with serving(module, core) as url:
        os.environ[variable] = url
        try:
            yield
        finally:
            del os.environ[variable]


def words(count: int) -> Clip:
    """Return numbered words, which begin and end at once."""
    return Clip("words", b"".join(marked_word(number) for number in range(1, count + 1)), 0.0)


def _cuts(window: Window) -> int:
    """Return how many connections were lost while all calls were up.

    Raises:
        BenchmarkError: there was none, so that nothing was measured.

    """
    failures = "service_failures_total"
    count = sum(
        value for name, value in window.metrics.items() if name.partition("{")[0] == failures
    )
    if not count:
        raise BenchmarkError("no connection was cut")
    return round(count)


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
    # calls dialled per second; with one every so many frames, the frames of all would come at once
    chosen.ramp, chosen.warm_up, chosen.tail = 23.0, 3.0, 2.5
    chosen.turn, chosen.within = 4.0, None
    chosen.cutting_calls, chosen.cutting_after = 20, (0.8, 3.0)
    chosen.cut_calls, chosen.cut_turn = 20, 8.0
    if chosen.quick:
        chosen.calls = chosen.cutting_calls = chosen.cut_calls = 4
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
