"""How soon an operator's command reaches a live call of whichever worker, or of another node.

    python -m benchmarks.control [--only quiet,talking,fleet] [--calls 100] [--commands 1000]
                                 [--seconds 30] [--json FILE]

README.md in this folder says what is measured and how to read it.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import numpy as np
from rich.console import Console
from websockets.asyncio.client import ClientConnection, connect


if not hasattr(os, "sched_setaffinity"):
    raise SystemExit("this benchmark reads /proc, which only works on Linux")

from audiocodecs import MULAW_8K
from benchmarks.errors import BenchmarkError
from benchmarks.experiments import Findings, a_while, arguments_of, report_on
from benchmarks.linux import cpu_seconds
from benchmarks.redis_server import REDIS, private_redis
from benchmarks.setup_load import PUBLIC_URL, SetupLoad, Target
from benchmarks.workers import TOKEN, WORKERS, loading, running_workers
from mediaserver.protocol import Start, encode_event


EXPERIMENTS = ("quiet", "talking", "fleet")
GOAL = 15.0
"""Milliseconds that 99 of 100 commands may take."""
DISTURBANCE_LIMIT = 0.10
ATTEMPTS = 3
PAUSE = 0.005
"""Seconds between two commands."""
CLOSES_WITHIN = 10.0
"""Seconds within which the socket of a call that was hung up must close."""


class Operator:
    """Sends requests over one connection to the admin listener, and takes their time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, method: str, path: str) -> tuple[int, Any, float]:
        """Return the status, the body, and the milliseconds until it was there."""
        head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n"
        begun = time.perf_counter()
        self._writer.write(head.encode())
        answer = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(answer.partition("content-length: ")[2].partition("\r\n")[0])
        body = await self._reader.readexactly(length)
        took = 1_000 * (time.perf_counter() - begun)
        return int(answer.split(" ", 2)[1]), json.loads(body), took


@contextlib.asynccontextmanager
async def operator(path: Path) -> AsyncIterator[Operator]:
    """Connect to the admin listener for the duration of the block."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        yield Operator(reader, writer)
    finally:
        writer.close()


class Times(dict[str, list[float]]):
    """Milliseconds, by what was asked for; how busy others kept the machine; the server's CPU."""

    disturbance = 0.0
    clear_cpu = 0.0
    """Seconds of CPU that the server's processes took for all commands to fall silent."""


