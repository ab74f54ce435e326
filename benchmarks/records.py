"""What records, traces and metrics cost, and whether a record is lost.

Records are lost, if at all, while the database is away and at SIGKILL.

    python -m benchmarks.records [--only call,agents,away,kill] [--calls 100] [--seconds 60]
                                 [--json FILE]

README.md in this folder says what is measured and how to read it.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import msgspec
from rich.console import Console
from websockets.asyncio.client import connect


if not hasattr(os, "sched_setaffinity"):
    raise SystemExit("this benchmark pins processes to cores, which only works on Linux")

from benchmarks.conversing import Asking
from benchmarks.errors import BenchmarkError
from benchmarks.experiments import Experiments, Findings, a_while, arguments_of, report_on
from benchmarks.linux import cpu_seconds
from benchmarks.load import Server
from benchmarks.processes import running
from benchmarks.rig import observe
from benchmarks.servers import Program
from benchmarks.voices import questions, short_question
from mediaserver.call import StreamCounters, Turn, Usage
from mediaserver.records.call_records import CallRecords
from mediaserver.records.recorded_call import RecordedCall
from mediaserver.settings import Settings


EXPERIMENTS = ("call", "agents", "away", "kill")
GOAL = 5.0
"""Percent of the CPU of 100 VoiceAgent calls, for records, traces and metrics together."""

TURNS = 10
TALK = 0.4
"""Share of the time in which callers speak."""

RATE = 20.0
"""Short calls that begin in a second, where losses are counted."""

SCRAPED_EVERY = 5.0
"""Seconds between two scrapes of the metrics: three times as often as Prometheus' default."""

_SETTLES = 4.0
"""Seconds in which a server has imported everything."""
_TOLD = 7.0
"""Seconds in which a server has recorded and exported what calls have told: spans wait for 5."""
_ARRIVES = 30.0
"""Seconds for the last records to come to the database."""


class Benchmark(Experiments):
    """The chosen experiments, one after the other."""

    def __init__(self, chosen: argparse.Namespace, progress: Console) -> None:
        super().__init__(chosen, progress)
        self.report = Findings(self.settings, "Call records")

    def run(self) -> None:
        """Run one experiment after the other."""
        self.perform(
            {"call": self._call, "agents": self._agents, "away": self._away, "kill": self._kill},
            self.report,
        )

    # What they cost

    def _call(self) -> None:
        """Record many calls in this process, without a call."""
        count = 200 if self.chosen.quick else 3_000
        with folder() as path:
            in_loop, whole = asyncio.run(record_calls(path, count))
        add = self.report.add
        add("call", f"a call with {TURNS} turns: on the event loop", round(in_loop, 1), "µs")
        add("call", "in all: loop, journal, database (SQLite)", round(whole, 1), "µs")

    def _agents(self) -> None:
        calls, used = self.chosen.calls, dict[bool, list[float]]()
        for watched in (False, True) if self.chosen.quick else (False, True, True, False):
            self.say(f"agents, {'with' if watched else 'without'} records, traces and metrics …")
            seconds = self._watched_agents() if watched else self._agents_alone()
            used.setdefault(watched, []).append(seconds)
            self.say(f"agents: {seconds:.1f} s of CPU")
        without, having = (statistics.mean(used[each]) for each in (False, True))
        add = self.report.add
        add("agents", f"CPU of {calls} calls without any of it", round(without, 2), "s")
        add("agents", "with records, traces and metrics", round(having, 2), "s")
        add("agents", "more", round(100 * (having / without - 1), 1), "%", GOAL)
        spread = max(abs(a - b) for a, b in used.values()) if not self.chosen.quick else 0.0
        add("agents", "between two equal runs", round(100 * spread / without, 1), "%")

    def _agents_alone(self) -> float:
        with running(voice_agents(), self.server_core, None) as server:
            return self._cpu_of_calls(server)

    def _watched_agents(self) -> float:
        calls = self.chosen.calls
        with folder() as path, running(TRACE_RECEIVER, self.phones_core, None) as receiver:
            agents = voice_agents(*records_in(path), "--traces")
            with (
                environment(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url.replace("ws:", "http:")),
                running(agents, self.server_core, None) as server,
                scraping(server, SCRAPED_EVERY) as scrapes,
            ):
                seconds = self._cpu_of_calls(server)
            # The last spans are sent when the server stops.
            come = {"recorded": len(ended_in(path)), "traced": spans_at(receiver).get("call", 0)}
        for what, number in come.items():
            if number != calls:
                self.report.doubts.append(f"agents: {number} of {calls} calls were {what}")
        if not scrapes:
            self.report.doubts.append("agents: the metrics were not scraped")
        return seconds

    def _cpu_of_calls(self, server: Server) -> float:
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
        time.sleep(_TOLD)
        if window.lost:
            self.report.doubts.append(f"agents: {window.lost} calls were lost: too busy?")
        return cpu_seconds(server.pid) - before

    # What is lost

    def _away(self) -> None:
        seconds = 5.0 if self.chosen.quick else 60.0
        with folder() as path, running(echo(*records_in(path)), self.server_core, None) as server:
            wait_until(lambda: (path / "calls.db").exists())
            time.sleep(_SETTLES)
            self.say(f"away: {seconds:g} s with a locked database …")
            with locked(path / "calls.db"):
                calls = asyncio.run(ShortCalls(server, RATE).during(seconds))
            names = set(calls.ended)
            with contextlib.suppress(BenchmarkError):
                wait_until(lambda: names <= set(ended_in(path)))
            lost = names - set(ended_in(path))
        add = self.report.add
        add("away", f"calls that ended within {seconds:g} s without a database", len(names))
        add("away", "not in the records afterwards", len(lost), limit=0)
        if calls.failed:
            self.report.doubts.append(f"away: {calls.failed} calls failed")

    def _kill(self) -> None:
        with folder() as path:
            with running(echo(*records_in(path)), self.server_core, None) as server:
                time.sleep(_SETTLES)
                self.say("kill: SIGKILL among calls …")
                load = ShortCalls(server, RATE)
                calls = asyncio.run(load.during(5.0, live=10))
                killed = time.monotonic()
                os.kill(server.pid, signal.SIGKILL)
            with running(echo(*records_in(path)), self.server_core, None):
                wait_until(lambda: (path / "calls.db").exists())
                with contextlib.suppress(BenchmarkError):
                    wait_until(lambda: set(calls.begun) <= set(ended_in(path)))
            found = ended_in(path)
        older = {name for name, at in calls.begun.items() if at < killed - 1.0}
        ended = {name for name, at in calls.ended.items() if at < killed - 1.0}
        add = self.report.add
        add("kill", "calls that had begun more than 1 s before", len(older))
        add("kill", "not in the records", len(older - set(found)), limit=0)
        wrong = sum(found.get(name) == "process_lost" for name in ended)
        add("kill", "ended more than 1 s before, and counted as lost", wrong, limit=0)
        newest = set(calls.begun) - older
        add("kill", "begun in the last second, not in the records", len(newest - set(found)))
        live = sum(found.get(name) == "process_lost" for name in calls.live)
        add("kill", "live calls without the end `process_lost`", len(calls.live) - live, limit=0)


