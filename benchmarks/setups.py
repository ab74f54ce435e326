"""How many calls a second begin on one core, what live calls notice of it, and of too many.

    python -m benchmarks.setups [--only rate,live,overload,two-processes,redis] [--rate 600]
                                [--seconds 60] [--json FILE]

README.md in this folder says what is measured and how to read it.
"""

import argparse
import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec
from rich.console import Console


if not hasattr(os, "sched_setaffinity"):
    raise SystemExit("this benchmark pins processes to cores, which only works on Linux")

from benchmarks.errors import BenchmarkError
from benchmarks.experiments import Experiments, Findings, a_while, arguments_of, report_on
from benchmarks.linux import pin_child
from benchmarks.processes import running, stop
from benchmarks.redis_server import REDIS, private_redis
from benchmarks.root import ROOT
from benchmarks.servers import FASTAPI, Program
from benchmarks.setup_load import PUBLIC_URL, TOKEN, SetupLoad, SetupResult, Target


DISTURBANCE_LIMIT = 0.10
LOAD_BUSY_LIMIT = 0.8
PEER_SECONDS = 10.0
"""Length of a run with the peer; it sheds no load, so a longer one would only fail more calls."""
SERVED_BY_ALL = 200.0
"""Calls per second that every server can begin on most cores: there CPU per call is compared. At a
lower rate most of it is what an idle server does, and what a cold cache costs."""
EXPERIMENTS = ("rate", "live", "overload", "two-processes", "redis")


