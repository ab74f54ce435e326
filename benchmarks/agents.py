"""Voice agents under load, with mock services: added latency, capacity, barge-in, heard words.

    python -m benchmarks.agents [--calls 60,120,180,240,300] [--only added,capacity]
                                [--speech FOLDER] [--pipecat PYTHON] [--json FILE]

README.md in this folder says what is measured and how to read it.
"""

import argparse
import os
import sys
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.servers import Program


if not hasattr(os, "sched_setaffinity"):
    raise SystemExit("this benchmark pins processes to cores, which only works on Linux")

from benchmarks.agent_report import CALLS_GOAL, Report, Spread, Step
from benchmarks.capacity import delays, step
from benchmarks.conversations import DISTURBANCE_LIMIT, Conversations, ours
from benchmarks.conversing import (
    Asking,
    Callers,
    CuttingIn,
    counted,
    silences,
    word_counts,
)
from benchmarks.errors import BenchmarkError
from benchmarks.experiments import a_while, arguments_of, report_on
from benchmarks.processes import serving
from benchmarks.rig import Window
from benchmarks.root import ROOT
from benchmarks.voices import cut_ins, disturbances, questions, short_question


EXPERIMENTS = ("added", "capacity", "barge-in", "heard", "tokens")
PIPECAT = ROOT / "interop" / ".venv" / "bin" / "python"

TALK = 0.4
"""Share of the time in which callers speak."""

ATTEMPTS = 3