class ShortCalls:
    """Calls that begin at a rate, talk for a moment, and end.

    Attributes:
        begun: when each began, by its id, on the monotonic clock.
        ended: when each was over.
        live: those that do not end.
        failed: calls that went wrong.

    """

    def __init__(self, server: Server, rate: float) -> None:
        self._url = server.url
        self._rate = rate
        self.begun: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self.live: set[str] = set()
        self.failed = 0

    async def during(self, seconds: float, *, live: int = 0) -> "ShortCalls":
        """Make calls for a while; the live ones are still up when it returns."""
        tasks = [asyncio.create_task(self._hold(f"live-{each}")) for each in range(live)]
        begin = time.monotonic()
        for number in range(int(seconds * self._rate)):
            await asyncio.sleep(max(0.0, begin + number / self._rate - time.monotonic()))
            tasks.append(asyncio.create_task(self._short(f"call-{number}")))
        brief = tasks[live:]
        if not live:
            await asyncio.wait(brief, timeout=30)
        for task in tasks[:live]:
            task.cancel()
        return self

    async def _short(self, name: str) -> None:
        try:
            async with connect(self._url) as socket:
                await self._start(socket, name)
                await asyncio.sleep(0.2)
        except OSError:
            self.failed += 1
        else:
            self.ended[name] = time.monotonic()

    async def _hold(self, name: str) -> None:
        socket = await connect(self._url)
        await self._start(socket, name)
        self.live.add(name)
        _HELD.append(socket)

    async def _start(self, socket: object, name: str) -> None:
        start = {
            "callId": name,
            "streamId": f"s-{name}",
            "accountId": "MA1",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000},
        }
        message = {"event": "start", "sequenceNumber": 1, "start": start, "extra_headers": "{}"}
        await socket.send(json.dumps(message))  # type: ignore[attr-defined]
        self.begun[name] = time.monotonic()


_HELD: list[object] = []
"""Sockets that stay open when their event loop is gone."""


