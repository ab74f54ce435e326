"""How evenly long calls spread over the workers of `serve --workers`, and what reloads cost.

    python -m benchmarks.workers [--only spread,reloads] [--calls 200] [--reloads 20]
                                 [--rate 100] [--live 50] [--seconds 120] [--json FILE]

README.md in this folder says what is measured and how to read it.
"""

import argparse
import asyncio
import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import IO, Any
from urllib.parse import urlsplit
from uuid import uuid4
from xml.etree import ElementTree

import httpx
import msgspec
from rich.console import Console
from websockets.asyncio.client import ClientConnection, connect


if not hasattr(os, "sched_setaffinity"):
    raise SystemExit("this benchmark reads /proc, which only works on Linux")

from audiocodecs import MULAW_8K
from benchmarks.errors import BenchmarkError
from benchmarks.experiments import Findings, a_while, arguments_of, report_on
from benchmarks.linux import end_with_parent
from benchmarks.processes import stop
from benchmarks.root import ROOT
from benchmarks.setup_load import PUBLIC_URL, SetupLoad, SetupResult, Target
from mediaserver.protocol import Start, encode_event


TOKEN = "an auth token for benchmarks"
EXPERIMENTS = ("spread", "reloads")
WORKERS = 2
BURST = 50
UNEVEN_LIMIT = 2.0
"""Percent by which a worker may have more or fewer calls than its share; one call always may be."""

_EVENT_SECONDS = 60.0


class Workers:
    """A running server with workers, as its log tells of it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.port = 0
        self.live: Counter[str] = Counter()
        """Live calls, by worker."""
        self.problems: Counter[str] = Counter()
        """Warnings and errors, by event."""
        self._events: Counter[str] = Counter()
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            entry: dict[str, Any] = {"event": line.decode()}
            if line.startswith(b"{"):
                entry = json.loads(line)
            event = str(entry["event"])
            with self._changed:
                self._events[event] += 1
                if event == "call started":
                    self.live[entry["worker"]] += 1
                elif event == "call ended":
                    self.live[entry["worker"]] -= 1
                elif event == "listening":
                    self.port = urlsplit(entry["url"]).port or 0
                if entry.get("level", "error") not in ("debug", "info"):
                    self.problems[event] += 1
                self._changed.notify_all()

    def wait_for(self, what: str, condition: Callable[[], object]) -> None:
        """Wait until the log has brought about a condition."""
        with self._changed:
            if not self._changed.wait_for(condition, _EVENT_SECONDS):
                raise BenchmarkError(f"{what} did not come within {_EVENT_SECONDS:g} s")

    def count(self, event: str) -> int:
        """Return how often the log had an event."""
        return self._events[event]

    @property
    def total(self) -> int:
        """Number of live calls."""
        return sum(self.live.values())


@contextlib.contextmanager
def running_workers(*arguments: str, handler: str = "mediaserver.agents:Echo") -> Iterator[Workers]:
    """Run a server with workers for the duration of the block."""
    command = [
        *(sys.executable, "-m", "mediaserver", "serve", handler),
        *("--workers", str(WORKERS), "--port", "0", "--max-calls", "2000"),
        *("--secret", "a secret for benchmarks", "--log-format", "json", *arguments),
    ]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=end_with_parent,
    )
    workers = Workers(process)
    try:
        workers.wait_for("the start", lambda: workers.port or process.poll() is not None)
        if not workers.port:
            raise BenchmarkError(f"the server ended with status {process.wait()}")
        yield workers
    finally:
        # The second signal closes calls that a failed run has left.
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2)
        stop(process)


class Callers:
    """Calls that say nothing and go on, as long calls do.

    Args:
        workers: The server.
        random: Chooses who hangs up.

    """

    def __init__(self, workers: Workers, random: Random) -> None:
        self._workers = workers
        self._random = random
        self._calls: list[ClientConnection] = []
        self._url = f"127.0.0.1:{workers.port}"
        # What a proxy does that keeps its connections to the server.
        limits = httpx.Limits(max_connections=1)
        self._proxy = httpx.AsyncClient(base_url=f"http://{self._url}", limits=limits)

    async def call(self) -> None:
        """Open a stream that no webhook preceded."""
        await self._stream(f"ws://{self._url}/stream", str(uuid4()))

    async def call_through_proxy(self) -> None:
        """Ask for the XML on the proxy's connection, and open the stream that it names."""
        call_id = str(uuid4())
        form = {"CallUUID": call_id, "From": "14155550100", "To": "14155550199"}
        answer = await self._proxy.post("/answer", data=form | {"Event": "StartApp"})
        url = ElementTree.fromstring(answer.content).findtext("Stream")
        assert url is not None
        await self._stream(url, call_id)

    async def hang_up(self, number: int) -> None:
        """End calls, chosen at random."""
        self._random.shuffle(self._calls)
        leaving, self._calls = self._calls[:number], self._calls[number:]
        await asyncio.gather(*(each.close() for each in leaving))

    async def settle(self) -> Counter[str]:
        """Wait until the server knows of all, and return the live calls by worker."""
        calls, workers = len(self._calls), self._workers
        await asyncio.to_thread(workers.wait_for, "the calls", lambda: workers.total == calls)
        return workers.live

    async def close(self) -> None:
        """End all calls."""
        await self.hang_up(len(self._calls))
        await self._proxy.aclose()

    async def _stream(self, url: str, call_id: str) -> None:
        call = await connect(url, proxy=None, open_timeout=20)
        await call.send(
            encode_event(Start(call_id, call_id, "MA", ("inbound",), MULAW_8K, sequence_number=1))
        )
        self._calls.append(call)


