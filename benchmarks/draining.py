"""Stops a server in the middle of its calls, and polls its endpoints meanwhile."""

import asyncio
import http.client
import os
import signal
from collections.abc import Callable
from random import Random
from urllib.parse import urlencode, urlsplit

import msgspec

from benchmarks.load import Server
from mediaserver.sandbox import CallReport, LoadReport, Phone, load


POLL_INTERVAL = 0.1
EXIT_SECONDS = 20.0
"""Seconds after the last call within which the process must end, or it counts as hung."""

_HTTP_TIMEOUT = 5.0
_CALL = {"CallUUID": "drain-benchmark", "From": "14155550100", "To": "14155550199"}


class DrainResult(msgspec.Struct, frozen=True):
    """What became of the calls, and what the endpoints answered.

    Attributes:
        calls: calls that were live when the signal came.
        cut: how many of those did not end by their caller's hangup.
        gap_ms: silence in the speech of all calls together.
        asked: requests sent until the last call had ended, by endpoint.
        unanswered: how many of those got no answer or a status other than 200.
        streams_promised: replies of `/answer` after the signal that still took a new call.
        drained_ms: from the last call's end to the end of the process.
        exit_status: minus the signal's number if a signal killed it, None if it never ended.

    """

    calls: int
    cut: int
    gap_ms: float
    asked: dict[str, int]
    unanswered: dict[str, int]
    streams_promised: int
    drained_ms: float
    exit_status: int | None


async def drain(server: Server, calls: int, most_seconds: float) -> DrainResult:
    """Have `calls` phones call, send SIGTERM, and let them hang up one by one.

    Args:
        server: a server that speaks for longer than anyone listens.
        calls: how many calls.
        most_seconds: how long after the signal the last of them hangs up.

    """
    loop = asyncio.get_running_loop()
    random = Random(calls)
    signalled: asyncio.Future[float] = loop.create_future()
    ends: list[float] = []
    live: list[Phone] = []
    all_live = asyncio.Event()

    async def caller(phone: Phone) -> None:
        live.append(phone)
        if len(live) == calls:
            all_live.set()
        await asyncio.shield(signalled)
        await asyncio.sleep(random.uniform(most_seconds / 3, most_seconds))
        await phone.hang_up()

    def ended(report: CallReport) -> None:
        ends.append(loop.time())

    longest = calls / 50 + most_seconds + 20
    async with asyncio.timeout(longest + EXIT_SECONDS), asyncio.TaskGroup() as group:
        calling = group.create_task(
            load(server.url, calls=calls, seconds=longest, caller=caller, on_report=ended)
        )
        async with asyncio.timeout(15):
            await all_live.wait()
        await asyncio.sleep(min(1.0, most_seconds / 3))
        os.kill(server.pid, signal.SIGTERM)
        signalled.set_result(loop.time())
        polls = _Polls(server.url)
        status = await polls.until_gone(server.pid, lambda: calling.done())
        gone = loop.time()
    report: LoadReport = calling.result()
    last = max(ends)
    return DrainResult(
        calls=report.made,
        cut=sum(report.cut.values()),
        gap_ms=report.gap_seconds * 1000,
        asked=polls.count(last, lambda good: True),
        unanswered=polls.count(last, lambda good: not good),
        streams_promised=polls.promised,
        drained_ms=max(0.0, gone - last) * 1000,
        exit_status=status,
    )


class _Polls:
    """Requests to every endpoint, ten times a second, each on a new connection."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url).netloc
        self._loop = asyncio.get_running_loop()
        # When the request began, the endpoint, and whether the answer was 200.
        self._answers: list[tuple[float, str, bool]] = []
        self.promised = 0

    async def until_gone(self, pid: int, calls_over: Callable[[], bool]) -> int | None:
        """Send requests until the process has ended, and return its exit status."""
        deadline: float | None = None
        while (status := _exit_status(pid)) is None:
            if deadline is None and calls_over():
                deadline = self._loop.time() + EXIT_SECONDS
            if deadline is not None and self._loop.time() > deadline:
                return None
            interval = self._loop.create_task(asyncio.sleep(POLL_INTERVAL))
            await asyncio.gather(*map(self._ask, ("/healthz", "/metrics", "/answer")), interval)
        return status

    def count(self, until: float, which: Callable[[bool], bool]) -> dict[str, int]:
        """Return how many requests sent before `until` had such an answer, by endpoint."""
        counts = dict.fromkeys(("/healthz", "/metrics", "/answer"), 0)
        for time, path, good in self._answers:
            if time < until and which(good):
                counts[path] += 1
        return counts

    async def _ask(self, path: str) -> None:
        began = self._loop.time()
        form = _CALL | {"Event": "StartApp"} if path == "/answer" else None
        status, body = await asyncio.to_thread(self._request, path, form)
        self._answers.append((began, path, status == 200))
        if b"<Stream" in body:
            # Accepted just before new calls were refused; its caller hangs up at once.
            self.promised += 1
            await asyncio.to_thread(self._request, path, _CALL | {"Event": "Hangup"})

    def _request(self, path: str, form: dict[str, str] | None) -> tuple[int | None, bytes]:
        connection = http.client.HTTPConnection(self._address, timeout=_HTTP_TIMEOUT)
        try:
            if form is None:
                connection.request("GET", path)
            else:
                kind = {"Content-Type": "application/x-www-form-urlencoded"}
                connection.request("POST", path, urlencode(form), kind)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return None, b""
        finally:
            connection.close()


def _exit_status(pid: int) -> int | None:
    """Return how a child process ended, without reaping it; None while it runs."""
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if ended is None:
        return None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