class Benchmark(Experiments):
    """The chosen experiments, one after the other."""

    def __init__(self, chosen: argparse.Namespace, progress: Console) -> None:
        super().__init__(chosen, progress)
        self.report = Findings(self.settings, "Calls that begin, on one core")

    def run(self) -> None:
        """Run one experiment after the other."""
        self.perform(
            {
                "rate": self._rate,
                "live": self._live,
                "overload": self._overload,
                "two-processes": self._two_processes,
                "redis": self._redis,
            },
            self.report,
        )

    def _rate(self) -> None:
        chosen, add = self.chosen, functools.partial(self.report.add, "rate")
        result = self._measure("rate", rate=chosen.rate, seconds=chosen.seconds)
        add("calls offered per second", chosen.rate)
        add("calls offered, not served", result.offered - result.served, limit=0)
        add("calls served per second", round(result.served / result.seconds, 1))
        self._add_times("rate", "call → its first audio", result, 150.0)
        add("CPU per call", round(result.us_per_setup, 0), "µs")
        add("core used", round(100 * result.server_cpu / result.seconds, 1), "%")
        self._compare()

    def _compare(self) -> None:
        """Measure what a call costs that begins at a server such as many write today."""
        add = functools.partial(self.report.add, "beside FastAPI")
        seconds = min(PEER_SECONDS, self.chosen.seconds)
        add("calls offered per second", SERVED_BY_ALL)
        ours = self._measure("mediaserver", rate=SERVED_BY_ALL, seconds=seconds)
        add("CPU per call", round(ours.us_per_setup, 0), "µs")
        if not FASTAPI.installed:
            self.report.missing.append(f"{FASTAPI.name}: pip install --group bench")
            return
        peer = self._measure(FASTAPI.name, rate=SERVED_BY_ALL, seconds=seconds, program=FASTAPI)
        add("CPU per call, FastAPI", round(peer.us_per_setup, 0), "µs")
        add("as a part of FastAPI's", round(ours.us_per_setup / peer.us_per_setup, 2))
        peer = self._measure(
            f"{FASTAPI.name} at once", rate=self.chosen.rate, seconds=seconds, program=FASTAPI
        )
        add(
            f"served per second of {self.chosen.rate:g}, FastAPI",
            round(peer.served / peer.seconds, 1),
        )

    def _live(self) -> None:
        chosen, add = self.chosen, functools.partial(self.report.add, "live")
        result = self._measure(
            "live", rate=chosen.live_rate, seconds=chosen.seconds, live=chosen.calls
        )
        add("calls offered per second", chosen.live_rate)
        add("calls that talk meanwhile", result.live_most)
        add("calls offered, not served", result.offered - result.served, limit=0)
        add("talking calls cut", sum(result.live_failed.values()), limit=0)
        add("frames without an echo", result.unheard, limit=0)
        add("echo, p50", result.echo.p50, "ms")
        add("echo, p99", result.echo.p99, "ms", 4.0)
        add("echo, worst", result.echo.worst, "ms", 50.0)
        self._add_times("live", "call → its first audio", result, None)
        add("core used", round(100 * result.server_cpu / result.seconds, 1), "%")

    def _overload(self) -> None:
        chosen = self.chosen
        # Calls that last so long that half as many again as there are places want to be live.
        talks = 1.5 * chosen.places / chosen.overload_rate
        for rate, seconds in (
            (chosen.overload_rate, chosen.overload_seconds),
            (chosen.flood_rate, min(20.0, chosen.overload_seconds)),
        ):
            name = f"{rate:g} calls/s"
            add = functools.partial(self.report.add, name)
            result = self._measure(
                name,
                rate=rate,
                seconds=seconds,
                talks=talks,
                probed=True,
                places=chosen.places,
            )
            add("places", chosen.places)
            add("most calls at the same time", result.live_most)
            add("calls served", result.served)
            add("calls told busy", result.busy)
            add("calls refused, cut or lost", sum(result.failed.values()), limit=0)
            add("frames without an echo", result.unheard, limit=0)
            add("echo, p99", result.echo.p99, "ms")
            add("echo, worst", result.echo.worst, "ms")
            add("told busy, p50", result.told_busy.p50, "ms")
            add("told busy, p99", result.told_busy.p99, "ms", 50.0)
            add("told busy, worst", result.told_busy.worst, "ms")
            add("/metrics and /healthz, worst", result.probe.worst, "ms")
            add("/metrics and /healthz, failed", result.probes_failed, limit=0)
            add("core used", round(100 * result.server_cpu / result.seconds, 1), "%")

    def _two_processes(self) -> None:
        add = functools.partial(self.report.add, "two-processes")
        seconds = 1.0 if self.chosen.quick else 30.0
        result = self._measure(
            "two-processes", rate=15.0, seconds=seconds, talks=0.25, places=50, processes=2
        )
        add("calls offered", result.offered)
        add("calls not served", result.offered - result.served, limit=result.offered // 45)
        add("calls refused, cut or lost", sum(result.failed.values()), limit=0)
        add("most calls at the same time", result.live_most)

    def _redis(self) -> None:
        """Let calls begin without Redis and with it, at the same rate."""
        chosen, each = self.chosen, dict[str, float]()
        if not REDIS and len(chosen.only) > 1:
            self.report.doubts.append("redis: left out, because redis-server is not installed")
            return
        add = functools.partial(self.report.add, "redis")
        for name in ("without Redis", "with Redis"):
            with contextlib.ExitStack() as stack:
                more: tuple[str, ...] = ()
                if name == "with Redis":
                    url = stack.enter_context(private_redis()).url()
                    # The limits make each call wait for its places.
                    more = ("--redis", url, "--max-calls-account", "2000", "--admin", "off")
                    more += ("--max-calls-route", "/stream=2000")
                result = self._measure(
                    name, rate=chosen.redis_rate, seconds=chosen.seconds, more=more
                )
            each[name] = result.us_per_setup
            add(f"calls offered per second {name}", chosen.redis_rate)
            add(f"calls offered {name}, not served", result.offered - result.served, limit=0)
            limit = 150.0 if more else None
            self._add_times("redis", f"{name}, call → its first audio", result, limit)
            add(f"CPU per call {name}", round(result.us_per_setup, 0), "µs")
            add(f"core used {name}", round(100 * result.server_cpu / result.seconds, 1), "%")
        added = each["with Redis"] - each["without Redis"]
        add("CPU per call that Redis adds to the server", round(added, 0), "µs")

    def _add_times(
        self, experiment: str, name: str, result: SetupResult, limit: float | None
    ) -> None:
        add = functools.partial(self.report.add, experiment)
        add(f"{name}, p50", result.setup.p50, "ms")
        add(f"{name}, p99", result.setup.p99, "ms", limit)
        add(f"{name}, worst", result.setup.worst, "ms")

    def _measure(
        self,
        name: str,
        *,
        rate: float,
        seconds: float,
        talks: float = 0.0,
        live: int = 0,
        probed: bool = False,
        places: int = 2_000,
        processes: int = 1,
        more: tuple[str, ...] = (),
        program: Program | None = None,
    ) -> SetupResult:
        """Run servers and the load; again if other processes disturbed them, three runs at most."""
        attempts: list[SetupResult] = []
        own_core = self.server_core != self.phones_core
        for _ in range(1 if self.chosen.quick or not own_core else 3):
            with contextlib.ExitStack() as stack:
                targets = [
                    stack.enter_context(self._server(program or _mediaserver(places, *more)))
                    for _ in range(processes)
                ]
                load = SetupLoad(targets, TOKEN, rate, seconds, talks, live, probed)
                attempts.append(self._run(load))
            last = attempts[-1]
            self.say(
                f"{name}: {last.served} of {last.offered} served, {last.busy} told busy,"
                f" {sum(last.failed.values())} failed, {last.us_per_setup:.0f} µs each;"
                f" others held a core for {last.disturbance:.0%}"
            )
            if last.disturbance < DISTURBANCE_LIMIT:
                break
        best = min(attempts, key=lambda attempt: attempt.disturbance)
        self._doubt(name, best)
        return best

    def _doubt(self, name: str, result: SetupResult) -> None:
        doubts = self.report.doubts
        if result.disturbance >= DISTURBANCE_LIMIT:
            doubts.append(
                f"{name}: other processes held a core for {result.disturbance:.0%} of the time:"
                " the times are too long"
            )
        if result.load_busy > LOAD_BUSY_LIMIT:
            doubts.append(
                f"{name}: the load took {result.load_busy:.0%} of its core: it may be the"
                " bottleneck"
            )
        for reasons in (result.failed, result.live_failed):
            doubts.extend(f"{name}: {count} x {reason}" for reason, count in reasons.items())

    @contextlib.contextmanager
    def _server(self, program: Program) -> Iterator[Target]:
        with running(program, self.server_core, None) as server:
            port = urlsplit(server.url).port
            assert port is not None
            yield Target(port, server.pid)

    def _run(self, load: SetupLoad) -> SetupResult:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "benchmarks.setup_load"),
                msgspec.json.encode(load).decode(),
            ],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=functools.partial(pin_child, self.phones_core),
        )
        try:
            output, errors = process.communicate(timeout=load.seconds + load.live / 20 + 90)
        except subprocess.TimeoutExpired:
            raise BenchmarkError("the load did not end") from None
        finally:
            stop(process)
        if process.returncode != 0:
            last = errors.decode(errors="replace").strip().splitlines()[-1:]
            raise BenchmarkError(
                f"the load ended with status {process.returncode}: {' '.join(last)}"
            )
        return msgspec.json.decode(output, type=SetupResult)