class Benchmark:
    """The chosen experiments, one after the other."""

    def __init__(self, chosen: argparse.Namespace, progress: Console) -> None:
        self.chosen = chosen
        self.report = Findings(
            {name: getattr(chosen, name) for name in ("calls", "commands", "seconds")}
            | {"load_average": os.getloadavg()[0]},
            f"Commands to live calls of {WORKERS} workers",
        )
        self._progress = progress

    def run(self) -> None:
        """Run one experiment after the other; if one fails, the others still run."""
        if self.chosen.quick:
            self.report.doubts.append(
                "--quick: this only shows that the benchmark runs; its figures mean nothing"
            )
        for name in self.chosen.only:
            if name == "fleet" and not REDIS and len(self.chosen.only) > 1:
                self.report.doubts.append("fleet: left out: redis-server is not installed")
                continue
            try:
                self._experiment(name)
            except BenchmarkError as error:
                self.report.missing.append(f"{name}: {error}")

    def _experiment(self, name: str) -> None:
        """Measure; again if other processes disturbed it, three times at most."""
        attempts: list[Times] = []
        for _ in range(1 if self.chosen.quick else ATTEMPTS):
            attempts.append(self._measure(name))
            disturbance = attempts[-1].disturbance
            self._say(f"{name}: other processes held {disturbance:.0%} of the machine")
            if disturbance < DISTURBANCE_LIMIT:
                break
        best = min(attempts, key=lambda each: each.disturbance)
        if best.disturbance >= DISTURBANCE_LIMIT:
            self.report.doubts.append(
                f"{name}: other processes held {best.disturbance:.0%} of the machine: the times"
                " are too long"
            )
        for what, times in best.items():
            limit = None if what.startswith("GET") else GOAL
            for figure, value, goal in (
                ("p50", np.percentile(times, 50), None),
                ("p99", np.percentile(times, 99), limit),
                ("worst", max(times), None),
            ):
                self.report.add(name, f"{what}, {figure}", round(float(value), 2), "ms", goal)
        if name != "talking":
            each = 1e6 * best.clear_cpu / len(best["clear"])
            which = "supervisor and workers" if name == "quiet" else "both nodes and Redis"
            self.report.add(name, f"clear, CPU of {which}", round(each), "µs")
        self.report.add(name, "requests", sum(map(len, best.values())))

    def _measure(self, name: str) -> Times:
        if name == "fleet":
            return self._measure_fleet()
        talking = name == "talking"
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            path = Path(folder, "admin.sock")
            arguments = ["--admin", str(path)]
            if talking:
                arguments += ["--auth-token", TOKEN, "--public-url", PUBLIC_URL]
            workers = stack.enter_context(running_workers(*arguments))
            pids = [os.getpid(), workers.process.pid]
            if talking:
                target = Target(workers.port, workers.process.pid)
                load = SetupLoad(
                    [target], TOKEN, self.chosen.rate, self.chosen.seconds, live=self.chosen.live
                )
                output = stack.enter_context(tempfile.TemporaryFile())
                pids.append(stack.enter_context(loading(load, output)).pid)
                live = self.chosen.live
                workers.wait_for("the load's calls", lambda: workers.total >= live)
                return asyncio.run(self._ask_about_talking(path, pids))
            return asyncio.run(self._ask_about_quiet(workers.port, path, pids))

    def _measure_fleet(self) -> Times:
        """Ask one node for the calls of another one."""
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            redis = stack.enter_context(private_redis())
            near, far = (Path(folder, f"{name}.sock") for name in ("near", "far"))
            nodes = [
                stack.enter_context(
                    running_workers(
                        *("--admin", str(path), "--node", path.stem, "--redis", redis.url())
                    )
                )
                for path in (near, far)
            ]
            pids = [os.getpid(), redis.pid, *(node.process.pid for node in nodes)]
            return asyncio.run(self._ask_about_quiet(nodes[1].port, near, pids, far))

    async def _ask_about_quiet(
        self, port: int, path: Path, pids: list[int], far: Path | None = None
    ) -> Times:
        random = Random(1)
        calls: dict[str, ClientConnection] = {}
        for _ in range(self.chosen.calls):
            call = str(uuid4())
            calls[call] = await _silent_call(port, call)
        async with operator(path) as asked:
            await _until_listed(asked, len(calls))
            children = await _workers_of(asked)
            if far is not None:
                async with operator(far) as other:
                    children += await _workers_of(other)
            with _disturbance(pids, children) as times:
                server = *pids[1:], *children
                held = sum(map(cpu_seconds, server))
                for _ in range(self.chosen.commands):
                    await _command(asked, times, "clear", random.choice(list(calls)))
                    await asyncio.sleep(PAUSE)
                times.clear_cpu = sum(map(cpu_seconds, server)) - held
                await self._list(asked, times)
                for call, websocket in calls.items():
                    begun = time.perf_counter()
                    await _command(asked, times, "hangup", call)
                    async with asyncio.timeout(CLOSES_WITHIN):
                        await websocket.wait_closed()
                    took = 1_000 * (time.perf_counter() - begun)
                    times.setdefault("hangup → the socket is closed", []).append(took)
                    await asyncio.sleep(PAUSE)
        return times

    async def _ask_about_talking(self, path: Path, pids: list[int]) -> Times:
        random = Random(1)
        async with operator(path) as asked:
            _, listed, _ = await asked.ask("GET", "/calls?limit=200&state=live")
            # The oldest talk until the end; the others come and go.
            calls = [each["call_id"] for each in listed["calls"][: self.chosen.live]]
            with _disturbance(pids, await _workers_of(asked)) as times:
                for _ in range(self.chosen.commands):
                    await _command(asked, times, "clear", random.choice(calls))
                    await asyncio.sleep(PAUSE)
                await self._list(asked, times)
        return times

    async def _list(self, asked: Operator, times: Times) -> None:
        for _ in range(max(1, self.chosen.commands // 10)):
            for what, path in (("GET /calls, 50", "/calls?limit=50"), ("GET /workers", "/workers")):
                _, _, took = await asked.ask("GET", path)
                times.setdefault(what, []).append(took)
                await asyncio.sleep(PAUSE)

    def _say(self, line: str) -> None:
        self._progress.print(line, highlight=False, markup=False)


async def _command(asked: Operator, times: Times, action: str, call: str) -> None:
    status, body, took = await asked.ask("POST", f"/calls/{call}/{action}")
    if status != 200:
        raise BenchmarkError(f"{action} was answered {status}: {body}")
    times.setdefault(action, []).append(took)


async def _silent_call(port: int, call: str) -> ClientConnection:
    websocket = await connect(f"ws://127.0.0.1:{port}/stream", proxy=None, open_timeout=20)
    start = Start(call, call, "MA", ("inbound",), MULAW_8K, sequence_number=1)
    await websocket.send(encode_event(start))
    return websocket


async def _until_listed(asked: Operator, number: int) -> None:
    async with asyncio.timeout(30):
        while True:
            _, listed, _ = await asked.ask("GET", "/calls?state=live&limit=1")
            if listed["total"] == number:
                return
            await asyncio.sleep(0.05)


async def _workers_of(asked: Operator) -> list[int]:
    _, body, _ = await asked.ask("GET", "/workers")
    return [each["pid"] for each in body["workers"]]


@contextlib.contextmanager
def _disturbance(pids: list[int], workers: list[int]) -> Iterator[Times]:
    """Measure how much of the machine processes held that have no part in this."""
    times = Times()

    def own() -> float:
        return sum(map(cpu_seconds, (*pids, *workers)))

    begun, busy, held = time.monotonic(), _busy_seconds(), own()
    yield times
    seconds = (time.monotonic() - begun) * (os.cpu_count() or 1)
    others = (_busy_seconds() - busy) - (own() - held)
    times.disturbance = max(0.0, others / seconds)


def _busy_seconds() -> float:
    """Return the seconds that all cores were busy since the machine started (proc(5), stat)."""
    user, nice, system, _idle, _waiting, *rest = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + sum(rest[:3])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    parser = arguments_of("control", "Commands to live calls of several workers.", EXPERIMENTS)
    parser.add_argument("--calls", type=int, default=100, help="silent calls of the run quiet")
    parser.add_argument("--commands", type=int, default=1_000)
    parser.add_argument("--live", type=int, default=50, help="calls that talk in the run talking")
    parser.add_argument("--rate", type=float, default=20.0, help="calls a second that begin in it")
    parser.add_argument("--seconds", type=a_while, default=30.0, help="of the run talking")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.calls, chosen.commands, chosen.live, chosen.rate, chosen.seconds = 6, 20, 5, 5.0, 5.0
    benchmark = Benchmark(chosen, Console(stderr=True))
    return report_on(benchmark, chosen, width=100)


if __name__ == "__main__":
    sys.exit(main())
