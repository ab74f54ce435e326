"""A server under calls that come and go, with a fault each second, for as long as you like.

    python -m benchmarks.soak [--minutes 45] [--calls 300] [--seed 1] [--json FILE]

README.md in this folder says what is measured and how to read it.
"""

import argparse
import asyncio
import contextlib
import functools
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import msgspec
import uvloop
from redis.asyncio import Redis
from rich.console import Console
from sqlalchemy import create_engine, select


if not hasattr(os, "sched_setaffinity"):
    raise SystemExit("this benchmark reads /proc, which only works on Linux")

from benchmarks.errors import BenchmarkError
from benchmarks.experiments import Findings, report_on
from benchmarks.linux import busy_seconds
from benchmarks.records_databases import StoppableDatabase, private_database
from benchmarks.redis_server import REDIS as REDIS_PROGRAM
from benchmarks.redis_server import RedisServer
from benchmarks.rolling import free_port
from benchmarks.rolling_calls import Callers, RollingCall
from benchmarks.servers.counted_echo import TASKS
from benchmarks.soak_account import (
    KEPT_SECONDS,
    LOST,
    STUCK_SECONDS,
    MadeCall,
    RecordedStream,
    account,
)
from benchmarks.soak_faults import DATABASE, KILL, REDIS, RELOAD, Fault, fault_schedule
from benchmarks.soak_peers import Peer
from benchmarks.soak_trend import trend
from benchmarks.soak_watch import Sample, SoakWatch
from benchmarks.workers import TOKEN, WORKERS, Workers, running_workers
from mediaserver.records.tables import calls as call_rows


GROWTH_LIMIT = 2.0
"""Percent by which the memory of a process may grow in the last half."""
JUDGED_MINUTES = 20.0
"""Of shorter runs, memory has no goal: caches still fill."""
LEFT_LIMITS = {"descriptors": 24, "tasks": 5}
"""What a process may have more than before its first call. It keeps up to 17 connections to Redis,
and some to the database."""
KILL_SECONDS = 5.0
"""Seconds around a kill within which a call may get no stream."""
EMPTY_SECONDS = 30.0
"""Within which no call may be listed, and each record must have its end, once all are over."""
REPLACED_SECONDS = 60.0
"""Within which a reload must be done, and a worker that was killed be replaced."""


class Report(Findings):
    """All figures.

    Attributes:
        samples: of each process, over time.

    """

    samples: dict[str, list[Sample]] = msgspec.field(default_factory=dict)


