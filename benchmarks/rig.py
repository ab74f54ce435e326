"""A server on one core, phones in this process on another: what both did in a stretch of time."""

import asyncio
import gc
import http.client
import os
import re
import time
from collections.abc import Coroutine
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from benchmarks.conversing import Callers
from benchmarks.linux import cpu_seconds, resident_bytes, waited_seconds
from benchmarks.load import Server
from benchmarks.processes import BenchmarkError
from mediaserver.sandbox import LoadReport, load


T = TypeVar("T")

Metrics = dict[str, float]


class Window(msgspec.Struct):
    """What happened between two moments, while all calls were up.

    Attributes:
        begin: when it began, on the monotonic clock.
        end: when it ended.
        server_cpu: share of its core that the server took.
        phones_cpu: the same for the phones.
        server_waited: share of the time that other processes kept the server off its core.
        phones_waited: the same for the phones.
        server_bytes: resident memory of the server at the end of it.
        metrics: by how much the server's own counters rose, and its gauges at the end of it.
        load: the phones' report, of the whole run.

    """

    begin: float
    end: float
    server_cpu: float
    phones_cpu: float
    server_waited: float
    phones_waited: float
    server_bytes: int
    metrics: Metrics
    load: LoadReport

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.end - self.begin

    @property
    def disturbance(self) -> float:
        """Share of the time that others held the core of the server or the phones."""
        return max(self.server_waited, self.phones_waited)

    @property
    def cpu_seconds(self) -> float:
        """CPU time of the server."""
        return self.server_cpu * self.seconds

    @property
    def lost(self) -> int:
        """Calls that were not taken, or were cut."""
        return sum(self.load.failed.values()) + sum(self.load.cut.values())


class _Moment(msgspec.Struct):
    time: float
    server_cpu: float
    phones_cpu: float
    server_waited: float
    phones_waited: float
    metrics: Metrics


async def _moment(server: Server, measured: bool) -> _Moment:
    # Asked for in a thread: the phones go on meanwhile.
    metrics = await asyncio.to_thread(read_metrics, server) if measured else {}
    return _Moment(
        time.monotonic(),
        cpu_seconds(server.pid),
        cpu_seconds(os.getpid()),
        waited_seconds(server.pid),
        waited_seconds(os.getpid()),
        metrics,
    )


async def _observe(
    server: Server,
    callers: Callers,
    *,
    calls: int,
    ramp: float,
    warm_up: float,
    seconds: float,
    tail: float,
    measured: bool,
) -> Window:
    dialling = calls / ramp
    async with asyncio.timeout(dialling + warm_up + seconds + tail + 40):
        calling = asyncio.create_task(
            load(
                server.url,
                calls=calls,
                seconds=dialling + warm_up + seconds + tail + 10,
                ramp=ramp,
                caller=callers.call,
            )
        )
        try:
            await asyncio.wait([calling], timeout=dialling + warm_up)
            first = await _moment(server, measured)
            await asyncio.wait([calling], timeout=seconds)
            last = await _moment(server, measured)
            server_bytes = resident_bytes(server.pid)
            await asyncio.wait([calling], timeout=tail)
            await callers.hang_up()
            report = await calling
        finally:
            calling.cancel()
    elapsed = last.time - first.time
    return Window(
        begin=first.time,
        end=last.time,
        server_cpu=(last.server_cpu - first.server_cpu) / elapsed,
        phones_cpu=(last.phones_cpu - first.phones_cpu) / elapsed,
        server_waited=(last.server_waited - first.server_waited) / elapsed,
        phones_waited=(last.phones_waited - first.phones_waited) / elapsed,
        server_bytes=server_bytes,
        metrics=_risen(first.metrics, last.metrics),
        load=report,
    )


def _risen(first: Metrics, last: Metrics) -> Metrics:
    """Return by how much counters rose; gauges as they were last."""
    risen = dict(last)
    for name, value in first.items():
        if name.partition("{")[0].endswith(("_total", "_count", "_sum", "_bucket")):
            risen[name] = last[name] - value
    return risen


def observe(
    server: Server,
    callers: Callers,
    *,
    calls: int,
    ramp: float,
    warm_up: float,
    seconds: float,
    tail: float = 2.5,
    measured: bool = True,
) -> Window:
    """Have phones call a server, and watch both for `seconds` while all calls are up.

    Args:
        server: whom they call.
        callers: what they do.
        calls: how many.
        ramp: calls dialled in a second.
        warm_up: seconds from the last of them to the beginning.
        seconds: how long to watch.
        tail: how long the calls go on after that, so that all questions are answered.
        measured: whether the server has metrics.

    Raises:
        BenchmarkError: the phones failed.

    """
    work = _observe(
        server,
        callers,
        calls=calls,
        ramp=ramp,
        warm_up=warm_up,
        seconds=seconds,
        tail=tail,
        measured=measured,
    )
    return undisturbed(work)


def undisturbed(work: Coroutine[Any, Any, T]) -> T:
    """Run the phones with as few pauses as can be: nothing that is older is collected.

    Raises:
        BenchmarkError: the phones failed.

    """
    gc.collect()
    gc.freeze()
    try:
        # Not uvloop: its clock has steps of 1 ms, and stands still within one turn of the loop.
        return asyncio.run(work)
    except (TimeoutError, ExceptionGroup) as error:
        raise BenchmarkError(f"the phones failed: {error!r}") from error
    finally:
        gc.unfreeze()


def read_metrics(server: Server) -> Metrics:
    """Return the server's own figures by name and labels, without the prefix of the names.

    Raises:
        BenchmarkError: it did not answer.

    """
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    except OSError as error:
        raise BenchmarkError(f"/metrics did not answer: {error}") from error
    finally:
        connection.close()
    found = re.findall(r"^mediaserver_(\w+(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}
