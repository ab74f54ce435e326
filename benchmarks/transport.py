"""CPU per frame, latency and memory of our server's echo and of other servers', in one run.

    python -m benchmarks.transport [--calls 200] [--seconds 10] [--repeat 3] [--tls] [--json FILE]

README.md in this folder says what is measured and how to read it.
"""

import argparse
import itertools
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from benchmarks.servers import PROGRAMS, Program


# The only import here that the project does not depend on.
if not find_spec("picows"):
    raise SystemExit("the load generator needs picows: pip install --group bench")
if not hasattr(os, "sched_setaffinity"):
    raise SystemExit("this benchmark pins processes to cores, which only works on Linux")

from benchmarks.errors import BenchmarkError
from benchmarks.linux import cores
from benchmarks.load import EchoLoad, EchoResult, IdleLoad
from benchmarks.processes import Certificate, echo, idle, running
from benchmarks.report import DISTURBANCE_LIMIT, EchoRun, IdleRun, Report, Settings


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.transport",
        description="Echo servers side by side: CPU per 20 ms frame, latency, memory per call.",
    )
    parser.add_argument("--calls", type=_whole(1, 1000), default=200, help="talking at once")
    parser.add_argument("--idle-calls", type=_whole(10, 1000), default=500, help="for the memory")
    parser.add_argument("--seconds", type=_seconds, default=10.0, help="measured per run")
    parser.add_argument("--repeat", type=_whole(1, 100), default=3, help="of every run")
    parser.add_argument(
        "--servers",
        type=_programs,
        default=list(PROGRAMS.values()),
        help=f"servers to measure, separated by commas; default all: {','.join(PROGRAMS)}",
    )
    parser.add_argument("--tls", action="store_true", help="measure wss as well as ws")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every run to FILE")
    parser.add_argument("--quick", action="store_true", help="only check that everything runs")
    chosen = parser.parse_args(arguments)
    chosen.warm_up = 2.0
    if chosen.quick:
        chosen.calls, chosen.idle_calls, chosen.repeat = min(chosen.calls, 20), 50, 1
        chosen.seconds, chosen.warm_up = 1.0, 0.3
    return chosen


class Benchmark:
    """The chosen runs, in an order that is fair to every server."""

    def __init__(self, chosen: argparse.Namespace, progress: Console) -> None:
        self._chosen = chosen
        self._progress = progress
        self._server_core, self._load_core = cores()
        self.report = Report(
            Settings(
                calls=chosen.calls,
                idle_calls=chosen.idle_calls,
                seconds=chosen.seconds,
                warm_up=chosen.warm_up,
                repeat=chosen.repeat,
                quick=chosen.quick,
                server_core=self._server_core,
                load_core=self._load_core,
                python=platform.python_version(),
                machine=f"{platform.system()} {platform.release()} {platform.machine()}",
                load_average=os.getloadavg()[0],
            )
        )

    def run(self) -> None:
        """Measure every server in turn, and then all of them again for each repeat.

        Repeats are the outer loop: what slows the machine for a while slows every server.
        """
        self._say(f"server on core {self._server_core}, load on core {self._load_core}")
        if self._server_core == self._load_core:
            self._say("warning: the server and the load share the only core")
        programs = [program for program in self._chosen.servers if program.installed]
        for program in self._chosen.servers:
            if program not in programs:
                self.report.missing.append(f"{program.name}: pip install --group bench")
        with tempfile.TemporaryDirectory() as directory:
            certificates = self._certificates(Path(directory))
            for repeat in range(self._chosen.repeat):
                for certificate, program in itertools.product(certificates, programs):
                    self._measure(program, certificate, repeat)

    def _certificates(self, directory: Path) -> list[Certificate | None]:
        """Return one entry for each scheme: none for ws, one for wss."""
        if not self._chosen.tls:
            return [None]
        try:
            return [None, Certificate.issue(directory)]
        except ImportError:
            self.report.missing.append("wss: needs trustme: pip install --group bench")
            return [None]

    def _measure(self, program: Program, certificate: Certificate | None, repeat: int) -> None:
        """Measure one server with talking calls, then a fresh instance with idle calls."""
        scheme = "ws" if certificate is None else "wss"
        title = f"{repeat + 1}/{self._chosen.repeat} {program.name} {scheme}"
        try:
            attempts = self._echo(program, certificate)
            talk = min(attempts, key=lambda attempt: attempt.disturbance)
            self.report.echo.append(EchoRun(program.name, scheme, repeat, len(attempts), talk))
            self._say(f"{title}: {talk.us_per_frame:.1f} µs, p99 {talk.latency_p99_ms:.2f} ms")
            if certificate is None:
                with running(program, self._server_core, None) as server:
                    still = idle(IdleLoad(server, self._chosen.idle_calls), self._load_core)
                self.report.idle.append(IdleRun(program.name, repeat, still))
                self._say(f"{title}: {still.kib_per_call:.1f} KiB per idle call")
        except BenchmarkError as error:
            self.report.missing.append(str(error))
            self._say(f"{title}: failed")

    def _echo(self, program: Program, certificate: Certificate | None) -> list[EchoResult]:
        """Run talking calls; repeat if other processes disturbed them, three runs at most."""
        chosen, attempts = self._chosen, []
        own_core = self._server_core != self._load_core
        for _ in range(1 if chosen.quick or not own_core else 3):
            with running(program, self._server_core, certificate) as server:
                load = EchoLoad(server, chosen.calls, chosen.warm_up, chosen.seconds, own_core)
                attempts.append(echo(load, self._load_core))
            if attempts[-1].disturbance <= DISTURBANCE_LIMIT:
                break
        return attempts

    def _say(self, line: str) -> None:
        self._progress.print(line, highlight=False, markup=False)


def main() -> int:
    # so that every `finally` runs and no child outlives this process
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    chosen = parse_arguments()
    benchmark = Benchmark(chosen, Console(stderr=True))
    benchmark.run()
    benchmark.report.print(Console(width=max(120, shutil.get_terminal_size().columns)))
    if chosen.json:
        chosen.json.write_bytes(benchmark.report.to_json())
    return 1 if benchmark.report.missing else 0


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a whole number from {least} to {most}"
            )
        return int(text)

    return parse


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.5 <= seconds <= 600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.5 to 600")
    return seconds


def _programs(text: str) -> list[Program]:
    unknown = [name for name in text.split(",") if name not in PROGRAMS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"no server is called {unknown[0]!r}; choose from {', '.join(PROGRAMS)}"
        )
    return [PROGRAMS[name] for name in dict.fromkeys(text.split(","))]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
