"""What an honest call hears beside an attacker of the same server.

    python -m benchmarks.hostile [--seconds 10] [--only "pings,new tracks"] [--json FILE]

README.md in this folder says what is measured and how to read it.
"""

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import uuid4
from xml.etree import ElementTree

import msgspec
import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.servers import Program


if not hasattr(os, "sched_setaffinity"):
    raise SystemExit("this benchmark pins processes to cores, which only works on Linux")

from benchmarks.attackers import ATTACKERS, Tally
from benchmarks.errors import BenchmarkError
from benchmarks.experiments import Experiments, Findings, a_while, arguments_of, report_on
from benchmarks.linux import pin_child, resident_bytes
from benchmarks.load import Server
from benchmarks.processes import running, stop
from benchmarks.rig import undisturbed
from benchmarks.root import ROOT
from benchmarks.servers.beside_attackers import BUSIEST
from benchmarks.servers.speech import RATE, speech
from mediaserver.sandbox import CallEnded, CallFailed, Phone


HEARD_GOAL = 100.0
"""Percent of its own echo that the honest call is to hear."""
OPENED_GOAL_MS = 100.0
"""Time in which `/answer` and the upgrade are to succeed, in milliseconds."""
LATE_LIMIT_MS = 15.0
"""If the phone's own ticks were this late, it cannot tell who caused a gap."""

TICK_MS = 20.0
"""Between two ticks of the phone an echo must come back."""
TURNS_OF_AN_ECHO = 3
"""Turns of the server's loop: the frame is read, the handler runs, the answer is written."""

LEAD_SECONDS = 0.7
"""Seconds of attack before the honest call."""
TAIL_SECONDS = 0.5
"""Seconds that the honest call waits for the end of its echo."""
UNREAD = "unread log"


class Row(msgspec.Struct):
    """An honest call beside one attacker.

    Attributes:
        opened_ms: time of `/answer` and of the upgrade together; None if one of them failed.
        heard: percent of its own echo that the caller heard.
        underrun_ms: silence in it.
        late_ms: the longest that one of the phone's ticks came late.
        busy_ms: the most CPU time of the server's event loop from one timer to the next.
        megabytes: by how much the server's memory grew.
        attack: what the attacker did.
        failed: why there was no call, or why it ended.

    """

    attacker: str
    opened_ms: float | None = None
    heard: float = 0.0
    underrun_ms: float = 0.0
    late_ms: float = 0.0
    busy_ms: float = 0.0
    megabytes: float = 0.0
    attack: Tally = msgspec.field(default_factory=Tally)
    failed: str = ""

    @property
    def reached(self) -> bool:
        """Whether the call was as if nobody attacked."""
        return (
            self.heard >= HEARD_GOAL
            and self.underrun_ms == 0
            and self.opened_ms is not None
            and (self.attacker != "idle connections" or self.opened_ms <= OPENED_GOAL_MS)
        )


class Report(Findings):
    """What the honest calls heard."""

    rows: list[Row] = msgspec.field(default_factory=list)

    def print(self, console: Console) -> None:
        """Print the table, then the doubts about it."""
        table = Table(title="An honest echo call beside each attacker", box=SIMPLE)
        table.add_column("attacker", no_wrap=True)
        for heading in (
            "opened\nms",
            "heard\n%",
            "underrun\nms",
            "phone late\nms",
            "loop busy\nms",
            "server grew\nMB",
            "attacker's\nconnections",
            "it sent\nMB",
            "its ends",
            "goal\nreached",
        ):
            table.add_column(heading, justify="right")
        for row in self.rows:
            ends = sorted(row.attack.ends.items(), key=lambda end: -end[1])
            table.add_row(
                row.attacker,
                "failed" if row.opened_ms is None else f"{row.opened_ms:.0f}",
                f"{row.heard:.1f}",
                f"{row.underrun_ms:.1f}",
                f"{row.late_ms:.1f}",
                f"{row.busy_ms:.1f}",
                f"{row.megabytes:.1f}",
                f"{row.attack.connections:,}",
                f"{row.attack.megabytes:.1f}",
                ", ".join(f"{times:,} x {how}" for how, times in ends),
                "yes" if row.reached else "[red]no",
            )
        console.print(table)
        self.print_doubts(console)

    def to_builtins(self) -> dict[str, Any]:
        """Return everything in the form of a JSON document."""
        document = super().to_builtins()
        for item, row in zip(document["rows"], self.rows, strict=True):
            item["reached"] = row.reached
        return document


