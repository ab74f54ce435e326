"""Peers of the soak benchmark that do something wrong, each for less than a minute."""

import asyncio
import contextlib
import json
import random as randoms
import socket
import struct
import time
from base64 import b64encode
from typing import Final
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

from benchmarks.attackers import event, frame
from benchmarks.caller import FRAME_BYTES, FRAME_SECONDS
from benchmarks.soak_account import MadeCall
from mediaserver.plivo.signatures import sign_upgrade


HELD_SECONDS = 25.0
"""Seconds after which a connection on which nothing is said should have been closed."""

_PAYLOAD: Final = b64encode(b"\x5a" * FRAME_BYTES).decode()
_GARBAGE: Final = (
    frame(b"{"),
    frame(b"[]"),
    frame(b'{"event":7}'),
    frame(b'{"event":"media","media":{"payload":"*"}}'),
    frame(b'{"event":"media","media":' + b"[" * 20_000),
    frame(b"\xff\xfe\xfd"),
    frame(b"\x00" * 400, 0x82),
    frame(b"x" * 200, 0x89),
    frame(b"\x03", 0x88),
    frame(b"more", 0x80),
    frame(b"x", 0xF1),
    frame(b"x" * 70_000),
    b"\x81\xff" + b"\xff" * 8,
    b"GET / HTTP/1.1\r\n\r\n",
)
"""Messages that are no JSON or not Plivo's, and bytes that are no frames."""


