"""The carrier of a captured call: it sends what it sent then, and obeys what it is told now."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from socket import socket
from typing import Any, Final

from websockets.exceptions import ConnectionClosed

from mediaserver.replay.captured_call import CapturedCall, TimedMessage
from mediaserver.sandbox.audio.playback import TICK, TICKS_PER_SECOND, PlaybackBuffer
from mediaserver.sandbox.wire.connect import open_websocket
from mediaserver.sandbox.wire.connection import CarrierConnection
from mediaserver.sandbox.wire.ledger import CallLedger
from mediaserver.sandbox.wire.messages import MediaEncoder, StreamIdentity
from mediaserver.sandbox.wire.session import CarrierSession


PATIENCE: Final = 10.0
"""Seconds for which the caller stays on, in silence, after the server had ended the captured
call."""


class ReplayedCarrier:
    """One captured call, made again.

    What the carrier sent by itself is sent again, message for message and at the same times. Its
    answers to the server are those that follow from what it is sent now: a checkpoint is played
    when *this* audio has been played. The caller hangs up when they hung up then.

    Args:
        call: the captured call.
        connect: returns a socket that is connected to the server.
        url: the URL of the stream.
        patience: seconds for which the caller stays on if it was the server that had ended the
            call.

    Attributes:
        buffer: what became of the server's audio. Its times count from the stream's ``start``.
        ledger: what the server sent.
        ended: when the call ended, in seconds since the start of the stream; None before that.

    """

    def __init__(
        self,
        call: CapturedCall,
        connect: Callable[[], Awaitable[socket]],
        url: str,
        *,
        patience: float = PATIENCE,
    ) -> None:
        self.ledger = CallLedger()
        self.buffer = PlaybackBuffer(call.format)
        self.ended: float | None = None
        self._call = call
        self._connect = connect
        self._url = url
        self._hangs_up = call.ended + (patience if call.ended_by_server else 0.0)
        self._over = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._origin = 0.0
        self._connection: CarrierConnection
        self._session: CarrierSession

    async def run(self) -> None:
        """Make the call: returns when it is over, and the socket closed.

        Raises:
            CallFailed: the server did not take it.

        """
        call, loop = self._call, asyncio.get_running_loop()
        self._connection = await self._opened()
        # Everything is timed from the moment at which the stream was accepted.
        self._origin = loop.time()
        self.buffer = PlaybackBuffer(call.format, origin=self._origin + call.started)
        start = call.start
        self._session = CarrierSession(
            StreamIdentity(start.call_id, start.stream_id, start.account_id or ""),
            call.format,
            buffer=self.buffer,
            ledger=self.ledger,
            tracks=start.tracks or ("inbound",),
            extra_headers_text=start.extra_headers_text,
        )
        self._start(self._read(self._connection))
        sending = self._start(self._send())
        try:
            await self._over.wait()
        finally:
            self._end()
            sending.cancel()
            with suppress(ConnectionClosed):
                await self._connection.close()
            await asyncio.wait(self._tasks)
        for task in self._tasks:
            if not task.cancelled():
                task.result()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self._look_at)
        self._tasks.append(task)
        return task

    def _look_at(self, task: asyncio.Task[None]) -> None:
        """End the call if one of its tasks has failed; `run` raises what it raised."""
        if task.cancelled() or task.exception() is not None:
            self._over.set()

    async def _opened(self) -> CarrierConnection:
        return CarrierConnection(await open_websocket(self._url, sock=await self._connect()))

    async def _send(self) -> None:
        """Send what is due, and play what is due, until the caller hangs up."""
        call = self._call
        sent, losses = deque(call.sent), deque(call.losses)
        silence: _Silence | None = None
        tick = 0
        while not self._over.is_set():
            played = call.started + tick * TICK
            due = [played, self._hangs_up]
            if sent:
                due.append(sent[0].at)
            if losses:
                due.append(losses[0][0])
            await self._until(min(due))
            now = self._elapsed + _TOGETHER
            if played <= now:
                # A carrier answers before it sends the frame of the same moment.
                tick = math.floor((now - call.started) * TICKS_PER_SECOND) + 1
                self._session.advance(self._origin + now)
                self._answer()
            if losses and losses[0][0] <= now:
                await self._lose(losses.popleft())
            while sent and sent[0].at <= now:
                self._connection.send(_sendable(sent.popleft()))
            if now >= self._hangs_up:
                self._over.set()
            elif not sent and call.ended_by_server:
                silence = silence or _Silence(call)
                for message in silence.until(now):
                    self._connection.send(message)

    @property
    def _elapsed(self) -> float:
        return asyncio.get_running_loop().time() - self._origin

    async def _until(self, at: float) -> None:
        """Wait until a time of the captured call, or until the call is over."""
        loop = asyncio.get_running_loop()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(max(self._origin + at, loop.time())):
                await self._over.wait()

    async def _lose(self, loss: tuple[float, float | None]) -> None:
        """Lose the connection, and open the stream again when it was opened again."""
        _, again = loss
        self._session.lose(self._origin + self._elapsed)
        self._connection.carry_out("drop")
        if again is None:
            self._over.set()
            return
        await self._until(again)
        if self._over.is_set():
            return
        self._connection = await self._opened()
        self._session.reopen(self._origin + self._elapsed)
        self._answer()
        self._start(self._read(self._connection))

    async def _read(self, connection: CarrierConnection) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                message = await connection.receive()
                self._session.receive(message, loop.time())
                self._answer()
        except ConnectionClosed:
            if connection is self._connection and connection.can_send:
                self._over.set()

    def _answer(self) -> None:
        for message in self._session.messages():
            self._connection.send(message)
        self._session.happenings()

    def _end(self) -> None:
        if self.ended is not None:
            return
        now = asyncio.get_running_loop().time()
        self._session.advance(now)
        self._session.close()
        self._over.set()
        self.ended = now - self.buffer.origin


_TOGETHER: Final = 1e-6
"""Seconds that a capture does not tell apart: what is so close happens at once."""


class _Silence:
    """What a caller sends who says nothing, after the end of the capture."""

    def __init__(self, call: CapturedCall) -> None:
        start, format = call.start, call.format
        self._silence = format.silence * (format.rate // TICKS_PER_SECOND)
        self._encode = MediaEncoder(start.stream_id, "inbound", start.extra_headers_text)
        # If the carrier had been silent before, it stays so until the end of then.
        self._next = max(call.ended, TICK + call.sent[-1].at)
        self._sequence = len(call.sent)
        self._chunk = len(call.caller_frames)

    def until(self, at: float) -> list[str]:
        """Return the frames that are due by a time."""
        frames: list[str] = []
        while self._next <= at:
            self._sequence += 1
            self._chunk += 1
            timestamp = round(self._next * 1000)
            frames.append(self._encode(self._silence, self._sequence, timestamp, self._chunk))
            self._next += TICK
        return frames


def _sendable(sent: TimedMessage) -> str | bytes:
    """Return a message as it is given to a WebSocket: bytes, if it was binary or is no UTF-8."""
    if sent.binary:
        return sent.message
    try:
        return sent.message.decode()
    except UnicodeDecodeError:
        return sent.message