class Benchmark(Conversations):
    """The experiments that were asked for."""

    report: Report

    def __init__(self, chosen: argparse.Namespace, progress: Console) -> None:
        super().__init__(chosen, progress)
        self._questions = [short_question()] if chosen.quick else questions(4)
        self.report = Report(self.settings, "Voice agents")

    def run(self) -> None:
        """Run one experiment after the other."""
        self.perform(
            {
                "added": self._added,
                "capacity": self._capacity,
                "barge-in": self._barge_in,
                "heard": self._heard,
                "tokens": self._tokens,
            },
            self.report,
        )

    # What the agent adds

    def _added(self) -> None:
        title = "added"
        calls = self.chosen.added_calls
        _, callers = self.call(title, ours("voice_agents:Answering"), self._asking(), calls)
        self._enter_added(title, f"VoiceAgent, {calls} calls", callers)
        with serving("benchmarks.servers.realtime_model", self.phones_core) as url:
            os.environ["BENCHMARK_REALTIME_URL"] = url
            try:
                program = ours("realtime_agents:Conversing")
                _, callers = self.call(f"{title}, Realtime", program, self._asking(), calls)
            finally:
                del os.environ["BENCHMARK_REALTIME_URL"]
        self._enter_added(title, f"RealtimeAgent, {calls} calls", callers)

    def _enter_added(self, title: str, name: str, callers: Callers) -> None:
        """Record the time from a service's first audio to the phone's playback buffer."""
        spread = Spread.of([each for line in callers.lines for _, each in line.arrivals])
        if spread is None:
            self.report.missing.append(f"{title}: {name}: nothing was answered")
            return
        self.report.add(title, f"{name}, {spread.count} answers, p50", spread.p50, "ms")
        self.report.add(title, f"{name}, p99", spread.p99, "ms", 10.0)

    # How many calls

    def _capacity(self) -> None:
        title = "capacity"
        steps = self._steps("mediaserver", ours("voice_agents:Answering"), self.chosen.calls)
        held = max((each.calls for each in steps if not each.failings), default=0)
        self.report.add(title, f"mediaserver: most calls held, goal ≥ {CALLS_GOAL}", held)
        python = self.chosen.pipecat
        if not python.exists():
            found = self.report.doubts if python == PIPECAT else self.report.missing
            found.append(f"capacity: pipecat was left out: there is no {python}; see --pipecat")
            return
        program = Program(
            "pipecat",
            "the same mock services in a pipeline",
            ("-m", "benchmarks.servers.pipecat_agent"),
            health="/healthz",
            interpreter=str(python),
        )
        theirs = self._steps("pipecat", program, self.chosen.pipecat_calls, ours=False)
        held = max((each.calls for each in theirs if not each.failings), default=0)
        self.report.add(title, "pipecat: most calls held", held)

    def _steps(
        self, name: str, program: Program, counts: list[int], *, ours: bool = True
    ) -> list[Step]:
        """Increase the number of calls until two steps in a row are not held."""
        # Two phones each go once through all the clips.
        once = sum(clip.seconds for clip in self._questions) / self.chosen.talk
        steps = []
        unloaded: dict[str, float] = {}
        for calls in counts if self.chosen.quick else (2, *counts):
            seconds = self.chosen.seconds if unloaded else max(once, self.chosen.seconds)
            found, own = self._undisturbed_step(name, program, calls, unloaded, seconds, ours=ours)
            unloaded = unloaded or own
            steps.append(found)
            if len(steps) > 2 and steps[-1].failings and steps[-2].failings:
                break
        self.report.steps += steps
        return steps if self.chosen.quick else steps[1:]

    def _undisturbed_step(
        self,
        name: str,
        program: Program,
        calls: int,
        unloaded: dict[str, float],
        seconds: float,
        *,
        ours: bool,
    ) -> tuple[Step, dict[str, float]]:
        """Run a number of calls, again if other processes held a core; return the best run.

        If the unloaded times are not known yet, the times of its first audio, by clip, become them.
        """
        runs = []
        doubts, before = self.report.doubts, len(self.report.doubts)
        for attempt in range(ATTEMPTS):
            title = f"capacity, {name}, {calls} calls" + (f", again ({attempt})" if attempt else "")
            window, callers = self.call(title, program, self._asking(), calls, seconds, ours=ours)
            medians = delays(callers, window).medians()
            found = step(name, callers, window, unloaded or medians, ours=ours)
            runs.append((found, medians, doubts[before:]))
            del doubts[before:]
            if self.chosen.quick or window.disturbance <= DISTURBANCE_LIMIT:
                break
        found, medians, own_doubts = min(runs, key=lambda run: run[0].disturbance)
        doubts += own_doubts
        return found, medians

    # Interruptions

    def _barge_in(self) -> None:
        title = "barge-in"
        calls = self.chosen.cutting_calls
        clips = cut_ins(12, self.chosen.speech)
        callers = CuttingIn(self._questions, clips, after=self.chosen.cutting_after)
        seconds = self.chosen.cutting_seconds
        window, _ = self.call(
            title,
            ours("voice_agents:Talkative"),
            callers,
            calls,
            seconds=seconds,
            tail=self.chosen.cutting_tail,
        )
        found = [each for line in callers.lines for each in silences(line)]
        spread = Spread.of([each for each in found if each is not None])
        what = "recorded" if self.chosen.speech else "synthesised"
        if spread is None:
            raise BenchmarkError("nobody cut in while the agent was heard")
        add = partial(self.report.add, title)
        add(f"first sound → silence, p50 of {spread.count}, {what}", spread.p50, "ms")
        add("first sound → silence, p95", spread.p95, "ms", 200.0)
        add("first sound → silence, longest", spread.max, "ms")
        add("agents that talked on", sum(each is None for each in found))
        times, pauses = counted(callers, window.begin, window.end)
        add(f"cut in {times} times while watched: paused", pauses)
        self._enter_outcomes(title, "", window)

        sounds = disturbances(8)
        disturbing = CuttingIn(self._questions, sounds, after=self.chosen.cutting_after, rest=1.5)
        window, _ = self.call(
            f"{title}, noise",
            ours("voice_agents:Undisturbed"),
            disturbing,
            calls,
            seconds=seconds,
            tail=self.chosen.cutting_tail,
        )
        bursts, pauses = counted(disturbing, window.begin, window.end)
        add(f"coughs and typing, {bursts} bursts: paused", pauses)
        self._enter_outcomes(title, "coughs and typing: ", window, limit=0.0)

    def _enter_outcomes(
        self, title: str, prefix: str, window: Window, limit: float | None = None
    ) -> None:
        for outcome in ("confirmed", "false"):
            count = window.metrics.get(f'barge_ins_total{{outcome="{outcome}"}}', 0.0)
            self.report.add(
                title,
                f"{prefix}taken for {'speech' if outcome == 'confirmed' else 'noise, resumed'}",
                count,
                limit=limit if outcome == "confirmed" else None,
            )

    # What was heard

    def _heard(self) -> None:
        for name, handler in (
            ("word marks", "Storyteller"),
            ("estimated", "UnmarkedStoryteller"),
        ):
            title = f"heard, {name}"
            callers = CuttingIn(self._questions, cut_ins(12), after=self.chosen.heard_after)
            self.call(
                title,
                ours(f"voice_agents:{handler}"),
                callers,
                self.chosen.cutting_calls,
                seconds=self.chosen.heard_seconds,
                tail=self.chosen.cutting_tail,
            )
            counts = [each for line in callers.lines for each in word_counts(line)]
            if not counts:
                raise BenchmarkError(f"{name}: no turn was interrupted")
            add = partial(self.report.add, title)
            total = len(counts)
            beyond = sum(abs(each.error) > 1 for each in counts)
            exact = sum(each.error == 0 for each in counts)
            add(
                f"more than a word off, of {total} interruptions",
                round(100 * beyond / total, 1),
                "%",
                5.0,
            )
            add("to the word", round(100 * exact / total, 1), "%")
            add("words too many, mean", round(sum(each.error for each in counts) / total, 3))
            add("worst", max((each.error for each in counts), key=abs))
            add("report of the turn says otherwise", sum(not each.same for each in counts), "", 0.0)

    # What it costs

    def _tokens(self) -> None:
        title = "tokens"
        calls = 4 if self.chosen.quick else 40
        seconds = self.chosen.token_seconds
        # Imported here because it loads the voice detector.
        from benchmarks.servers.voice_agents import MORE_TOKENS

        asked = [short_question()]
        windows = {}
        for handler in ("FewTokens", "ManyTokens", "ManyChunks"):
            program = ours(f"voice_agents:{handler}")
            asking = Asking(asked, asked[0].seconds / 6.0, within=self.chosen.within)
            windows[handler], _ = self.call(
                f"{title}, {handler}", program, asking, calls, seconds, tail=0.0
            )
        few = windows["FewTokens"]
        turns = windows["ManyTokens"].metrics.get("turns_total", 0.0)
        speech = windows["ManyChunks"].metrics["audio_sent_seconds_total"]
        speech -= few.metrics["audio_sent_seconds_total"]
        if not turns or speech <= 0:
            raise BenchmarkError("too little was answered")
        # All else that the calls cost is the same in all three.
        for handler, name, more in (
            ("ManyTokens", "CPU of a token of one letter", turns * MORE_TOKENS),
            ("ManyChunks", "CPU of a piece of 20 ms of speech", speech / 0.02),
        ):
            each = (windows[handler].cpu_seconds - few.cpu_seconds) / more
            self.report.add(title, name, round(each * 1e6, 1), "µs")
        per_second = few.cpu_seconds / (calls * few.seconds) * 1000
        self.report.add(title, "CPU of a second of a call, in all", round(per_second, 2), "ms")

    # All of them

    def _asking(self) -> Asking:
        return Asking(self._questions, self.chosen.talk, within=self.chosen.within)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = arguments_of(
        "agents",
        "Voice agents under load: added latency, capacity, barge-in, heard words.",
        EXPERIMENTS,
    )
    parser.add_argument(
        "--calls",
        type=_counts,
        default=[60, 120, 180, 240, 300],
        help="numbers of calls for the capacity experiment",
    )
    parser.add_argument(
        "--pipecat-calls", type=_counts, default=[5, 10, 20, 40], help="the same, for pipecat"
    )
    parser.add_argument("--seconds", type=a_while, default=20.0, help="how long to watch each step")
    parser.add_argument(
        "--pipecat", type=Path, default=PIPECAT, metavar="PYTHON", help="a Python that has pipecat"
    )
    parser.add_argument(
        "--speech",
        type=Path,
        metavar="FOLDER",
        help="folder with recordings of people who interrupt",
    )
    chosen = parser.parse_args(arguments)
    # calls dialled per second
    chosen.ramp, chosen.pipecat_ramp = 25.0, 5.0
    chosen.warm_up, chosen.tail, chosen.cutting_tail = 3.0, 2.5, 2.5
    chosen.talk, chosen.within = TALK, None
    chosen.added_calls = 100
    chosen.cutting_calls, chosen.cutting_seconds, chosen.cutting_after = 20, 60.0, (0.8, 3.0)
    chosen.heard_seconds, chosen.heard_after = 60.0, (0.3, 8.0)
    chosen.token_seconds = 20.0
    if chosen.quick:
        chosen.calls, chosen.pipecat_calls, chosen.added_calls = [4], [2], 4
        chosen.ramp = chosen.pipecat_ramp = 50.0
        chosen.seconds, chosen.warm_up, chosen.tail, chosen.cutting_tail = 2.0, 0.0, 1.7, 0.3
        chosen.talk, chosen.within = 0.25, 0.5
        chosen.cutting_calls, chosen.cutting_seconds, chosen.heard_seconds = 6, 4.0, 4.2
        chosen.cutting_after = chosen.heard_after = (0.3, 1.0)
        chosen.token_seconds = 3.6
    return chosen


def _counts(text: str) -> list[int]:
    counts = text.split(",")
    if not all(each.isdecimal() and 1 <= int(each) <= 1000 for each in counts):
        raise argparse.ArgumentTypeError(f"{text!r} is not numbers from 1 to 1000 with commas")
    return [int(each) for each in counts]


def main() -> int:
    chosen = parse_arguments()
    return report_on(Benchmark(chosen, Console(stderr=True)), chosen, width=150)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
