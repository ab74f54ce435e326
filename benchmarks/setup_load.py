"""The load process of the set-up benchmark: calls that arrive at a rate, on one core.

Each call is `POST /answer` on a new connection, signed as Plivo signs, and then the stream that the
answer asks for, on another one. `benchmarks.setups` starts this, passes a `SetupLoad` as JSON in
the first argument, and reads a `SetupResult`, also JSON, from standard output. It refuses every
address but loopback, and ends by itself.
"""

import asyncio
import gc
import itertools
import json
import math
import os
import re
import sys
import time
from base64 import b64decode
from binascii import b2a_base64
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

import msgspec
import numpy as np
import uvloop

from benchmarks.caller import FRAME_BYTES, FRAME_SECONDS, ready_tails
from benchmarks.linux import cpu_seconds, waited_seconds
from mediaserver.plivo.signatures import sign_headers, sign_upgrade


LOOPBACK = "127.0.0.1"
PUBLIC_URL = "http://voice.example.com"
"""The URL by which every server is known, so that signatures hold at each of them."""

TOKEN = "an auth token for benchmarks"

FRAMES = 10
"""Frames of a call that only begins."""
PATIENCE = 10.0
"""Seconds after which a call that got no further counts as failed."""
PROBES_PER_SECOND = 5

_MARKER_FILLER = b"\x5a"
_MASK = bytes(4)


class Target(msgspec.Struct, frozen=True):
    """A server under load: its port on loopback, and its process."""

    port: int
    pid: int


class SetupLoad(msgspec.Struct, frozen=True):
    """What to do.

    Attributes:
        targets: the servers; each new connection goes to the next one.
        token: the auth token that signs.
        rate: calls that arrive per second, evenly spaced.
        seconds: for how long calls arrive.
        talks: seconds for which each call talks; 0 for ten frames at once, and an end when they
            were all heard again.
        live: calls that talk meanwhile, from before the first arrival until after the last.
        probed: whether `/metrics` and `/healthz` are requested meanwhile.

    """

    targets: list[Target]
    token: str
    rate: float
    seconds: float
    talks: float = 0.0
    live: int = 0
    probed: bool = False


class SetupResult(msgspec.Struct, frozen=True):
    """What became of it. Times are milliseconds.

    Attributes:
        seconds: from the first arrival to the end of the last call.
        offered: calls that arrived.
        served: calls that were answered, and whose audio came back.
        busy: calls that were told that all lines are busy.
        failed: all others, by what went wrong.
        live_failed: of the calls that talk meanwhile, those that failed, likewise.
        live_most: most calls that talked at the same time.
        setup: from the arrival of a call to the first audio that came back.
        told_busy: from the arrival of a call to the whole busy answer.
        echo: from sending a frame to its echo, in calls that talk.
        unheard: frames whose echo did not come, in calls that talk.
        probe: `/metrics` and `/healthz`, on a new connection.
        probes_failed: those that were not answered with 200.
        server_cpu: CPU seconds of all servers together.
        server_waited: largest share of the time in which other processes held a server's core.
        load_waited: the same for the load.
        load_busy: share of its core that the load used, without polls that found nothing.

    """

    seconds: float
    offered: int
    served: int
    busy: int
    failed: dict[str, int]
    live_failed: dict[str, int]
    live_most: int
    setup: "Times"
    told_busy: "Times"
    echo: "Times"
    unheard: int
    probe: "Times"
    probes_failed: int
    server_cpu: float
    server_waited: float
    load_waited: float
    load_busy: float

    @property
    def disturbance(self) -> float:
        """Share of the time in which other processes held either core."""
        return max(self.server_waited, self.load_waited)

    @property
    def us_per_setup(self) -> float:
        """Microseconds of the servers' CPU for one call."""
        return self.server_cpu / self.served * 1e6 if self.served else math.inf


class Times(msgspec.Struct, frozen=True):
    """How long something took, in milliseconds; None if it never happened."""

    p50: float | None
    p99: float | None
    worst: float | None

    @classmethod
    def of(cls, seconds: list[float]) -> "Times":
        """Return the figures of many."""
        if not seconds:
            return cls(None, None, None)
        low, high, worst = np.percentile(np.array(seconds) * 1e3, (50, 99, 100))
        return cls(*(round(float(each), 2) for each in (low, high, worst)))


