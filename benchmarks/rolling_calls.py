"""Callers of the rolling benchmark: Plivo's end of calls, through a proxy with TLS.

Each call is `POST /answer`, signed as Plivo signs, the stream that the answer asks for, numbered
frames every 20 ms and their echo, and `POST /hangup` at the end, each on a new connection.
A call whose stream is cut goes on with the `<Redirect>` after it, if there is one.
"""

import asyncio
import contextlib
import itertools
import json
import math
import re
import ssl
import time
from base64 import urlsafe_b64decode
from binascii import b2a_base64
from collections import Counter
from collections.abc import Iterable
from random import Random
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

from picows import (
    WSCloseCode,
    WSError,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    ws_connect,
)
from pybase64 import b64decode

from benchmarks.caller import BYTES_PER_SECOND, FRAME_BYTES, FRAME_SECONDS, ready_tails
from benchmarks.servers.marked_echo import MARK_BYTES, UNTOLD
from mediaserver.plivo.signatures import sign_headers, sign_upgrade


PATIENCE = 15.0
"""Seconds that a call waits for an answer or for its stream, as Plivo does."""
ATTEMPTS = 3
"""How often Plivo tries to open a stream."""
ATTEMPT_SECONDS = 1.0
"""Seconds between two of them."""
LAST_ECHO_SECONDS = 0.5
"""Seconds before its end in which a call sends nothing, so that all that it sent has come back."""
GAP_SECONDS = 0.04
"""Silence between two pieces of audio that is a gap; a late piece that still follows the one before
within two frames is not heard as one."""
LATE_SECONDS = 0.3
"""Seconds by which frames may be late. A process that is later may hear gaps of its own making."""

_PHASES = 4
_HOPELESSLY_LATE = 2.0
"""Seconds of frames that are made up for; a process that is later leaves them out."""
_FILLER = b"\x5a"