class Soak:
    """One run.

    Args:
        chosen: The command's arguments.
        workers: The server.
        callers: The honest callers.
        redis: What its workers share.
        database: What has their records.
        watch: Looks at it.

    """

    def __init__(
        self,
        chosen: argparse.Namespace,
        workers: Workers,
        callers: Callers,
        redis: RedisServer,
        database: StoppableDatabase,
        watch: SoakWatch,
    ) -> None:
        self.chosen = chosen
        self.workers = workers
        self.callers = callers
        self.watch = watch
        self.kills: dict[str, float] = {}
        """When each worker that was killed was killed, in seconds since the epoch."""
        self.killed: dict[int, float] = {}
        """The same by process id."""
        self.injected: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        """What the benchmark itself could not do, or the server not in time."""
        self.held: Counter[str] = Counter()
        """Connections on which nothing was said, and that the server has not closed, by kind."""
        self.most_live = 0
        self.made: list[MadeCall] = []
        """The calls of peers that did something wrong."""
        self.before: dict[str, Sample] = {}
        self.after: dict[str, Sample] = {}
        """The last sample of each process that lived to the end, when no call was left."""
        self.half_at = math.inf
        self.listed = 0
        """Calls that are listed when all are over."""
        self.places = 0
        """Places that Redis has given away then."""
        self._redis = redis
        self._database = database
        self._random = Random(chosen.seed)
        self._steady: str | None = None
        self._locks = {kind: asyncio.Lock() for kind in (REDIS, DATABASE, KILL, RELOAD)}

    async def run(self) -> None:
        """Let calls come and go, inject faults, and wait until all are over."""
        chosen, callers = self.chosen, self.callers
        await _until("workers count their tasks", self._counts_tasks, REPLACED_SECONDS)
        self.before = {name: each[-1] for name, each in self.watch.samples.items()}
        rate = chosen.calls / (sum(chosen.lengths) / 2)
        background = [
            asyncio.create_task(callers.talk()),
            asyncio.create_task(self._look_again_and_again()),
        ]
        try:
            await callers.arrive(25.0, chosen.calls)
            arriving = asyncio.create_task(callers.arrive(rate))
            background.append(arriving)
            await self._inject()
            arriving.cancel()
            await callers.hang_up()
            await self._empty()
        finally:
            for task in background:
                task.cancel()

    async def _counts_tasks(self) -> bool:
        await self.watch.look()
        counting = [each[-1].tasks is not None for each in self.watch.samples.values()]
        return counting.count(True) >= WORKERS

    async def _look_again_and_again(self) -> None:
        while True:
            await self.watch.look()
            self.most_live = max(self.most_live, len(self.callers.live))
            await asyncio.sleep(self.chosen.look_seconds)

    async def _inject(self) -> None:
        seconds = round(60 * self.chosen.minutes)
        begun = time.monotonic()
        self.half_at = begun + seconds / 2
        async with asyncio.TaskGroup() as tasks:
            for fault in fault_schedule(seconds, self._random):
                await asyncio.sleep(max(0.0, begun + fault.at - time.monotonic()))
                tasks.create_task(self._commit(fault))

    async def _commit(self, fault: Fault) -> None:
        """Inject a fault."""
        self.injected[fault.kind] += 1
        if fault.kind not in self._locks:
            await self._send_peer(fault.kind)
            return
        async with self._locks[fault.kind]:
            try:
                match fault.kind:
                    case "redis restart":
                        self._redis.kill()
                        await asyncio.sleep(self._random.uniform(0.2, 0.3 * self.chosen.patience))
                        await asyncio.to_thread(self._redis.start)
                    case "database restart":
                        await asyncio.to_thread(self._database.stop)
                        await asyncio.sleep(self._random.uniform(0.2, 0.5) * self.chosen.patience)
                        await asyncio.to_thread(self._database.start)
                    case "kill":
                        await self._kill(spares_oldest=fault.spares_oldest)
                    case "reload":
                        await self._reload()
            except BenchmarkError as error:
                self.failed[f"{fault.kind}: {error}"] += 1

    async def _send_peer(self, kind: str) -> None:
        chosen = self.chosen
        peer = Peer(
            kind,
            self.callers.url,
            TOKEN,
            Random(self._random.random()),
            patience=chosen.patience,
            dead_after=chosen.dead_after,
            kept=chosen.kept,
        )
        await peer.run()
        made = peer.made()
        if made is not None:
            self.made.append(made)
        self.held[kind] += peer.held

    async def _kill(self, *, spares_oldest: bool) -> None:
        watch = self.watch

        async def several() -> bool:
            with contextlib.suppress(BenchmarkError):
                await watch.find_workers()
                return len(watch.ready) >= WORKERS
            return False

        await _until("two workers are ready", several, REPLACED_SECONDS)
        if spares_oldest and self._steady not in watch.ready:
            self._steady = next(each for each in watch.workers if each in watch.ready)
        spared = self._steady if spares_oldest else None
        name = self._random.choice([each for each in watch.workers if each != spared])
        pid = watch.workers[name]
        with contextlib.suppress(ProcessLookupError):
            self.kills[name] = self.killed[pid] = time.time()
            os.kill(pid, signal.SIGKILL)

    async def _reload(self) -> None:
        before, begun = self._reloads(), time.time()
        self.workers.process.send_signal(signal.SIGHUP)

        async def done() -> bool:
            return self._reloads() > before

        failed = self.workers.count("reload failed")
        await _until("the server has reloaded", done, REPLACED_SECONDS)
        # A kill may have hit one of the new workers; then the old ones go on.
        killed = any(at >= begun for at in self.kills.values())
        if self.workers.count("reload failed") > failed and not killed:
            raise BenchmarkError("it failed, and no worker was killed meanwhile")

    def _reloads(self) -> int:
        return self.workers.count("reloaded") + self.workers.count("reload failed")

    async def _empty(self) -> None:
        """Wait until the server knows of no call, and the records have all ends."""

        async def unlisted() -> bool:
            with contextlib.suppress(BenchmarkError):
                self.listed = (await self.watch.calls())["total"]
                return not self.listed
            return False

        async def settled() -> bool:
            rows = await asyncio.to_thread(self.recorded)
            return all(each.ended is not None for each in rows)

        for what, holds in (("no call is listed", unlisted), ("records have ends", settled)):
            with contextlib.suppress(BenchmarkError):
                await _until(what, holds, EMPTY_SECONDS)
        async with Redis.from_url(self._redis.url(), socket_timeout=5.0) as redis:

            async def free() -> bool:
                self.places = await redis.hlen("{mediaserver}:calls")
                return not self.places

            with contextlib.suppress(BenchmarkError):
                await _until("no place is taken", free, EMPTY_SECONDS)

        async def idle() -> bool:
            await self.watch.look()
            alive = {"supervisor", *self.watch.workers}
            samples = self.watch.samples.items()
            self.after = {name: each[-1] for name, each in samples if name in alive}
            return all(self.left(what) <= limit for what, limit in LEFT_LIMITS.items())

        with contextlib.suppress(BenchmarkError):
            await _until("nothing is left of the calls", idle, EMPTY_SECONDS)

    def left(self, what: str) -> int:
        """Return how many of something a process has more than any had before the first call."""
        after, before = (
            max(getattr(each, what) or 0 for each in samples.values())
            for samples in (self.after, self.before)
        )
        return max(0, after - before)

    def recorded(self) -> list[RecordedStream]:
        """Return all records."""
        engine = create_engine(self._database.url)
        try:
            with engine.connect() as connection:
                columns = (
                    *(call_rows.c.stream_id, call_rows.c.process),
                    *(call_rows.c.ended_at, call_rows.c.cause),
                )
                return [
                    RecordedStream(stream, process, ended and ended.timestamp(), cause)
                    for stream, process, ended, cause in connection.execute(select(*columns))
                ]
        finally:
            engine.dispose()

    def all_made(self) -> list[MadeCall]:
        """Return the calls of all callers."""
        epoch = time.time() - time.monotonic()
        honest = [
            MadeCall(
                each.stream_id,
                "honest",
                epoch + each.live_at,
                epoch + (each.over_at or time.monotonic()),
                heard=each.spoke_at is not None,
                cut=each.cut is not None,
            )
            for each in self.callers.streams
        ]
        return honest + self.made

    def cut(self) -> list[RollingCall]:
        """Return the honest calls that were cut by something else than the end of their worker."""
        epoch = time.time() - time.monotonic()
        return [
            each
            for each in self.callers.ended
            if each.cut is not None
            and each.pid not in self.killed
            and not (each.pid == 0 and self.near_kill(epoch + (each.over_at or 0.0)))
        ]

    def refused(self) -> int:
        """Return how many calls got no stream, though no worker was killed then."""
        epoch = time.time() - time.monotonic()
        return sum(not self.near_kill(epoch + at) for at in self.callers.refused_at)

    def near_kill(self, at: float) -> bool:
        """Tell whether a worker was killed shortly before a time, or just after."""
        return any(-KEPT_SECONDS < at - each < KILL_SECONDS for each in self.kills.values())