class Peer:
    """One of them.

    Args:
        kind: What it does, of `benchmarks.soak_faults.PEERS`.
        url: The server's URL.
        token: The auth token that signs.
        random: Chooses how.
        patience: Most seconds for which it stalls or is silent.
        dead_after: Seconds of silence after which the server drops it.
        kept: Seconds for which the server keeps a call whose connection was lost.

    """

    def __init__(
        self,
        kind: str,
        url: str,
        token: str,
        random: randoms.Random,
        *,
        patience: float,
        dead_after: float,
        kept: float,
    ) -> None:
        self.kind = kind
        self.held = False
        """Whether the server kept a connection on which nothing is said."""
        self._url = url
        self._token = token
        self._random = random
        self._patience = patience
        self._dead_after = dead_after
        self._kept = kept
        self._id = str(uuid4())
        self._began: float | None = None
        self._over: float | None = None
        self._heard = False
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter | None = None

    def made(self) -> MadeCall | None:
        """Return its call, if it has sent a start."""
        if self._began is None:
            return None
        over = time.time() if self._over is None else self._over
        return MadeCall(self._id, self.kind, self._began, over + self._kept, self._heard)

    async def run(self) -> None:
        """Do it. What the server does about it is no error."""
        try:
            async with asyncio.timeout(HELD_SECONDS + self._patience):
                match self.kind:
                    case "stall":
                        await self._stall()
                    case "reset":
                        await self._reset()
                    case "garbage":
                        await self._send_garbage()
                    case "half-open":
                        way = (self._send_half_a_request, self._send_no_start, self._fall_silent)
                        await self._random.choice(way)()
                    case "slow answer":
                        await self._answer_slowly()
        except TimeoutError:
            self.held = True
        except (OSError, EOFError):
            pass
        finally:
            if self._over is None:
                self._over = time.time()
            if self._writer is not None:
                self._writer.transport.abort()

    async def _stall(self) -> None:
        """Speak on without reading, and then read and hang up."""
        await self._begin()
        await self._talk(self._random.uniform(0.1, 1.0) * self._patience)
        self._write(event("stop") + frame(b"\x03\xe8", 0x88))
        await self._until_closed(2.0)

    async def _reset(self) -> None:
        await self._begin()
        await self._talk(self._random.uniform(0.1, 1.0))
        assert self._writer is not None
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def _send_garbage(self) -> None:
        if self._random.random() < 0.25:
            await self._connect()
        else:
            await self._begin()
        for _ in range(3):
            noise = frame(self._random.randbytes(self._random.randint(1, 300)))
            self._write(self._random.choice((*_GARBAGE, noise, noise[7:])))
            await asyncio.sleep(0.1)
        await self._until_closed(2.0)

    async def _send_half_a_request(self) -> None:
        await self._connect()
        self._write(b"POST /answer HTTP/1.1\r\nHost: voi"[: self._random.randint(0, 33)])
        await self._until_closed()

    async def _send_no_start(self) -> None:
        await self._open()
        await self._until_closed()

    async def _fall_silent(self) -> None:
        """Neither read nor write, as a peer whose network is gone."""
        await self._begin()
        self._over = time.time() + self._dead_after
        await asyncio.sleep(self._dead_after + self._patience / 2)

    async def _answer_slowly(self) -> None:
        await self._connect()
        self._write(
            b"POST /answer HTTP/1.1\r\nHost: voice.example.com\r\nContent-Length: 300\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
        )
        answer = asyncio.create_task(self._until_closed())
        try:
            while not answer.done():
                self._write(b"a")
                await asyncio.sleep(0.3)
            await answer
        finally:
            answer.cancel()

    # What a call does

    def _write(self, data: bytes) -> None:
        assert self._writer is not None
        if self._writer.is_closing():
            raise EOFError("closed")
        self._writer.write(data)

    async def _connect(self) -> None:
        parts = urlsplit(self._url)
        sock = socket.socket()
        sock.setblocking(False)
        # So that little is under way when it stops reading.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        try:
            address = (parts.hostname, parts.port)
            await asyncio.get_running_loop().sock_connect(sock, address)
            self._reader, self._writer = await asyncio.open_connection(sock=sock, limit=1_024)
        except BaseException:
            sock.close()
            raise

    async def _open(self) -> None:
        await self._connect()
        parts = urlsplit(self._url)
        url = urlunsplit(("ws", parts.netloc, "/stream", "", ""))
        lines = [
            *("GET /stream HTTP/1.1", f"Host: {parts.netloc}", "Connection: Upgrade"),
            *("Upgrade: websocket", "Sec-WebSocket-Version: 13"),
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            *(f"{name}: {value}" for name, value in sign_upgrade(url, self._token).items()),
        ]
        self._write("\r\n".join((*lines, "", "")).encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            raise EOFError(head.decode("latin-1"))

    async def _begin(self) -> None:
        """Open a stream, start it, and wait until something is heard."""
        await self._open()
        fields = {"callId": self._id, "streamId": self._id, "accountId": "MABENCHMARK000000000"}
        format = {"encoding": "audio/x-mulaw", "sampleRate": 8_000}
        start = fields | {"tracks": ["inbound"], "mediaFormat": format}
        document = {"event": "start", "sequenceNumber": 1, "start": start, "extra_headers": "{}"}
        self._began = time.time()
        self._write(frame(json.dumps(document).encode()) + self._media() * 3)
        header = await self._reader.readexactly(2)
        # Everything else is a ping, or the server's refusal.
        while header[0] != 0x81:
            if header[0] & 15 == 8:
                raise EOFError("closed")
            await self._reader.readexactly(header[1])
            header = await self._reader.readexactly(2)
        self._heard = True

    async def _talk(self, seconds: float) -> None:
        for _ in range(max(1, round(seconds / (5 * FRAME_SECONDS)))):
            self._write(self._media() * 5)
            await asyncio.sleep(5 * FRAME_SECONDS)

    def _media(self) -> bytes:
        return frame(
            b'{"event":"media","streamId":"%b","media":{"track":"inbound","payload":"%b"}}'
            % (self._id.encode(), _PAYLOAD.encode())
        )

    async def _until_closed(self, seconds: float = 10 * HELD_SECONDS) -> None:
        """Read on until the server closes the connection, for at most some seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while await self._reader.read(65_536):
                    pass
