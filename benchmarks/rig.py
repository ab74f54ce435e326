"""A server on one core and phones in this process on another, observed for a stretch of time."""

import asyncio
import gc
import http.client
import os
import time
from collections.abc import Coroutine
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from benchmarks.conversing import Callers
from benchmarks.errors import BenchmarkError
from benchmarks.linux import cpu_seconds, resident_bytes, waited_seconds
from benchmarks.load import Server
from benchmarks.server_metrics import Metrics, metrics_in
from mediaserver.sandbox import LoadReport, load


T = TypeVar("T")


class Window(msgspec.Struct):
    """What happened between two moments, while all calls were up.

    Attributes:
        begin: when it began, on the monotonic clock.
        end: when it ended.
        server_cpu: share of its core that the server used.
        phones_cpu: the same for the phones.
        server_waited: share of the time in which other processes held the server's core.
        phones_waited: the same for the phones.
        server_bytes: resident memory of the server at the end of it.
        metrics: the increase of the server's own counters, and its gauges at the end.
        load: the phones' report on the whole run.

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
        """Share of the time in which other processes held either core."""
        return max(self.server_waited, self.phones_waited)

    @property
    def cpu_seconds(self) -> float:
        """CPU time of the server."""
        return self.server_cpu * self.seconds

    @property
    def lost(self) -> int:
        """Calls that were refused or cut."""
        return sum(self.load.failed.values()) + sum(self.load.cut.values())


class _Moment(msgspec.Struct):
    time: float
    server_cpu: float
    phones_cpu: float
    server_waited: float
    phones_waited: float
    metrics: Metrics


async def _moment(server: Server, measured: bool) -> _Moment:
    # Requested in a thread, so that the phones continue meanwhile.
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
    """Return the increase of counters, and the last value of gauges."""
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
        server: the server that they call.
        callers: what they do.
        calls: how many calls.
        ramp: calls dialled per second.
        warm_up: seconds from the last of them to the start of the observation.
        seconds: how long to watch.
        tail: seconds that the calls continue after that, so that all questions are answered.
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
    """Run the phones with few garbage collection pauses: older objects are not collected.

    Raises:
        BenchmarkError: the phones failed.

    """
    gc.collect()
    gc.freeze()
    try:
        # Not uvloop: its clock has steps of 1 ms and stands still during a turn of the loop.
        return asyncio.run(work)
    except (TimeoutError, ExceptionGroup) as error:
        raise BenchmarkError(f"the phones failed: {error!r}") from error
    finally:
        gc.unfreeze()


def read_metrics(server: Server) -> Metrics:
    """Return the server's own metrics by name, without the prefix, and labels.

    Those of several handlers are added up, and have no label ``handler``.

    Raises:
        BenchmarkError: the server did not answer.

    """
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    except OSError as error:
        raise BenchmarkError(f"/metrics did not answer: {error}") from error
    finally:
        connection.close()
    return metrics_in(text)
