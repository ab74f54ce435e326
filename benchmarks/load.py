"""The load process of the transport benchmark: many callers on one core, and their results.

`benchmarks.transport` starts it, passes a `Load` as JSON in the first argument, and reads the
result, also JSON, from standard output.
"""

import asyncio
import gc
import math
import os
import ssl
import sys
import time
from typing import NamedTuple

import msgspec
import numpy as np
import uvloop

from benchmarks.caller import FRAME_SECONDS, Caller, Ledger, ready_tails
from benchmarks.linux import cpu_seconds, resident_bytes, waited_seconds


class Server(msgspec.Struct, frozen=True):
    """The server under load.

    Attributes:
        url: `ws://…` or `wss://…`.
        pid: its process, to read CPU time and memory.
        ca_file: PEM file of the authority that signed its certificate.
        in_order: its replies carry no marker; the n-th reply answers the n-th frame.

    """

    url: str
    pid: int
    ca_file: str | None
    in_order: bool


class EchoLoad(msgspec.Struct, frozen=True, tag=True):
    """Calls that talk all the time.

    Attributes:
        spin: never sleep. The server's sends would have to wake a load that sleeps, which costs the
            server CPU that remote callers would not cost; and uvloop's timers, whose resolution is
            1 ms, would send 200 calls' frames in bunches of ten. Only for a load with its own core.

    """

    server: Server
    calls: int
    warm_up: float
    seconds: float
    spin: bool


class IdleLoad(msgspec.Struct, frozen=True, tag=True):
    """Calls that are open but silent."""

    server: Server
    calls: int


class EchoResult(msgspec.Struct, frozen=True):
    """One measured window.

    Attributes:
        seconds: its length.
        sent: frames sent within it.
        echoed: replies that arrived within it, counted in frames.
        lost: frames sent within it that were never answered.
        garbled: replies, over the whole run, in which no frame of that caller was found.
        duplicates: frames, over the whole run, answered more than once.
        disconnected: calls, over the whole run, that the server ended.
        server_cpu: CPU seconds of the server process within it.
        server_waited: share of the window in which other processes held the server's core.
        load_waited: the same for the load.
        latency_*_ms: from just before a frame is sent to its reply's arrival.
        lateness_*_ms: how long after its deadline the load sent a frame.
        load_busy: share of its core that the load used, without polls that found nothing.

    """

    seconds: float
    sent: int
    echoed: int
    lost: int
    garbled: int
    duplicates: int
    disconnected: int
    server_cpu: float
    server_waited: float
    load_waited: float
    latency_p50_ms: float
    latency_p99_ms: float
    latency_max_ms: float
    lateness_p99_ms: float
    lateness_max_ms: float
    load_busy: float

    @property
    def us_per_frame(self) -> float:
        """Microseconds of the server's CPU for one frame in and out."""
        return self.server_cpu / self.echoed * 1e6 if self.echoed else math.inf

    @property
    def disturbance(self) -> float:
        """Share of the window in which other processes held either core."""
        return max(self.server_waited, self.load_waited)


class IdleResult(msgspec.Struct, frozen=True):
    """Resident memory with few and with many calls open.

    Attributes:
        few, many: how many calls.
        few_bytes, many_bytes: resident memory of the server with that many calls open.
        disconnected: calls that the server ended meanwhile; if any, the result is void.
        seconds: how long the first calls had been silent at the end of the measurement.

    """

    few: int
    few_bytes: int
    many: int
    many_bytes: int
    disconnected: int
    seconds: float

    @property
    def kib_per_call(self) -> float:
        """KiB that one more idle call takes."""
        return (self.many_bytes - self.few_bytes) / (self.many - self.few) / 1024


class Mark(NamedTuple):
    """The counters at one end of the measured window."""

    number: int
    echoed: int
    server_cpu: float
    server_waited: float
    load_busy: float
    load_waited: float
    time: float


class Ticker:
    """Sends frames, evenly spread over the callers, at absolute deadlines.

    Attributes:
        number: the number of the next frame.
        lateness: seconds after its deadline at which each frame was sent.

    """

    def __init__(self, callers: list[Caller], ledger: Ledger, *, spin: bool) -> None:
        self.number = 0
        self.lateness: list[float] = []
        self._callers = callers
        self._ledger = ledger
        self._spin = spin
        self._step = FRAME_SECONDS / len(callers)
        self._loop = asyncio.get_running_loop()
        self._first = self._last_tick = time.perf_counter()
        self._frames_seen = 0
        self._spin_busy = 0.0
        self._next_tick: asyncio.Handle = self._loop.call_soon(self._tick)

    @property
    def busy(self) -> float:
        """Seconds spent on sending and receiving so far."""
        return self._spin_busy if self._spin else time.process_time()

    def stop(self) -> None:
        """Send no more."""
        self._next_tick.cancel()

    def _tick(self) -> None:
        if self._spin:
            self._next_tick = self._loop.call_soon(self._tick)
            self._account()
        else:
            self._next_tick = self._loop.call_later(0.001, self._tick)
        # at most one round, however late it is: replies must be read too
        for _ in self._callers:
            late = time.perf_counter() - self._first - self.number * self._step
            if late < 0:
                return
            self.lateness.append(late)
            self._callers[self.number % len(self._callers)].send_frame(self.number)
            self.number += 1

    def _account(self) -> None:
        """Count the loop's last turn as busy if a frame was sent or received in it."""
        now = time.perf_counter()
        frames = self.number + self._ledger.echoed
        if frames != self._frames_seen:
            self._spin_busy += now - self._last_tick
            self._frames_seen = frames
        self._last_tick = now