class Benchmark:
    """The chosen experiments, one after the other."""

    def __init__(self, chosen: argparse.Namespace, progress: Console) -> None:
        self.chosen = chosen
        self.report = Findings(
            {name: getattr(chosen, name) for name in ("calls", "reloads", "rate", "live")},
            f"{WORKERS} workers on one port",
        )
        self._progress = progress

    def run(self) -> None:
        """Run one experiment after the other; if one fails, the others still run."""
        if self.chosen.quick:
            self.report.doubts.append("--quick: a short run, whose times mean nothing")
        for name in self.chosen.only:
            try:
                {"spread": self._spread, "reloads": self._reloads}[name]()
            except BenchmarkError as error:
                self.report.missing.append(f"{name}: {error}")

    def _spread(self) -> None:
        with running_workers() as workers:
            for way, burst, proxy in (
                ("singly", 1, False),
                (f"in bursts of {BURST}", BURST, False),
                ("singly, through one proxy", 1, True),
                (f"in bursts of {BURST}, through one proxy", BURST, True),
            ):
                before, after = asyncio.run(self._churn(workers, burst, proxy=proxy))
                for when, live in (("", before), (", after churn", after)):
                    self._add_spread(f"{way}{when}", live)

    async def _churn(
        self, workers: Workers, burst: int, *, proxy: bool
    ) -> tuple[Counter[str], Counter[str]]:
        """Open calls, end half of them at random, open as many; return the calls by worker."""
        callers, number = Callers(workers, Random(burst)), self.chosen.calls
        one = callers.call_through_proxy if proxy else callers.call
        try:
            await _in_bursts(one, number, burst)
            before = Counter(await callers.settle())
            await callers.hang_up(number // 2)
            await callers.settle()
            await _in_bursts(one, number // 2, burst)
            return before, Counter(await callers.settle())
        finally:
            await callers.close()
            await callers.settle()

    def _add_spread(self, way: str, live: Counter[str]) -> None:
        share = sum(live.values()) / WORKERS
        uneven = max(abs(live[worker] - share) for worker in ("1.1", "2.1")) / share * 100
        limit = max(UNEVEN_LIMIT, round(100 / share, 2))
        shown = "/".join(str(live[worker]) for worker in ("1.1", "2.1"))
        self.report.add("spread", f"{way}: {shown}", round(uneven, 2), "%", limit)
        self._say(f"{way}: {shown}")

    def _reloads(self) -> None:
        chosen, add = self.chosen, functools.partial(self.report.add, "reloads")
        arguments = ("--auth-token", TOKEN, "--public-url", PUBLIC_URL, "--log-level", "info")
        with running_workers(*arguments) as workers, tempfile.TemporaryFile() as output:
            load = SetupLoad(
                [Target(workers.port, workers.process.pid)],
                TOKEN,
                chosen.rate,
                chosen.seconds,
                live=chosen.live,
            )
            with loading(load, output) as process:
                seconds = self._reload(workers, process)
            output.seek(0)
            result = msgspec.json.decode(output.read(), type=SetupResult)
        refused = result.busy + sum(
            number for why, number in result.failed.items() if "refused" in why or "said" in why
        )
        add("calls that began", result.offered)
        add("reloads", workers.count("reloaded"))
        add("calls refused or told busy", refused, limit=0)
        add("calls reset or lost", sum(result.failed.values()) + result.busy - refused, limit=0)
        add("live calls", result.live_most)
        add("live calls cut", sum(result.live_failed.values()), limit=0)
        add("frames without an echo", result.unheard, limit=0)
        add("from SIGHUP to new workers, longest", round(max(seconds), 2), "s")
        add("call → its first audio, p50", result.setup.p50, "ms")
        add("call → its first audio, worst", result.setup.worst, "ms")
        for reasons in (result.failed, result.live_failed, workers.problems):
            self.report.doubts.extend(f"{count} x {reason}" for reason, count in reasons.items())

    def _reload(self, workers: Workers, loading: "subprocess.Popen[bytes]") -> list[float]:
        """Reload again and again while the load runs, and return how long each took."""
        chosen, took = self.chosen, []
        begun = time.monotonic()
        for number in range(1, chosen.reloads + 1):
            # Evenly spread, but the load needs some time for its first calls and for its last.
            due = begun + chosen.live / 20 + chosen.seconds * number / (chosen.reloads + 1)
            with contextlib.suppress(subprocess.TimeoutExpired):
                loading.wait(max(0.0, due - time.monotonic()))
            if loading.poll() is not None:
                raise BenchmarkError(f"the load ended before reload {number}")
            sent = time.monotonic()
            workers.process.send_signal(signal.SIGHUP)
            workers.wait_for("a reload", functools.partial(_has_reloaded, workers, number))
            took.append(time.monotonic() - sent)
            self._say(f"reload {number}: {took[-1]:.2f} s")
            if loading.poll() is not None:
                self.report.doubts.append(f"the load ended before reload {number} was over")
        try:
            loading.wait(chosen.seconds + 60)
        except subprocess.TimeoutExpired:
            raise BenchmarkError("the load did not end") from None
        if loading.returncode:
            raise BenchmarkError(f"the load ended with status {loading.returncode}")
        return took

    def _say(self, line: str) -> None:
        self._progress.print(line, highlight=False, markup=False)


def _has_reloaded(workers: Workers, number: int) -> bool:
    return workers.count("reloaded") >= number


async def _in_bursts(one: Callable[[], Awaitable[None]], number: int, burst: int) -> None:
    """Do something `number` times, `burst` of it at once."""
    for begin in range(0, number, burst):
        await asyncio.gather(*(one() for _ in range(min(burst, number - begin))))


@contextlib.contextmanager
def loading(load: SetupLoad, output: IO[bytes]) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the load of the set-up benchmark."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.setup_load", msgspec.json.encode(load).decode()],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=output,
    )
    try:
        yield process
    finally:
        stop(process)


def main() -> int:
    parser = arguments_of("workers", "Calls on several workers, and reloads.", EXPERIMENTS)
    parser.add_argument("--calls", type=int, default=200, help="long calls of the run spread")
    parser.add_argument("--reloads", type=int, default=20)
    parser.add_argument("--rate", type=float, default=100.0, help="calls that begin in a second")
    parser.add_argument("--live", type=int, default=50, help="long calls of the run reloads")
    parser.add_argument("--seconds", type=a_while, default=120.0, help="of the run reloads")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.calls, chosen.reloads, chosen.rate, chosen.live, chosen.seconds = 40, 1, 20, 5, 4.0
    benchmark = Benchmark(chosen, Console(stderr=True))
    return report_on(benchmark, chosen, width=100, judges=True)


if __name__ == "__main__":
    sys.exit(main())