class Load:
    """All calls of one run, and what became of them."""

    def __init__(self, asked: SetupLoad) -> None:
        self.asked = asked
        self.busy: list[float] = []
        self.setups: list[float] = []
        self.echoes: list[float] = []
        self.probes: list[float] = []
        self.probes_failed = 0
        self.failed: Counter[str] = Counter()
        self.live_failed: Counter[str] = Counter()
        self.unheard = 0
        self.live_most = 0
        self.open = 0
        """Calls that are not over."""
        self.working = 0
        """Rises with everything that is done, to tell turns that did something."""
        self.spent = 0.0
        """Seconds of turns that did something."""
        self.tails = ready_tails()
        self.talking: deque[tuple[float, Stream]] = deque()
        """When each call that talks sends its next frame."""
        self._waiting: deque[tuple[float, Socket]] = deque()
        self._next_target = itertools.cycle(asked.targets)
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._last_turn = time.perf_counter()
        self._seen = 0
        self._turn: asyncio.Handle | None = None

    def connect(self, make: "Callable[[], Socket]") -> None:
        """Open a connection to the next server."""
        target = next(self._next_target)
        sock = make()
        self._waiting.append((time.perf_counter() + PATIENCE, sock))

        async def connect() -> None:
            try:
                await self._loop.create_connection(lambda: sock, LOOPBACK, target.port)
            except OSError as error:
                sock.fail(f"cannot connect: {error.strerror or error}")

        task = self._loop.create_task(connect())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def run(self) -> SetupResult:
        """Let calls arrive, and wait for the last of them."""
        asked, loop = self.asked, self._loop
        self._turn = loop.call_soon(self._take_turn)
        live = [Call(self, lives=True) for _ in range(asked.live)]
        for call in live:
            call.begin()
            await asyncio.sleep(0.02)
        await self._until(lambda: self.live_most + self.live_failed.total() >= asked.live)
        if live:
            await asyncio.sleep(0.5)
        self.setups.clear()
        self.echoes.clear()
        self.unheard = 0
        gc.collect()
        gc.disable()
        waited = [waited_seconds(each.pid) for each in asked.targets]
        own_waited = waited_seconds(os.getpid())
        cpu = sum(cpu_seconds(each.pid) for each in asked.targets)
        self.spent, begun = 0.0, time.perf_counter()
        offered = await self._arrivals(begun)
        if asked.talks:
            await asyncio.sleep(asked.talks)
        before = self.open
        await self._until(lambda: self.open <= sum(not call.over for call in live), PATIENCE + 2)
        assert self.open <= before
        ended = time.perf_counter()
        seconds = ended - begun
        result = SetupResult(
            seconds=seconds,
            offered=offered,
            served=len(self.setups),
            busy=len(self.busy),
            failed=dict(self.failed),
            live_failed=dict(self.live_failed),
            live_most=self.live_most,
            setup=Times.of(self.setups),
            told_busy=Times.of(self.busy),
            echo=Times.of(self.echoes),
            unheard=self.unheard,
            probe=Times.of(self.probes),
            probes_failed=self.probes_failed,
            server_cpu=sum(cpu_seconds(each.pid) for each in asked.targets) - cpu,
            server_waited=max(
                (waited_seconds(each.pid) - before) / seconds
                for each, before in zip(asked.targets, waited, strict=True)
            ),
            load_waited=(waited_seconds(os.getpid()) - own_waited) / seconds,
            load_busy=self.spent / seconds,
        )
        for call in live:
            call.end()
        await self._until(lambda: not self.open, 3.0)
        self._turn.cancel()
        return result

    async def _arrivals(self, begun: float) -> int:
        asked, number, probe = self.asked, 0, 0
        while (passed := time.perf_counter() - begun) < asked.seconds:
            while number < passed * asked.rate:
                Call(self, due=begun + number / asked.rate).begin()
                number += 1
            if asked.probed and probe < passed * PROBES_PER_SECOND:
                path = ("/metrics", "/healthz")[probe % 2]
                self.connect(lambda path=path: Probe(self, path))  # type: ignore[misc]
                probe += 1
            await asyncio.sleep(0)
        return number

    async def _until(self, done: Callable[[], bool], seconds: float = 30.0) -> None:
        for _ in range(round(seconds / 0.01)):
            if done():
                return
            await asyncio.sleep(0.01)

    def _take_turn(self) -> None:
        """Send what is due. The loop never sleeps: see `benchmarks.load.EchoLoad`."""
        self._turn = self._loop.call_soon(self._take_turn)
        now = time.perf_counter()
        if self.working != self._seen:
            self.spent += now - self._last_turn
            self._seen = self.working
        self._last_turn = now
        talking = self.talking
        while talking and talking[0][0] <= now:
            due, stream = talking.popleft()
            if stream.talk():
                talking.append((due + FRAME_SECONDS, stream))
        while self._waiting and self._waiting[0][0] <= now:
            self._waiting.popleft()[1].expire()