class Benchmark(Experiments):
    """The chosen attackers, one after the other."""

    def __init__(self, chosen: argparse.Namespace, progress: Console) -> None:
        super().__init__(chosen, progress)
        self.report = Report(self.settings)
        # In a quick run, attackers share a server.
        self._shared: contextlib.ExitStack | None = None
        self._servers: dict[bool, Server] = {}
        self._busiest = Path()

    def run(self) -> None:
        """Run one attacker after the other."""
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            self._busiest = Path(folder, "seconds")
            os.environ[BUSIEST] = str(self._busiest)
            self._shared = stack if self.chosen.quick else None
            self.perform({name: partial(self._beside, name) for name in ATTACKERS}, self.report)

    @contextlib.contextmanager
    def _server(self, *, log_unread: bool) -> Iterator[Server]:
        program = Program(
            "mediaserver",
            "echo",
            (
                *("-m", "mediaserver", "serve"),
                "benchmarks.servers.beside_attackers:echo_or_raise",
                *("--max-calls", "1000"),
            ),
            health="/healthz",
        )
        run = partial(running, program, self.server_core, None, log_unread=log_unread)
        if self._shared is None:
            with run() as server:
                yield server
            return
        if log_unread not in self._servers:
            self._servers[log_unread] = self._shared.enter_context(run())
        yield self._servers[log_unread]

    def _beside(self, attacker: str) -> None:
        seconds = self.chosen.seconds
        with self._server(log_unread=attacker == UNREAD) as server:
            row = Row(attacker)
            before = resident_bytes(server.pid)
            self._busiest.unlink(missing_ok=True)
            attack = self._attack(attacker, server, LEAD_SECONDS + seconds + TAIL_SECONDS + 0.5)
            try:
                time.sleep(LEAD_SECONDS)
                undisturbed(call(server, row, seconds))
                output, errors = attack.communicate(timeout=seconds + 20)
                row.busy_ms = self._busy_ms()
                row.megabytes = (resident_bytes(server.pid) - before) / 1e6
            except subprocess.TimeoutExpired:
                raise BenchmarkError("the attacker did not stop") from None
            except OSError:
                raise BenchmarkError("the server has gone") from None
            finally:
                stop(attack)
            if attack.returncode != 0:
                raise BenchmarkError(f"the attacker failed: {errors.decode().splitlines()[-1:]}")
        row.attack = msgspec.json.decode(output, type=Tally)
        self.report.rows.append(row)
        self.say(f"{attacker}: heard {row.heard:.1f} %, underrun {row.underrun_ms:.1f} ms")
        self._doubt(row)

    def _busy_ms(self) -> float:
        try:
            return round(float(self._busiest.read_text()) * 1000, 1)
        except FileNotFoundError:  # no stream has started
            return 0.0

    def _doubt(self, row: Row) -> None:
        doubts = self.report.doubts
        if row.failed:
            doubts.append(f"{row.attacker}: the honest call failed: {row.failed}")
        if row.late_ms > LATE_LIMIT_MS:
            doubts.append(
                f"{row.attacker}: the phone was late by {row.late_ms:.0f} ms; "
                "an underrun may be its own"
            )
        if row.underrun_ms and 0 < TURNS_OF_AN_ECHO * row.busy_ms < TICK_MS:
            doubts.append(
                f"{row.attacker}: the server's loop was busy for at most {row.busy_ms:.1f} ms; "
                "an underrun is more likely the machine's or the phone's"
            )
        if not row.attack.connections and row.attacker != "nobody":
            doubts.append(f"{row.attacker}: it could not connect, so nothing was attacked")

    def _attack(self, attacker: str, server: Server, seconds: float) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                *("nice", sys.executable, "-m", "benchmarks.attackers"),
                *(attacker, server.url, str(seconds)),
            ],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=partial(pin_child, self.phones_core),
        )


async def call(server: Server, row: Row, seconds: float) -> None:
    """Make an honest call: ask `/answer` for the stream's URL, open it, and hear the own echo."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    try:
        url = await asyncio.to_thread(answer, urlsplit(server.url).netloc)
        phone = Phone(url, audio=speech(seconds), audio_rate=RATE, gap_threshold=600.0)
        await phone.start()
    except (OSError, CallFailed, ElementTree.ParseError) as error:
        row.failed = repr(error)
        return
    row.opened_ms = (loop.time() - begun) * 1000
    try:
        async with asyncio.timeout(seconds + 30):
            await phone.wait_until(seconds + TAIL_SECONDS)
    except (CallEnded, TimeoutError) as error:
        row.failed = str(error)
    finally:
        await phone.hang_up()
    report = phone.report()
    assert report.recording is not None
    said, heard = (np.count_nonzero(side) for side in report.recording.T)
    row.heard = min(100.0, round(100 * float(heard) / max(1, float(said)), 1))
    row.underrun_ms = round(report.gap_seconds * 1000, 1)
    row.late_ms = round(report.sender_lateness * 1000, 1)


def answer(authority: str) -> str:
    """Return the URL of the stream that a new call is answered with.

    Raises:
        OSError: the server did not answer.

    """
    form = {"CallUUID": str(uuid4()), "From": "14155550100", "To": "14155550199"}
    request = urllib.request.Request(
        f"http://{authority}/answer", urlencode(form | {"Event": "StartApp"}).encode()
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        url = ElementTree.fromstring(response.read())[0].text
    if not url or not url.startswith("ws://"):
        raise OSError(f"the call was answered without a stream: {url!r}")
    return url


def main() -> int:
    parser = arguments_of(
        "hostile", "What an honest call hears beside an attacker of the same server.", ATTACKERS
    )
    parser.add_argument("--seconds", type=a_while, default=10.0, help="length of each call")
    chosen = parser.parse_args()
    chosen.calls = 1
    if chosen.quick:
        chosen.seconds = 1.0
    benchmark = Benchmark(chosen, Console(stderr=True))
    status = report_on(benchmark, chosen, width=120)
    missed = not chosen.quick and not all(row.reached for row in benchmark.report.rows)
    return status or int(missed)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