class Benchmark:
    """Starts what a run needs, and reports what it found."""

    def __init__(self, chosen: argparse.Namespace, progress: Console) -> None:
        self.chosen = chosen
        names = ("calls", "minutes", "seed", "lengths", "quick")
        self.report = Report(
            {name: getattr(chosen, name) for name in names} | {"load_average": os.getloadavg()[0]},
            f"{WORKERS} workers, their calls, and a fault each second",
        )
        self._progress = progress
        self._begun = time.monotonic()

    def run(self) -> None:
        """Run it."""
        if self.chosen.quick:
            self.report.doubts.append("--quick: a short run, which no slow leak shows in")
        try:
            uvloop.run(self._soak())
        except BenchmarkError as error:
            self.report.missing.append(f"soak: {error}")

    async def _soak(self) -> None:
        chosen = self.chosen
        begun, busy = time.monotonic(), busy_seconds()
        async with contextlib.AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
            redis = RedisServer(folder)
            stack.enter_context(redis.running())
            database = stack.enter_context(private_database(folder))
            tasks, admin, port = folder / "tasks", folder / "admin.sock", free_port("127.0.0.1")
            tasks.mkdir()
            os.environ[TASKS] = str(tasks)
            url = f"http://127.0.0.1:{port}"
            workers = stack.enter_context(
                running_workers(
                    *("--port", str(port), "--public-url", url, "--auth-token", TOKEN),
                    *("--admin", str(admin), "--log-level", "info", "--redis", redis.url()),
                    *("--records", database.url, "--records-journal", str(folder / "journal")),
                    *("--max-calls-account", "2000", "--resume-calls", "3"),
                    *("--dead-peer-timeout", str(chosen.dead_after)),
                    *("--ping-interval", str(chosen.dead_after / 2)),
                    *("--start-timeout", str(chosen.patience)),
                    *("--header-timeout", str(chosen.patience / 2)),
                    *("--reconnect-seconds", str(chosen.kept)),
                    handler="benchmarks.servers.counted_echo:ROUTES",
                )
            )
            callers = Callers(url, None, TOKEN, Random(chosen.seed), chosen.lengths)
            watch = SoakWatch(workers.process.pid, admin, tasks)
            soak = Soak(chosen, workers, callers, redis, database, watch)
            self._say(f"{database.name} and Redis run, the server at port {port}")
            saying = asyncio.create_task(self._say_again_and_again(soak))
            try:
                await soak.run()
            finally:
                saying.cancel()
            self._say("all calls are over, and the server stops")
            self._enter_calls(soak)
            self._enter_processes(soak)
            status = await asyncio.to_thread(_stopped, workers)
            self.report.add("end", "status of the server after SIGTERM", status, limit=0)
            self.report.doubts += [
                f"{number} x logged: {event}" for event, number in workers.problems.most_common()
            ]
        share = (busy_seconds() - busy) / (time.monotonic() - begun)
        self.report.add("end", "cores used on this machine", round(share, 2))

    def _enter_calls(self, soak: Soak) -> None:
        callers = soak.callers
        add = functools.partial(self.report.add, "calls")
        made, recorded = soak.all_made(), soak.recorded()
        found = account(made, recorded, soak.kills)
        cut = soak.cut()
        for kind, number in sorted(soak.injected.items()):
            self.report.add("faults", kind, number)
        self.report.add("faults", "not done, or not in time", soak.failed.total(), limit=0)
        self.report.add("faults", "connections held without a word", soak.held.total(), limit=0)
        add("streams of honest callers", len(callers.ended) + len(callers.live))
        add("of them live at a time, most", soak.most_live)
        add("streams of the other peers", len(soak.made))
        add("honest, cut by the kill of their worker", len(callers.cut(endless=False)) - len(cut))
        add("honest, cut by anything else", len(cut), limit=0)
        add("honest, without a stream, no kill near", soak.refused(), limit=0)
        lasts = max(*self.chosen.lengths, 2 * self.chosen.patience) + STUCK_SECONDS
        add("longest that a listed call has lasted", round(soak.watch.oldest_call, 1), "s", lasts)
        add("calls listed once all are over", soak.listed, limit=0)
        add("places taken in Redis then", soak.places, limit=0)
        add("looks that the server did not answer", soak.watch.unanswered)
        add = functools.partial(self.report.add, "records")
        add("records", len(recorded))
        add("calls without a record", found.missing.total(), limit=0)
        add("of those begun in the last second before a kill", found.fresh)
        add("records without an end", found.endless.total(), limit=0)
        add("streams with several records", found.twice, limit=0)
        add("records of streams that nobody opened", found.unknown, limit=0)
        add("calls that lived on when they were over", found.stuck.total(), limit=0)
        add(
            "lost with a worker, by their record",
            sum(each.cause == LOST for each in recorded),
        )
        add("lost by their record, without a kill", found.wrongly_lost.total(), limit=0)
        add("cut by a kill, not lost by their record", found.not_lost, limit=0)
        for name, counts in (
            ("cut", Counter(str(each.cut) for each in cut)),
            ("without a stream", callers.refused),
            ("hang-up not taken", callers.unnoted),
            ("not done", soak.failed),
            ("held", +soak.held),
            ("without a record", found.missing),
            ("without an end", found.endless),
            ("lived on", found.stuck),
            ("lost without a kill", found.wrongly_lost),
        ):
            self.report.doubts += [f"{name}: {count} x {why}" for why, count in counts.items()]
        self.report.doubts.append(
            f"the callers were late by {callers.worst_turn * 1e3:.0f} ms at worst"
        )

    def _enter_processes(self, soak: Soak) -> None:
        self.report.samples = soak.watch.samples
        judged = self.chosen.minutes >= JUDGED_MINUTES
        last = {
            name: [each for each in samples if each.at >= soak.half_at]
            for name, samples in soak.watch.samples.items()
        }
        workers = {name: each for name, each in last.items() if name != "supervisor"}
        oldest = max(workers, key=lambda name: len(workers[name]), default="")
        for title, name in (("supervisor", "supervisor"), ("oldest worker", oldest)):
            add = functools.partial(self.report.add, title)
            samples = last.get(name, [])
            found = trend([(each.at, each.megabytes) for each in samples])
            if samples:
                add("resident memory, most", round(max(e.megabytes for e in samples), 1), "MB")
            add("growth in the last half", found and round(found.per_hour, 2), "MB/h")
            limit = GROWTH_LIMIT if judged else None
            add("the same", found and round(found.percent, 2), "%", limit)
        add = functools.partial(self.report.add, "all processes")
        add("workers that lived at some time", len(soak.watch.samples) - 1)
        for what, most in LEFT_LIMITS.items():
            add(f"{what} more than before the first call, most", soak.left(what), limit=most)

    async def _say_again_and_again(self, soak: Soak) -> None:
        while True:
            await asyncio.sleep(self.chosen.look_seconds * 6)
            now = [
                f"{name} {each[-1].megabytes:.0f} MB"
                for name, each in soak.watch.samples.items()
                if name in soak.watch.workers or name[0] == "s"
            ]
            self._say(
                f"{len(soak.callers.live)} calls live, {soak.injected.total()} faults; "
                + ", ".join(now)
            )

    def _say(self, line: str) -> None:
        seconds = time.monotonic() - self._begun
        self._progress.print(f"{seconds:6.1f} s  {line}", highlight=False, markup=False)