class Call:
    """One call, from its arrival to its end."""

    def __init__(self, load: Load, *, due: float | None = None, lives: bool = False) -> None:
        self.load = load
        self.lives = lives
        self.due = time.perf_counter() if due is None else due
        self.call_id = str(uuid4())
        self.over = False
        self.stream: Stream | None = None

    def begin(self) -> None:
        """Ask for the call's XML."""
        self.load.open += 1
        self.load.working += 1
        self.load.connect(lambda: Answer(self))

    def end(self) -> None:
        """Hang up."""
        if self.stream is not None:
            self.stream.stop()

    def answered(self, document: bytes) -> None:
        """Take the XML."""
        found = re.search(rb">(wss?://[^<]+)</Stream>", document)
        if found:
            url = found[1].decode().replace("&amp;", "&")
            self.stream = stream = Stream(self, url)
            self.load.connect(lambda: stream)
        elif b'reason="busy"' in document:
            self.load.busy.append(time.perf_counter() - self.due)
            self.finish("busy" if self.lives else None)
        else:
            self.finish(f"/answer said {document[:60]!r}")

    def finish(self, failure: str | None = None) -> None:
        """End, for a reason if the call failed."""
        if self.over:
            return
        self.over = True
        self.load.open -= 1
        if failure is not None:
            (self.load.live_failed if self.lives else self.load.failed)[failure] += 1