class Callers:
    """All calls, and what became of them.

    Args:
        url: The URL by which Plivo knows the servers.
        context: Trusts the proxy's certificate; None if the URL is without TLS.
        token: The auth token that signs.
        random: Chooses how long calls last.
        seconds: How long calls last: at least, and at most.

    """

    def __init__(
        self,
        url: str,
        context: ssl.SSLContext | None,
        token: str,
        random: Random,
        seconds: tuple[float, float],
    ) -> None:
        self.url = url
        self.context = context
        self.token = token
        self.live: set[RollingCall] = set()
        """The calls whose stream has started, and is not over."""
        self.ended: list[RollingCall] = []
        self.begun: set[str] = set()
        """The ids of the calls that have begun, and whose hang-up is not answered yet."""
        self.offered = 0
        self.served = 0
        self.fallbacks = 0
        """Calls that were answered at `/fallback`, after `/answer` gave no XML."""
        self.refused: Counter[str] = Counter()
        """Calls that got no stream, by reason."""
        self.refused_at: list[float] = []
        """When those were refused, on the monotonic clock."""
        self.reopened: Counter[tuple[str, str]] = Counter()
        """Attempts to open a stream that failed and were followed by another one, by the node that
        had answered the call and the reason."""
        self.unnoted: Counter[str] = Counter()
        """Hang-ups that the server has not taken, by reason."""
        self.setups: list[float] = []
        self.worst_turn = 0.0
        """Longest time by which this process was late to send frames."""
        self.tails = ready_tails()
        self._random = random
        self._seconds = seconds
        self._tasks: set[asyncio.Task[None]] = set()
        self._phases: list[set[RollingCall]] = [set() for _ in range(_PHASES)]
        self._next_phase = itertools.cycle(self._phases)

    def begin(self, *, endless: bool = False, already: float = 0.0) -> None:
        """Let a call arrive.

        Args:
            endless: Whether it never hangs up.
            already: Share of its length that is over.

        """
        seconds = self._random.uniform(*self._seconds) * (1 - already)
        call = RollingCall(self, None if endless else max(1.0, seconds))
        self.offered += 1
        task = asyncio.create_task(call.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def arrive(self, rate: float, number: int | None = None, **how: float) -> None:
        """Let calls arrive, evenly spaced: `number` of them, or for ever."""
        due = time.perf_counter()
        for _ in itertools.count() if number is None else range(number):
            self.begin(already=self._random.random() if number is not None else 0.0)
            due += 1 / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))

    async def talk(self) -> None:
        """Send the frames of all calls, until cancelled."""
        due = time.perf_counter()
        for phase in itertools.cycle(self._phases):
            for call in tuple(phase):
                if not call.talk():
                    phase.discard(call)
            due += FRAME_SECONDS / _PHASES
            late = time.perf_counter() - due
            self.worst_turn = max(self.worst_turn, late)
            if late > _HOPELESSLY_LATE:
                due += late
            await asyncio.sleep(max(0.0, -late))

    def started(self, call: "RollingCall") -> None:
        """Have a call talk."""
        self.live.add(call)
        next(self._next_phase).add(call)

    def refuse(self, reason: str) -> None:
        """Count a call that got no stream."""
        self.refused[reason] += 1
        self.refused_at.append(time.monotonic())

    def over(self, call: "RollingCall") -> None:
        """Count a call that had a stream."""
        self.live.discard(call)
        self.ended.append(call)

    async def hang_up(self) -> None:
        """End all calls, and wait for them."""
        deadline = time.monotonic() + PATIENCE
        while self._tasks and time.monotonic() < deadline:
            # Again and again: the streams of some are only beginning.
            for call in tuple(self.live):
                call.end()
            await asyncio.wait(self._tasks, timeout=0.2)
        for task in tuple(self._tasks):
            task.cancel()

    def cut(self, *, endless: bool) -> list["RollingCall"]:
        """Return the calls that the server ended, or lost."""
        return [each for each in self.ended if each.cut is not None and each.endless is endless]

    @property
    def streams(self) -> Iterable["RollingCall"]:
        """All calls that have, or had, a stream."""
        return (*self.ended, *self.live)

    async def post(self, path: str, form: dict[str, str]) -> tuple[int, bytes]:
        """Send a webhook, and return the status and the body.

        Raises:
            OSError: There is no connection.
            EOFError: It ended before the response.
            TimeoutError: The response did not come.

        """
        url, body = self.url + path, urlencode(form).encode()
        parts = urlsplit(url)
        signed = sign_headers("POST", url, self.token, {key: [form[key]] for key in form})
        head = [f"POST {path} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close"]
        head += [f"{name}: {value}" for name, value in signed.items()]
        head += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(
                parts.hostname, parts.port, ssl=self.context
            )
            try:
                writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
                response = await reader.read()
            finally:
                writer.close()
        start, separator, document = response.partition(b"\r\n\r\n")
        if not separator:
            raise EOFError("no response")
        return int(start[9:12]), document