async def measure_echo(load: EchoLoad) -> EchoResult:
    """Let all callers talk, and measure between warm-up and end."""
    # leaves room in case the sleeps below take longer than requested
    rounds = int((load.warm_up + load.seconds + 5) / FRAME_SECONDS)
    ledger = Ledger(load.calls, rounds * load.calls)
    tails = ready_tails()
    callers = [Caller(n, ledger, tails, in_order=load.server.in_order) for n in range(load.calls)]
    await _connect(callers, load.server)
    gc.collect()
    gc.disable()
    ticker = Ticker(callers, ledger, spin=load.spin)

    def mark() -> Mark:
        return Mark(
            ticker.number,
            ledger.echoed,
            cpu_seconds(load.server.pid),
            waited_seconds(load.server.pid),
            ticker.busy,
            waited_seconds(os.getpid()),
            time.perf_counter(),
        )

    try:
        await asyncio.sleep(load.warm_up)
        begin = mark()
        await asyncio.sleep(load.seconds)
        end = mark()
    finally:
        ticker.stop()
    seconds = end.time - begin.time
    window = slice(begin.number, end.number)
    for _ in range(20):
        if not any(map(math.isnan, ledger.latency[window])):
            break
        await asyncio.sleep(0.1)
    latency = np.array(ledger.latency[window]) * 1e3
    lateness = np.array(ticker.lateness[window]) * 1e3
    answered = latency[~np.isnan(latency)]
    disconnected = ledger.disconnected
    await asyncio.gather(*(caller.close() for caller in callers))
    if not len(answered):
        raise RuntimeError(f"none of {len(latency)} frames was answered")
    return EchoResult(
        seconds=seconds,
        sent=len(latency),
        echoed=end.echoed - begin.echoed,
        lost=len(latency) - len(answered),
        garbled=ledger.garbled,
        duplicates=ledger.duplicates,
        disconnected=disconnected,
        server_cpu=end.server_cpu - begin.server_cpu,
        server_waited=(end.server_waited - begin.server_waited) / seconds,
        load_waited=(end.load_waited - begin.load_waited) / seconds,
        latency_p50_ms=float(np.percentile(answered, 50)),
        latency_p99_ms=float(np.percentile(answered, 99)),
        latency_max_ms=float(answered.max()),
        lateness_p99_ms=float(np.percentile(lateness, 99)),
        lateness_max_ms=float(lateness.max()),
        load_busy=(end.load_busy - begin.load_busy) / seconds,
    )


_IDLE_FRAMES = 5


async def measure_idle(load: IdleLoad) -> IdleResult:
    """Read the server's memory with a fifth of the calls open, then with all of them.

    The result is the slope between the two, not the cost of the first call: both include imports,
    caches and the arenas that earlier calls left behind.
    """
    few = load.calls // 5
    for _ in range(3):
        ledger, callers = await _idle_calls(few // 2, load.server)
        await asyncio.gather(*(caller.close() for caller in callers))
    first_ledger, first = await _idle_calls(few, load.server)
    silent_since = time.perf_counter()
    few_bytes = resident_bytes(load.server.pid)
    ledger, rest = await _idle_calls(load.calls - few, load.server)
    many_bytes = resident_bytes(load.server.pid)
    result = IdleResult(
        few=few,
        few_bytes=few_bytes,
        many=load.calls,
        many_bytes=many_bytes,
        disconnected=first_ledger.disconnected + ledger.disconnected,
        seconds=time.perf_counter() - silent_since,
    )
    await asyncio.gather(*(caller.close() for caller in first + rest))
    return result


async def _idle_calls(calls: int, server: Server) -> tuple[Ledger, list[Caller]]:
    """Open calls, let each say a tenth of a second, and wait until all of it is answered."""
    ledger = Ledger(calls, calls * _IDLE_FRAMES)
    tails = ready_tails()
    callers = [Caller(n, ledger, tails, in_order=server.in_order) for n in range(calls)]
    await _connect(callers, server)
    for number in range(calls * _IDLE_FRAMES):
        callers[number % calls].send_frame(number)
    for _ in range(20):
        await asyncio.sleep(0.1)
        if ledger.echoed >= calls * _IDLE_FRAMES:
            break
    return ledger, callers


async def _connect(callers: list[Caller], server: Server) -> None:
    context = ssl.create_default_context(cafile=server.ca_file) if server.ca_file else None
    at_once = asyncio.Semaphore(20)

    async def connect(caller: Caller) -> None:
        async with at_once:
            await caller.connect(server.url, context)

    await asyncio.gather(*map(connect, callers))


def main() -> None:
    load = msgspec.json.decode(sys.argv[1], type=EchoLoad | IdleLoad)
    if isinstance(load, EchoLoad):
        result: EchoResult | IdleResult = uvloop.run(measure_echo(load))
    else:
        result = uvloop.run(measure_idle(load))
    sys.stdout.buffer.write(msgspec.json.encode(result))


if __name__ == "__main__":
    main()