class Socket(asyncio.Protocol):
    """A connection that waits for something."""

    transport: asyncio.Transport | None = None
    over = False

    def __init__(self, load: Load) -> None:
        self.load = load

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send what there is to send."""
        self.transport = cast(asyncio.Transport, transport)
        self.load.working += 1
        if self.over:
            self.transport.abort()
        else:
            self.begin()

    def begin(self) -> None:
        """Send the request."""

    def fail(self, reason: str) -> None:
        """Give up."""
        self.over = True
        if self.transport is not None:
            self.transport.abort()

    def expire(self) -> None:
        """Give up if nothing came until now."""
        if not self.over:
            self.fail(f"{self.waits_for} did not come within {PATIENCE:g} s")

    @property
    def waits_for(self) -> str:
        """What has not come."""
        return "a response"

    def connection_lost(self, error: Exception | None) -> None:
        """Fail, if it was not over."""
        self.load.working += 1
        if not self.over:
            self.fail(f"cut before {self.waits_for}")


class Exchange(Socket):
    """A request and its response, after which the connection is closed."""

    def __init__(self, load: Load) -> None:
        super().__init__(load)
        self._received = b""

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self.load.working += 1
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if separator and length and len(body) >= int(length[1]) and not self.over:
            self.over = True
            self.responded(head[9:12], body)
            assert self.transport is not None
            self.transport.close()

    def responded(self, status: bytes, body: bytes) -> None:
        """Take the response."""


class Answer(Exchange):
    """`POST /answer` of a call."""

    def __init__(self, call: Call) -> None:
        super().__init__(call.load)
        self._call = call

    def begin(self) -> None:
        """Send the request."""
        form = {
            "ALegRequestUUID": str(uuid4()),
            "ALegUUID": self._call.call_id,
            "BillRate": "0.0085",
            "CallStatus": "in-progress",
            "CallUUID": self._call.call_id,
            "CallerName": "+14155550100",
            "Direction": "inbound",
            "Event": "StartApp",
            "From": "14155550100",
            "ParentAuthID": "MABENCHMARK000000000",
            "RequestUUID": str(uuid4()),
            "RouteType": "normal",
            "SessionStart": "2026-11-29 22:15:48.000001",
            "STIRAttestation": "A",
            "STIRVerification": "Verified",
            "To": "14155550199",
        }
        signed = sign_headers(
            "POST", f"{PUBLIC_URL}/answer", self.load.asked.token, {k: [v] for k, v in form.items()}
        )
        body = urlencode(form).encode()
        assert self.transport is not None
        self.transport.write(
            _head("POST /answer", signed, "Content-Type: application/x-www-form-urlencoded")
            + b"Content-Length: %d\r\n\r\n" % len(body)
            + body
        )

    def responded(self, status: bytes, body: bytes) -> None:
        """Take the response."""
        if status == b"200":
            self._call.answered(body)
        else:
            self._call.finish(f"/answer: {status.decode()} {body[:60].decode()}".strip())

    def fail(self, reason: str) -> None:
        """Give up."""
        super().fail(reason)
        self._call.finish(f"/answer: {reason}")


class Probe(Exchange):
    """A question of a monitor."""

    def __init__(self, load: Load, path: str) -> None:
        super().__init__(load)
        self._path = path
        self._began = time.perf_counter()

    def begin(self) -> None:
        """Send the request."""
        assert self.transport is not None
        self.transport.write(_head(f"GET {self._path}", {}) + b"\r\n")

    def responded(self, status: bytes, body: bytes) -> None:
        """Take the response."""
        self.load.probes.append(time.perf_counter() - self._began)
        self.load.probes_failed += status != b"200"

    def fail(self, reason: str) -> None:
        """Give up."""
        super().fail(reason)
        self.load.probes_failed += 1


class Stream(Socket):
    """The WebSocket of a call, Plivo's end."""

    def __init__(self, call: Call, url: str) -> None:
        super().__init__(call.load)
        self._call = call
        self._url = url
        self._received = b""
        self._open = False
        self._stopped = False
        self._stream_id = str(uuid4())
        self._sent: list[float] = []
        self._heard = 0
        self._until = math.inf if call.lives else 0.0
        self._media = (
            b'{"event":"media","sequenceNumber":%d,"streamId":"' + self._stream_id.encode() + b'",'
            b'"media":{"track":"inbound","timestamp":"%d","chunk":%d,"payload":"%b%b"},'
            b'"extra_headers":"{}"}'
        )

    @property
    def waits_for(self) -> str:
        """What has not come."""
        if not self._open:
            return "101"
        return "the end" if self._stopped else "the call's audio"

    def expire(self) -> None:
        """Give up if nothing came until now."""
        # A call that talks is over when it stops: then its audio must have come.
        if not self._heard:
            super().expire()

    def begin(self) -> None:
        """Send the request."""
        parts = urlsplit(self._url)
        signed = sign_upgrade(self._url, self.load.asked.token)
        assert self.transport is not None
        self.transport.write(
            _head(
                f"GET {parts.path}?{parts.query}",
                signed,
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            )
            + b"\r\n"
        )

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self.load.working += 1
        self._received += data
        if not self._open:
            head, separator, rest = self._received.partition(b"\r\n\r\n")
            if not separator:
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                self.fail(f"refused: {head[9:12].decode()} {rest[:60].decode()}".strip())
                return
            self._received = rest
            self._open = True
            self._opened()
        self._read_frames()

    def _opened(self) -> None:
        """Send the start, and the first frames."""
        start = {
            "event": "start",
            "sequenceNumber": 1,
            "start": {
                "callId": self._call.call_id,
                "streamId": self._stream_id,
                "accountId": "MABENCHMARK000000000",
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000},
            },
            "extra_headers": "{}",
        }
        opening = _frame(json.dumps(start, separators=(",", ":")).encode())
        talks = self.load.asked.talks
        assert self.transport is not None
        if talks or self._call.lives:
            self.transport.write(opening)
            now = time.perf_counter()
            if not self._call.lives:
                self._until = now + talks
            self.load.talking.append((now, self))
            self.load.live_most = max(self.load.live_most, len(self.load.talking))
        else:
            self.transport.write(opening + b"".join(self._next_frame() for _ in range(FRAMES)))

    def talk(self) -> bool:
        """Send a frame, and tell whether another one follows."""
        self.load.working += 1
        if self._stopped or self.over or self.transport is None:
            return False
        if time.perf_counter() >= self._until:
            # What was sent last has time to come back.
            asyncio.get_running_loop().call_later(0.2, self.stop)
            return False
        self.transport.write(self._next_frame())
        return True

    def _next_frame(self) -> bytes:
        number = len(self._sent)
        self._sent.append(time.perf_counter())
        marked = b2a_base64(b"%08x" % number + _MARKER_FILLER, newline=False)
        tail = self.load.tails[number % len(self.load.tails)]
        return _frame(self._media % (number + 2, 20 * number, number + 1, marked, tail))

    def _read_frames(self) -> None:
        received, start = self._received, 0
        while len(received) - start >= 2:
            size, body = received[start + 1], start + 2
            if size == 126:
                size, body = int.from_bytes(received[start + 2 : start + 4], "big"), start + 4
            elif size == 127:
                size, body = int.from_bytes(received[start + 2 : start + 10], "big"), start + 10
            if len(received) < body + size:
                break
            opcode, payload = received[start] & 15, received[body : body + size]
            start = body + size
            if opcode == 1:
                self._take_message(payload)
            elif opcode == 8:
                self._take_close(payload)
        self._received = received[start:]

    def _take_message(self, message: bytes) -> None:
        key = message.find(b'"payload"')
        if key < 0:
            return
        now = time.perf_counter()
        opening = message.index(b'"', key + 9) + 1
        audio = b64decode(message[opening : message.index(b'"', opening)])
        if not self._heard:
            self.load.setups.append(now - self._call.due)
        for offset in range(0, len(audio), FRAME_BYTES):
            number = int(audio[offset : offset + 8], 16)
            if self._until:
                self.load.echoes.append(now - self._sent[number])
            self._heard += 1
        if not self._until and self._heard == FRAMES:
            self.stop()

    def stop(self) -> None:
        """Hang up: Plivo's stop event, and the closing handshake."""
        if self._stopped or self.over or self.transport is None:
            return
        self._stopped = True
        if self._until:
            self.load.unheard += len(self._sent) - self._heard
        stop = b'{"event":"stop","sequenceNumber":%d,"streamId":"%b"}'
        self.transport.write(
            _frame(stop % (len(self._sent) + 2, self._stream_id.encode()))
            + b"\x88\x82"
            + _MASK
            + b"\x03\xe8"
        )

    def _take_close(self, payload: bytes) -> None:
        assert self.transport is not None
        if not self._stopped:
            self.fail(f"closed early: {int.from_bytes(payload[:2], 'big')} {payload[2:].decode()}")
            return
        self.over = True
        self.transport.close()
        self._call.finish()

    def fail(self, reason: str) -> None:
        """Give up."""
        super().fail(reason)
        self._call.finish(f"stream: {reason}")

    def connection_lost(self, error: Exception | None) -> None:
        """Fail, if it was not over."""
        if self._stopped and not self.over:
            self.over = True
            self._call.finish()
        super().connection_lost(error)


def _head(request: str, signed: dict[str, str], more: str = "") -> bytes:
    lines = [f"{request} HTTP/1.1", "Host: voice.example.com", "User-Agent: plivo"]
    lines += [f"{name}: {value}" for name, value in signed.items()]
    lines += [more] if more else []
    return "\r\n".join(lines).encode() + b"\r\n"


def _frame(payload: bytes) -> bytes:
    """Return a text frame whose mask changes nothing."""
    size = len(payload)
    header = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return b"\x81" + header + _MASK + payload


async def main(asked: SetupLoad) -> SetupResult:
    return await Load(asked).run()


if __name__ == "__main__":
    result = uvloop.run(main(msgspec.json.decode(sys.argv[1], type=SetupLoad)))
    sys.stdout.buffer.write(msgspec.json.encode(result))