async def _until(what: str, holds: Callable[[], Awaitable[bool]], limit: float) -> None:
    """Wait until something holds.

    Raises:
        BenchmarkError: It does not within `limit` seconds.

    """
    deadline = time.monotonic() + limit
    while not await holds():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"not within {limit:g} s: {what}")
        await asyncio.sleep(0.1)


def _stopped(workers: Workers) -> int:
    """Have the server stop, and return its status."""
    workers.process.terminate()
    try:
        return workers.process.wait(EMPTY_SECONDS)
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"the server did not stop within {EMPTY_SECONDS:g} s") from None


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description="A server under calls that come and go, with a fault each second.",
    )
    parser.add_argument("--minutes", type=float, default=45.0, help="how long faults come")
    parser.add_argument("--calls", type=int, default=300, help="calls that are live at a time")
    parser.add_argument("--seed", type=int, default=1, help="of the faults")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything to FILE")
    parser.add_argument("--quick", action="store_true", help="only check that everything runs")
    chosen = parser.parse_args()
    if not 0.5 <= chosen.minutes <= 1_440:
        parser.error(f"{chosen.minutes:g} is not a number of minutes from 0.5 to 1440")
    if not 1 <= chosen.calls <= 1000:
        parser.error(f"{chosen.calls} is not a number of calls from 1 to 1000")
    if not REDIS_PROGRAM:
        print("redis-server is missing: install the package redis-server", file=sys.stderr)
        return 2
    chosen.lengths, chosen.patience, chosen.dead_after = (5.0, 120.0), 20.0, 10.0
    chosen.look_seconds = chosen.kept = 5.0
    if chosen.quick:
        chosen.minutes, chosen.calls, chosen.lengths = 10 / 60, 8, (0.8, 3.0)
        chosen.patience, chosen.dead_after, chosen.look_seconds, chosen.kept = 2.0, 3.0, 1.0, 0.5
    benchmark = Benchmark(chosen, Console(stderr=True))
    return report_on(benchmark, chosen, width=110, judges=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