def _mediaserver(places: int, *more: str) -> Program:
    return Program(
        "mediaserver",
        "echo",
        (
            *("-m", "mediaserver", "serve", "mediaserver.agents:Echo"),
            *("--max-calls", str(places), "--public-url", PUBLIC_URL),
            *("--auth-token", TOKEN, "--secret", "a secret for benchmarks"),
            # A server that stops waits for streams that another one has got.
            *("--drain-timeout", "0"),
            *more,
        ),
        health="/healthz",
    )


def main() -> int:
    parser = arguments_of(
        "setups", "Calls that begin on one core, beside live calls and in overload.", EXPERIMENTS
    )
    parser.add_argument("--seconds", type=a_while, default=60.0, help="of the runs rate and live")
    parser.add_argument("--rate", type=a_rate, default=600.0, help="calls a second of the run rate")
    parser.add_argument(
        "--redis-rate", type=a_rate, default=350.0, help="calls a second of the run redis"
    )
    parser.add_argument("--overload-seconds", type=a_while, default=60.0, help="of that run")
    chosen = parser.parse_args()
    chosen.calls, chosen.live_rate = 200, 200.0
    chosen.places, chosen.overload_rate, chosen.flood_rate = 200, 300.0, 1_200.0
    if chosen.quick:
        chosen.seconds = chosen.overload_seconds = 0.5
        chosen.rate, chosen.calls, chosen.live_rate = 50.0, 20, 50.0
        chosen.redis_rate = 50.0
        chosen.places, chosen.overload_rate, chosen.flood_rate = 20, 50.0, 200.0
    return report_on(Benchmark(chosen, Console(stderr=True)), chosen, width=100)


def a_rate(text: str) -> float:
    """Read a number of calls that arrive in a second."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= 2_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of calls from 1 to 2000")
    return value


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