class RollingCall(WSListener):
    """One stream of a call, from its webhook on.

    Args:
        callers: All calls.
        seconds: How long it talks; None for ever.
        previous: The stream that was cut, if the call is resumed.

    """

    def __init__(
        self, callers: Callers, seconds: float | None, previous: "RollingCall | None" = None
    ) -> None:
        self.call_id: str = str(uuid4()) if previous is None else previous.call_id
        self.node = ""
        """The server that answered it, by the name in the stream's token."""
        self.pid = 0
        """The process that serves its stream."""
        self.told = UNTOLD
        """What that process knows of an earlier stream of the call."""
        self.previous = previous
        """The stream of the call that was cut before this one."""
        self.live_at = math.inf
        """When its stream began, on the monotonic clock."""
        self.spoke_at: float | None = None
        """When its first audio came, likewise."""
        self.prepared = False
        """Whether that process had prepared it."""
        self.endless = seconds is None
        self.cut: str | None = None
        """Why it ended, unless the caller hung up."""
        self.over_at: float | None = None
        """When its stream ended, on the monotonic clock."""
        self.gaps: list[float] = []
        """Times in which the caller heard nothing before more came, in seconds."""
        self.lost = 0
        """Frames without an echo, and those in a wrong order."""
        self._callers = callers
        self._seconds = seconds
        self._after: str | None = None
        """URL of the XML after its stream, if it redirects."""
        self._over = asyncio.Event()
        self._transport: WSTransport | None = None
        self.stream_id = str(uuid4())
        """Plivo's id of the stream."""
        self._media = (
            b'{"event":"media","sequenceNumber":%d,"streamId":"' + self.stream_id.encode() + b'",'
            b'"media":{"track":"inbound","timestamp":"%d","chunk":%d,"payload":"%b%b"},'
            b'"extra_headers":"{}"}'
        )
        self._sent = 0
        self._heard = 0
        self._rest = b""
        self._marked = False
        self._silence = True
        self._plays_until = 0.0
        self._talks_until = float("inf")
        self.hung_up = False
        """Whether its caller has hung up."""
        self._began = time.perf_counter()

    async def run(self) -> None:
        """Call, talk, and hang up."""
        self._callers.begun.add(self.call_id)
        try:
            await self._run()
        finally:
            self._callers.begun.discard(self.call_id)

    async def _run(self) -> None:
        callers = self._callers
        try:
            url = await self._answer()
            self.node = _node(url)
            await self._open(url)
        except WSError as error:
            callers.refuse(f"stream: {error}")
        except TimeoutError:
            callers.refuse("no answer or no stream within 15 s")
        except (OSError, EOFError, _RefusedError) as error:
            callers.refuse(str(error) or type(error).__name__)
        else:
            await self._last()
            if self.cut is not None and self._after is not None:
                left = self._talks_until - time.perf_counter()
                seconds = None if self.endless else max(1.0, left)
                await RollingCall(callers, seconds, self).run()
                return
        try:
            status, _ = await callers.post(
                "/hangup", self._form("Hangup", CallStatus="completed", Duration="1")
            )
        except (OSError, EOFError, TimeoutError) as error:
            callers.unnoted[str(error) or type(error).__name__] += 1
        else:
            if status != 200:
                callers.unnoted[f"/hangup: {status}"] += 1

    async def _open(self, url: str) -> None:
        """Open the stream, as often as Plivo tries to."""
        callers = self._callers
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with asyncio.timeout(PATIENCE):
                    await ws_connect(
                        lambda: self,
                        url,
                        ssl_context=callers.context,
                        websocket_handshake_timeout=None,
                        extra_headers=sign_upgrade(url, callers.token),
                    )
                return
            except (OSError, WSError) as error:
                if attempt == ATTEMPTS:
                    raise
                callers.reopened[self.node, str(error) or type(error).__name__] += 1
            await asyncio.sleep(ATTEMPT_SECONDS)

    async def _answer(self) -> str:
        """Return the URL of the stream."""
        callers, form = self._callers, self._form("StartApp", CallStatus="in-progress")
        if self.previous is not None:
            assert self.previous._after is not None
            parts = urlsplit(self.previous._after)
            form["Event"] = "Redirect"
            status, document = await callers.post(f"{parts.path}?{parts.query}", form)
            if status != 200:
                raise _RefusedError(f"/resume: {status}")
            return self._stream_of(document)
        document = b""
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            status, document = await callers.post("/answer", form)
            document = document if status == 200 else b""
        if not document:
            callers.fallbacks += 1
            status, document = await callers.post("/fallback", form)
            if status != 200:
                raise _RefusedError(f"/fallback: {status}")
        return self._stream_of(document)

    def _stream_of(self, document: bytes) -> str:
        """Return the URL of the stream in the XML, and note what follows it."""
        found = re.search(rb">(wss?://[^<]+)</Stream>", document)
        if found is None:
            busy = b'reason="busy"' in document
            raise _RefusedError("told busy" if busy else f"the XML was {document[:60]!r}")
        after = re.search(rb">(https?://[^<]+)</Redirect>", document)
        self._after = after and after[1].decode().replace("&amp;", "&")
        return found[1].decode().replace("&amp;", "&")

    async def _last(self) -> None:
        """Wait until the call is over."""
        if self._seconds is None:
            await self._over.wait()
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._seconds + LAST_ECHO_SECONDS):
                await self._over.wait()
        self.end()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._over.wait()

    def _form(self, event: str, **more: str) -> dict[str, str]:
        return {
            "CallUUID": self.call_id,
            "Direction": "inbound",
            "Event": event,
            "From": "14155550100",
            "To": "14155550199",
            **more,
        }

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Send the start."""
        self._transport = transport
        start = {
            "event": "start",
            "sequenceNumber": 1,
            "start": {
                "callId": self.call_id,
                "streamId": self.stream_id,
                "accountId": "MABENCHMARK000000000",
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": BYTES_PER_SECOND},
            },
            "extra_headers": "{}",
        }
        transport.send(WSMsgType.TEXT, json.dumps(start, separators=(",", ":")).encode())
        self.live_at = time.monotonic()
        if self._seconds is not None:
            self._talks_until = time.perf_counter() + self._seconds
        self._callers.started(self)

    def talk(self) -> bool:
        """Send a frame, and tell whether another one follows."""
        if self._transport is None or self.hung_up or time.perf_counter() >= self._talks_until:
            return False
        number, tails = self._sent, self._callers.tails
        self._sent += 1
        marked = b2a_base64(b"%08x" % number + _FILLER, newline=False)
        self._transport.send(
            WSMsgType.TEXT,
            self._media % (number + 2, 20 * number, number + 1, marked, tails[number % len(tails)]),
        )
        return True

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Hear what comes."""
        if frame.msg_type == WSMsgType.CLOSE:
            if not self.hung_up:
                code, reason = frame.get_close_code(), frame.get_close_reason()
                self._end_by_server(f"closed: {int(code)} {reason}")
            transport.disconnect()
        elif frame.msg_type == WSMsgType.TEXT:
            message = frame.get_payload_as_bytes()
            key = message.find(b'"payload"')
            if key >= 0:
                opening = message.index(b'"', key + 9) + 1
                self._hear(b64decode(message[opening : message.index(b'"', opening)]))

    def _hear(self, audio: bytes) -> None:
        now = time.perf_counter()
        silent = now - self._plays_until
        if self._marked and silent > GAP_SECONDS and not self.hung_up:
            self.gaps.append(silent)
        self._plays_until = max(now, self._plays_until) + len(audio) / BYTES_PER_SECOND
        audio = self._rest + audio
        if not self._marked and len(audio) >= MARK_BYTES:
            self._marked = True
            pid, word, told = audio[:MARK_BYTES].split()
            self.pid, self.prepared, self.told = int(pid), word == b"prepared", told.decode()
            self.spoke_at = time.monotonic()
            self._callers.served += 1
            self._callers.setups.append(now - self._began)
            audio = audio[MARK_BYTES:]
        if self._silence:
            audio = audio.lstrip(b"\xff")
            self._silence = not audio
        whole = len(audio) - len(audio) % FRAME_BYTES
        for offset in range(0, whole, FRAME_BYTES):
            number = int(audio[offset : offset + 8], 16)
            self.lost += abs(number - self._heard)
            self._heard = number + 1
        self._rest = audio[whole:]

    def end(self) -> None:
        """Hang up: Plivo's stop event, and the closing handshake."""
        if self.hung_up or self._transport is None:
            return
        self.hung_up = True
        if time.perf_counter() >= self._talks_until + LAST_ECHO_SECONDS / 2:
            self.lost += self._sent - self._heard
        stop = {"event": "stop", "sequenceNumber": self._sent + 2, "streamId": self.stream_id}
        self._transport.send(WSMsgType.TEXT, json.dumps(stop).encode())
        self._transport.send_close(WSCloseCode.OK)

    def _end_by_server(self, reason: str) -> None:
        if self.cut is None and not self.hung_up:
            self.cut = reason

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Note the end."""
        self._end_by_server("connection lost")
        self._transport = None
        self.over_at = time.monotonic()
        self._over.set()
        self._callers.over(self)


class _RefusedError(Exception):
    """The call got no stream."""


def _node(url: str) -> str:
    """Return the name of the server in the token of a stream's URL."""
    (token,) = parse_qs(urlsplit(url).query)["token"]
    body = token.partition(".")[0]
    claims = json.loads(urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    node: str = claims[5].partition("/")[0]
    return node