async def record_calls(path: Path, count: int) -> tuple[float, float]:
    """Record calls, and return the CPU per call in µs: of the event loop, and of the process."""
    settings = Settings(records=str(path / "calls.db"), records_journal=path / "journals")  # type: ignore[arg-type]
    records = CallRecords(settings, "node1/w1")
    async with records.running():
        await asyncio.to_thread(wait_until, lambda: (path / "calls.db").exists())
        await asyncio.sleep(1.0)
        whole, loop = time.process_time(), 0.0
        for _ in range(count // 50):
            begin = time.thread_time()
            for _ in range(50):
                record_one(records)
            loop += time.thread_time() - begin
            await asyncio.sleep(0.01)
        events = count // 50 * 50 * (2 + TURNS)
        await asyncio.to_thread(wait_until, lambda: records.figures.stored == events)
        whole = time.process_time() - whole
    return loop / count * 1e6, whole / count * 1e6


def record_one(records: CallRecords) -> None:
    """Record a call with turns."""
    record: RecordedCall = records.begin(
        call_id="78737f83-4660-490d-98e1-025dfe4b5c8f",
        stream_id="20170ada-f610-433b-8758-c02a2aab3662",
        account_id="MAXXXXXXXXXXXXXXXXXX",
        direction="inbound",
        caller="14155550100",
        called="14155550199",
        handler="Shop",
        route="/stream",
        path="/stream",
        format="audio/x-mulaw;rate=8000",
        tracks=("inbound",),
    )
    record.begin()
    counters = StreamCounters()
    for number in range(TURNS):
        turn = Turn(number=number, agent="We have one.", audio_heard=0.9, usage=Usage(tokens_in=90))
        counters.turns.count(turn)
        record.turn(turn, time.time())
    record.over(
        at=time.time(),
        seconds=60.0,
        cause="plivo",
        reason="Plivo stopped the stream",
        error=None,
        stream_id=None,
        counters=counters,
        loop_lag=0.01,
        first_audio=0.2,
        recording=None,
    )


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Yield a folder for a database and its journals."""
    with tempfile.TemporaryDirectory(prefix="records-") as path:
        yield Path(path)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Have a database answer nobody."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


def ended_in(path: Path) -> dict[str, str]:
    """Return the causes of the calls that are over, by id."""
    with contextlib.closing(sqlite3.connect(path / "calls.db", timeout=30)) as connection:
        return dict(
            connection.execute("SELECT call_id, cause FROM calls WHERE ended_at IS NOT NULL")
        )


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait.

    Raises:
        BenchmarkError: it took too long.

    """
    limit = time.monotonic() + _ARRIVES
    while not holds():
        if time.monotonic() > limit:
            raise BenchmarkError(f"nothing came of it within {_ARRIVES:g} s")
        time.sleep(0.1)


def records_in(path: Path) -> tuple[str, ...]:
    """Return the options of a server that records calls in a folder."""
    return ("--records", str(path / "calls.db"), "--records-journal", str(path / "journals"))


@contextlib.contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Have programs that are started in the block see these variables."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def scraping(server: Server, seconds: float) -> Iterator[list[int]]:
    """Read a server's metrics every few seconds; yield the number of bytes of each answer."""
    sizes: list[int] = []
    over = threading.Event()

    def scrape() -> None:
        while not over.wait(seconds):
            # A server that is too busy to answer is the report's to tell.
            with contextlib.suppress(OSError):
                sizes.append(len(fetched(server, "/metrics")))

    thread = threading.Thread(target=scrape, name="scraping")
    thread.start()
    try:
        yield sizes
    finally:
        over.set()
        thread.join()


def fetched(server: Server, path: str) -> bytes:
    """Return what a server answers.

    Raises:
        OSError: it does not.

    """
    url = f"http://{urlsplit(server.url).netloc}{path}"
    with urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
    return body


def spans_at(receiver: Server) -> dict[str, int]:
    """Return how many spans have come to a receiver of traces, by name."""
    return msgspec.json.decode(fetched(receiver, "/spans"), type=dict[str, int])


def echo(*options: str) -> Program:
    """Return a server that echoes."""
    return _served("mediaserver.agents:Echo", "--reconnect-seconds", "0", *options)


def voice_agents(*options: str) -> Program:
    """Return a server of voice agents, with mock services."""
    return _served("benchmarks.servers.voice_agents:Answering", *options)


def _served(handler: str, *options: str) -> Program:
    serve = ("-m", "mediaserver", "serve", handler, "--max-calls", "1000", "--log-level", "error")
    return Program(handler, "is recorded", (*serve, *options), health="/readyz")


TRACE_RECEIVER = Program(
    "trace receiver", "counts spans", ("-m", "benchmarks.trace_receiver"), path="", health="/spans"
)


def main() -> int:
    """Return the exit status."""
    parser = arguments_of("records", "What call records cost, and lose.", EXPERIMENTS)
    parser.add_argument("--calls", type=int, default=100, help="calls of voice agents")
    parser.add_argument("--seconds", type=a_while, default=60.0, help="how long they are watched")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.calls, chosen.seconds = 4, 5.0
    progress = Console(stderr=True)
    return report_on(Benchmark(chosen, progress), chosen, width=110)


if __name__ == "__main__":
    sys.exit(main())
