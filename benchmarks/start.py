"""How long the command takes to print its help, and to listen.

    python -m benchmarks.start [--only python,command,serve] [--runs 15] [--json FILE]

README.md in this folder says what is measured and how to read it.
"""

import argparse
import contextlib
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from rich.console import Console


if not hasattr(os, "sched_setaffinity"):
    raise SystemExit("this benchmark reads a clock of other processes, as only Linux has it")

from benchmarks.errors import BenchmarkError
from benchmarks.experiments import Findings, arguments_of, report_on
from benchmarks.linux import cpu_seconds
from benchmarks.root import ROOT


HELP_GOAL: Final = 0.2
LISTENING_GOAL: Final = 0.4
"""Seconds from exec, on a machine that imports numpy in 0.115 s."""

LIMIT: Final = 120.0
"""Seconds within which a run must be over."""

HANDLER: Final = """\
from mediaserver import Handler


class Greeting(Handler):
    async def on_start(self) -> None:
        pass
"""

RUNS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "python": {"nothing": ("-c", "pass"), "import numpy": ("-c", "import numpy")},
    "command": {
        "version": ("-m", "mediaserver", "version"),
        "--help": ("-m", "mediaserver", "--help"),
        "serve --help": ("-m", "mediaserver", "serve", "--help"),
        "call --help": ("-m", "mediaserver", "call", "--help"),
    },
    "serve": {
        "listening": ("-m", "mediaserver", "serve", "my_agent.py", "--port", "0"),
    },
}
"""The arguments of Python in each experiment, by the name of the figure."""

GOALS: Final = {"--help": HELP_GOAL, "listening": LISTENING_GOAL}


class Start(NamedTuple):
    """One run: seconds from exec until the process has ended or listens, and of CPU until then."""

    took: float
    cpu: float


class Benchmark:
    """Starts each command a number of times, in turns, so that a busy moment is shared by all."""

    def __init__(self, chosen: argparse.Namespace, progress: Console) -> None:
        self.chosen = chosen
        self._progress = progress
        self.report = Findings(
            {
                "runs": chosen.runs,
                "quick": chosen.quick,
                "python": platform.python_version(),
                "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
                "load_average": os.getloadavg()[0],
            },
            "Seconds from exec (median), and of CPU",
        )

    def run(self) -> None:
        """Run the experiments."""
        if self.chosen.quick:
            self.report.doubts.append(
                "--quick: this only shows that the benchmark runs; its figures mean nothing"
            )
        elif os.getloadavg()[0] > 0.5:
            self.report.doubts.append(
                f"the machine was busy before (load average {os.getloadavg()[0]:.1f}):"
                " compare with numpy, or the CPU"
            )
        runs = {
            (experiment, name): arguments
            for experiment in self.chosen.only
            for name, arguments in RUNS[experiment].items()
        }
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "my_agent.py").write_text(HANDLER)
            starts: dict[tuple[str, str], list[Start]] = {each: [] for each in runs}
            try:
                # The first runs only write the bytecode.
                for number in range(-1, self.chosen.runs):
                    self._progress.print(f"run {number + 1} of {self.chosen.runs}", highlight=False)
                    for key, arguments in runs.items():
                        is_server = key[1] == "listening"
                        start = (until_listening if is_server else until_ended)(arguments, folder)
                        if number >= 0:
                            starts[key].append(start)
            except BenchmarkError as error:
                self.report.missing.append(str(error))
                return
        for (experiment, name), each in starts.items():
            took = statistics.median(start.took for start in each)
            cpu = statistics.median(start.cpu for start in each)
            self.report.add(experiment, name, round(took, 3), "s", GOALS.get(name))
            self.report.add(experiment, f"{name}, CPU", round(cpu, 3), "s")


def environment_in(folder: str) -> dict[str, str]:
    """Return the environment of a run, which keeps bytecode in the folder and has no settings."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("MEDIASERVER_")
    }
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    path = os.pathsep.join(filter(None, (str(ROOT), str(ROOT / "codecs"), kept.get("PYTHONPATH"))))
    return kept | {"PYTHONPATH": path, "PYTHONPYCACHEPREFIX": str(Path(folder, "bytecode"))}


def until_ended(arguments: Sequence[str], folder: str) -> Start:
    """Start Python and wait for its end."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment_in(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    with process, a_limit(process):
        assert process.stderr is not None
        said = process.stderr.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        took = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise BenchmarkError(f"{' '.join(arguments)} failed: {said[-1_000:]}")
    return Start(took, usage.ru_utime + usage.ru_stime)


def until_listening(arguments: Sequence[str], folder: str) -> Start:
    """Start a server, and stop it once it listens."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments, "--log-format", "json"],
        cwd=folder,
        env=environment_in(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    said: list[bytes] = []
    start = None
    with process, a_limit(process):
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if start is None and is_listening(line):
                start = Start(time.perf_counter() - begun, cpu_seconds(process.pid))
                process.send_signal(signal.SIGTERM)
    if start is None or process.returncode:
        raise BenchmarkError(f"the server failed: {b''.join(said).decode()[-1_000:]}")
    return start


def is_listening(line: bytes) -> bool:
    """Tell whether a line of the log says that the server listens."""
    with contextlib.suppress(ValueError):
        return bool(json.loads(line).get("event") == "listening")
    return False


@contextlib.contextmanager
def a_limit(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kill a process that is not over in time, so that nothing waits for it for ever."""
    timer = threading.Timer(LIMIT, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def how_often(text: str) -> int:
    """Read how often each command is started."""
    if not text.isdecimal() or not 1 <= int(text) <= 1_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark, and return the exit status."""
    parser = arguments_of("start", "How long the command takes to start.", tuple(RUNS))
    parser.add_argument("--runs", type=how_often, default=15, help="starts of each command")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.runs = 1
    return report_on(Benchmark(chosen, Console(stderr=True)), chosen, width=80)


if __name__ == "__main__":
    sys.exit(main())
