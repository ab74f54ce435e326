"""One audio stream of a live call: from a line to a server's WebSocket, and back.

Events have the strict form that Plivo's reference describes and all of its SDKs read: numbers count
from 1, timestamps are strings, each track has its own chunk counter, and only events of the
reference are sent. A server's mistakes are recorded and do not harm the call.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, ConnectionClosedError
from websockets.frames import CloseCode

from audiocodecs import L16_8K, AudioFormat, Samples
from mediaserver.plivo.models import Track
from mediaserver.plivo.stream_parameters import MAX_STREAM_TIMEOUT, MAX_URL
from mediaserver.protocol import PLIVO_FORMATS, format_extra_headers
from mediaserver.sandbox.audio.line import Line
from mediaserver.sandbox.audio.noise import DEFAULT_LEVEL, NoiseCanceller, reduction
from mediaserver.sandbox.audio.playback import (
    TICKS_PER_SECOND,
    Cleared,
    Happening,
    PlaybackBuffer,
    Played,
)
from mediaserver.sandbox.audio.tracks import IncomingTrack, OutgoingTrack
from mediaserver.sandbox.errors import CallFailed
from mediaserver.sandbox.wire.backlog import BACKLOG_SECONDS, Backlog
from mediaserver.sandbox.wire.connect import open_websocket
from mediaserver.sandbox.wire.connection import CarrierConnection
from mediaserver.sandbox.wire.ledger import CallLedger, TimelineEntry
from mediaserver.sandbox.wire.messages import StreamIdentity, WireMessage
from mediaserver.sandbox.wire.misbehaviour import Misbehaviour
from mediaserver.sandbox.wire.network import NetworkPath, StreamNetwork
from mediaserver.sandbox.wire.session import CarrierSession, DigitsReceived, FaultDue


_StatusKind: TypeAlias = Literal[
    "connected", "stopped", "timeout", "failed", "degraded", "dropped", "played", "cleared"
]
"""Kind of a status callback: `failed` never connected, `dropped` broke or fell behind."""

EndReason: TypeAlias = Literal[
    "API request", "Call hangup", "Connection error", "Stream timeout", "Server closed"
]
"""Why a stream ended, in the words of Plivo's console; the last of them is not among those."""


LOST = "connection disconnected with the remote service"
"""The error of a `DroppedStream` as a live call showed it."""

# Loopback would buffer megabytes for a server that does not read: leave it as little as possible.
_SEND_BUFFER_BYTES = 16_384

_TRACKS: dict[Track, tuple[str, ...]] = {
    "inbound": ("inbound",),
    "outbound": ("outbound",),
    "both": ("inbound", "outbound"),
}


@dataclass(frozen=True, slots=True)
class StatusChange:
    """A change that a status callback reports.

    Attributes:
        kind: What happened.
        name: Name of the checkpoint that was played.
        error: What went wrong.
        seconds: How long the stream has been connected.

    """

    kind: _StatusKind
    name: str = ""
    error: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """How a stream ended.

    Attributes:
        reason: Why.
        error: What went wrong; empty if nothing did.
        seconds: How long it was connected, 0 if it never was.

    """

    reason: EndReason
    error: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class MediaStreamOptions:
    """What `<Stream>`, or the request that starts a stream, asks for.

    Attributes:
        url: Where to stream, `ws://` or `wss://`.
        format: Format of the stream, one of Plivo's four.
        track: What to send: what the person says (inbound), what the person hears (outbound), or
            both.
        bidirectional: Whether the server may send audio and commands.
        timeout: Seconds after which the stream ends.
        extra_headers: What `extraHeaders` sets.
        extra_headers_style: `"live"` writes them as `{X-PH-key: value}`, seen on real calls;
            `"documented"` as `key=value;…`; `"json"` as a JSON object.
        noise_cancellation: Whether noise is taken out of what the person says.
        noise_cancellation_level: How strongly, 60 to 100.
        attempts: How often to try to connect: Plivo tries twice more after a failure.
        retry_delay: Seconds between two attempts.
        open_timeout: Seconds the server may take to accept the connection.
        close_timeout: Seconds the server may take to answer the closing handshake.
        playback_limit: Seconds of the server's audio that are held for playback.
        backlog_limit: Seconds of audio that are held for a server that does not read.
        send_stop: Whether to send a `stop` event at the end; Plivo's reference has none.
        misbehaviour: What the carrier does wrong.
        network: What messages meet on their way, in both directions; nothing if left out.

    Raises:
        ValueError: Plivo would not take it, or `url` is no WebSocket address.

    """

    url: str
    format: AudioFormat = L16_8K
    track: Track = "inbound"
    bidirectional: bool = False
    timeout: float = MAX_STREAM_TIMEOUT
    extra_headers: Mapping[str, str] = field(default_factory=dict)
    extra_headers_style: Literal["live", "documented", "json"] = "live"
    noise_cancellation: bool = False
    noise_cancellation_level: int = DEFAULT_LEVEL
    attempts: int = 3
    retry_delay: float = 1.0
    open_timeout: float = 10.0
    close_timeout: float = 2.0
    playback_limit: float = 60.0
    backlog_limit: float = BACKLOG_SECONDS
    send_stop: bool = False
    misbehaviour: Misbehaviour = field(default_factory=Misbehaviour)
    network: StreamNetwork | None = None

    def __post_init__(self) -> None:
        if not self.url.startswith(("ws://", "wss://")) or len(self.url) > MAX_URL:
            raise ValueError(
                f"a stream's URL is ws://… or wss://… of at most {MAX_URL} characters, "
                f"got {self.url[:100]!r}"
            )
        if self.format not in PLIVO_FORMATS:
            allowed = ", ".join(map(str, PLIVO_FORMATS))
            raise ValueError(f"a stream cannot be {self.format}; allowed: {allowed}")
        if self.track not in _TRACKS:
            raise ValueError(f"a track is inbound, outbound or both, got {self.track!r}")
        if self.bidirectional and self.track != "inbound":
            raise ValueError(f"a bidirectional stream has only the inbound track, not {self.track}")
        if not 0 < self.timeout <= MAX_STREAM_TIMEOUT:
            raise ValueError(
                f"a stream's timeout is above 0 and at most {MAX_STREAM_TIMEOUT} seconds, "
                f"got {self.timeout!r}"
            )
        if self.attempts < 1:
            raise ValueError(f"a stream is attempted at least once, got {self.attempts!r}")
        reduction(self.noise_cancellation_level)
        # ProtocolError is a ValueError and says what cannot be written.
        _ = self.extra_headers_text

    @property
    def tracks(self) -> tuple[str, ...]:
        """The tracks to send, in the order in which they are sent."""
        return _TRACKS[self.track]

    @property
    def extra_headers_text(self) -> str:
        """The extra headers as they are sent."""
        if not self.extra_headers:
            return ""
        return format_extra_headers(self.extra_headers, style=self.extra_headers_style)


class Connect(Protocol):
    """Opens the WebSocket of a stream; `open_websocket` is one."""

    def __call__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        open_timeout: float,
        close_timeout: float,
    ) -> Awaitable[ClientConnection]:
        """Return an open connection.

        Raises:
            CallFailed: It could not be opened.

        """


class MediaStream:
    """One stream on a line that is up: `await run()` is its whole life.

    Args:
        line: The line.
        options: What was asked for.
        identity: Ids of the stream, its call and its account.
        on_status: Called with each change of status, in order. It must not raise and cannot wait.
        headers: Called once for each attempt to connect; returns the HTTP headers of the request,
            such as a signature.
        connect: Opens the WebSocket.
        on_entry: Called with each entry of the stream's timeline as it is made.

    Attributes:
        end: How the stream ended, None before that.
        ledger: Everything that has happened on it.
        playback: Where the server's audio is played; None until it is connected.

    Raises:
        NoiseCancellationError: Noise cancellation is asked for, and is not installed.

    """

    def __init__(
        self,
        line: Line,
        options: MediaStreamOptions,
        identity: StreamIdentity,
        *,
        on_status: Callable[[StatusChange], object] = lambda _: None,
        headers: Callable[[], Mapping[str, str]] = dict,
        connect: Connect = open_websocket,
        on_entry: Callable[[TimelineEntry], object] = lambda _: None,
    ) -> None:
        self.line = line
        self.options = options
        self.identity = identity
        self.end: StreamEnd | None = None
        self._on_status = on_status
        self._headers = headers
        self._open = connect
        self.ledger = CallLedger(on_entry)
        self.playback: PlaybackBuffer | None = None
        self._gaps_told = 0
        self._backlog = Backlog(options.backlog_limit)
        self._connection: CarrierConnection | None = None
        self._session: CarrierSession | None = None
        self._connecting: asyncio.Task[ClientConnection | None] | None = None
        # Whether the stream is still to be dropped and opened again.
        self._reopens = options.misbehaviour.reopen is not None
        self._started = False
        self._done = asyncio.Event()
        self._over = asyncio.Event()
        self._origin = 0.0
        canceller = None
        if options.noise_cancellation and "inbound" in options.tracks:
            canceller = NoiseCanceller(options.noise_cancellation_level, line.rate)
        self._outgoing = {
            track: OutgoingTrack(line, options.format, canceller if track == "inbound" else None)
            for track in options.tracks
        }

    @property
    def ended(self) -> bool:
        """Whether the stream has ended."""
        return self.end is not None

    @property
    def connected(self) -> bool:
        """Whether the server has accepted the stream and it has not ended."""
        return self._connection is not None and self.end is None

    @property
    def seconds(self) -> float:
        """How long the stream has been connected, or was."""
        if self.end is not None:
            return self.end.seconds
        if self._connection is None:
            return 0.0
        return asyncio.get_running_loop().time() - self._origin

    @property
    def errors(self) -> dict[str, int]:
        """What went wrong, and what the server sent that cannot be obeyed, with counts."""
        return dict(self.ledger.errors)

    @property
    def warnings(self) -> dict[str, int]:
        """What a strict reader would object to in the server's messages, with counts."""
        return dict(self.ledger.warnings)

    async def run(self) -> StreamEnd:
        """Connect, stream until something ends it, close the socket, and say how it ended.

        Nothing that a server does is raised. The end is announced when it comes; closing the
        socket takes up to `close_timeout` seconds more.

        Raises:
            RuntimeError: It was run before.

        """
        if self._started:
            raise RuntimeError("a MediaStream runs once")
        self._started = True
        stop_listening = self.line.listen(self)
        try:
            if not self.line.up:
                self._finish("Call hangup", error="" if self.line.ended_by else "not answered")
            connection = None if self.ended else await self._connect()
            if connection is not None:
                await self._converse(connection)
        finally:
            stop_listening()
            self._finish("API request")
            self._done.set()
        assert self.end is not None
        return self.end

    async def stop(self, reason: EndReason = "API request") -> StreamEnd:
        """End the stream, also while it connects, and wait until its socket is closed.

        A stream that has ended stays as it ended.
        """
        self._finish(reason)
        if self._started:
            await self._done.wait()
        assert self.end is not None
        return self.end

    def on_frame(self, tick: int, inbound: Samples, outbound: Samples) -> None:
        """Send a frame of each track; see `LineListener`."""
        session = self._session
        if session is None or self.ended:
            return
        now = self.line.tick_time(tick)
        frames = {"inbound": inbound, "outbound": outbound}
        session.frame([track.payload(frames[name]) for name, track in self._outgoing.items()], now)
        self._act(now)
        self._tell_gaps()
        for percent in self._backlog.warnings(now):
            self._tell(
                "degraded",
                error=f"{percent}% of the buffer of {self._backlog.limit:g} s is full: "
                "the remote service does not read fast enough",
            )
        if self._backlog.full(now):
            error = f"the remote service has not read for {self._backlog.limit:g} s"
            self._finish("Connection error", error=error)
        elif now - self._origin >= self.options.timeout - 1e-6:
            self._finish("Stream timeout")

    def on_digit(self, digit: str) -> None:
        """Send a key that the person pressed; see `LineListener`."""
        if self._session is not None and not self.ended:
            now = asyncio.get_running_loop().time()
            self._session.press(digit, now)
            self._act(now)

    def on_end(self, ended_by: str) -> None:
        """End with the call; see `LineListener`."""
        self._finish("Call hangup")

    async def _connect(self) -> ClientConnection | None:
        self._connecting = asyncio.create_task(self._attempt())
        try:
            connection = await self._connecting
        except asyncio.CancelledError:
            # By `_finish`, or because `run` is cancelled.
            if not self.ended:
                raise
            return None
        if connection is not None and self.ended:
            connection.transport.abort()
            return None
        return connection

    async def _attempt(self) -> ClientConnection | None:
        options = self.options
        failure = ""
        for attempt in range(options.attempts):
            if attempt:
                self._error(failure)
                await asyncio.sleep(options.retry_delay)
            try:
                return await self._open(
                    options.url,
                    headers=self._headers(),
                    open_timeout=options.open_timeout,
                    close_timeout=options.close_timeout,
                )
            except (CallFailed, ValueError) as error:
                failure = str(error)
        # Not from here: this is the task that the end cancels.
        self._connecting = None
        self._finish("Connection error", error=failure)
        return None

    async def _converse(self, websocket: ClientConnection) -> None:
        connection_socket = websocket.transport.get_extra_info("socket")
        if connection_socket is not None:
            connection_socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        options = self.options
        connection = self._carrier(websocket)
        # The grid of the line is the grid of the stream: its first frame is the one under way.
        first = self.line.ticks
        self._origin = self.line.tick_time(first)
        incoming = IncomingTrack(
            self.line,
            options.format,
            origin=self._origin,
            limit=options.playback_limit,
            answer=self._answer,
        )
        self.playback = incoming.buffer
        detach = self.line.attach(incoming) if options.bidirectional else _nothing
        self._session = CarrierSession(
            self.identity,
            options.format,
            buffer=incoming.buffer,
            ledger=self.ledger,
            bidirectional=options.bidirectional,
            tracks=options.tracks,
            extra_headers_text=options.extra_headers_text,
            epoch_ms=round(self.line.epoch * 1000) + first * 1000 // TICKS_PER_SECOND,
            misbehaviour=options.misbehaviour,
        )
        self._connection = connection
        reading = asyncio.create_task(self._read(self._session))
        try:
            self._session.start()
            self._act(self._origin)
            self._tell("connected")
            await self._over.wait()
            detach()
            # The closing handshake waits, without a limit, until the server has read everything.
            with contextlib.suppress(TimeoutError, ConnectionClosed):
                async with asyncio.timeout(options.close_timeout):
                    await self._connection.close()
        finally:
            self._finish("API request")
            detach()
            self._connection.abort()
            await reading

    def _carrier(self, websocket: ClientConnection) -> CarrierConnection:
        return CarrierConnection(
            websocket,
            fragmented=self.options.misbehaviour.fragmented,
            before=self._connection,
            network=self.options.network,
        )

    async def _read(self, session: CarrierSession) -> None:
        loop = asyncio.get_running_loop()
        assert self._connection is not None

        def obey(message: WireMessage) -> None:
            session.receive(message, loop.time())
            self._act(loop.time())

        path = NetworkPath(self.options.network or StreamNetwork(), obey)
        try:
            while True:
                try:
                    message = await self._connection.receive()
                except ConnectionClosed:
                    path.flush()
                    if self.ended or self._connection.can_send or not self._reopens:
                        raise
                    self._reopens = False
                    await self._reopen(session)
                    continue
                path.send(message)
        except ConnectionClosed as closed:
            if closed.rcvd is not None and closed.rcvd_then_sent:
                code, reason = closed.rcvd.code, closed.rcvd.reason
                normal = code in (CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY)
                error = "" if normal else f"closed with code {code} {reason}".rstrip()
                self._finish("Server closed", error=error)
            elif closed.rcvd is None and closed.sent is not None:
                error = f"{closed.sent.reason or 'protocol error'} (code {closed.sent.code})"
                self._finish("Connection error", error=error)
        finally:
            path.drop()
            self._finish("Connection error", error=LOST)

    async def _reopen(self, session: CarrierSession) -> None:
        """Open the stream again, so long after it was dropped as the misbehaviour says."""
        options = self.options
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(options.misbehaviour.reopen or 0.0):
                await self._over.wait()
        if self._over.is_set():
            raise ConnectionClosedError(None, None)
        try:
            websocket = await self._open(
                options.url,
                headers=self._headers(),
                open_timeout=options.open_timeout,
                close_timeout=options.close_timeout,
            )
        except (CallFailed, ValueError) as error:
            self._finish("Connection error", error=f"not taken again: {error}")
            raise ConnectionClosedError(None, None) from error
        self._connection = self._carrier(websocket)
        if self._over.is_set():
            # The call was over before the server accepted.
            self._connection.abort()
            return
        now = asyncio.get_running_loop().time()
        session.reopen(now)
        self._act(now)

    def _tell_gaps(self) -> None:
        """Enter the gaps in the server's audio that have ended."""
        assert self.playback is not None
        gaps = self.playback.gaps
        for start, seconds in gaps[self._gaps_told :]:
            self.ledger.note(start + seconds, "gap", f"{seconds:.2f} s")
        self._gaps_told = len(gaps)

    def _answer(self, happenings: list[Happening]) -> None:
        """Answer the server, and report to the status callback, what became of its audio."""
        if self._session is not None and happenings:
            self._session.settle(happenings)
            self._act(asyncio.get_running_loop().time())

    def _act(self, now: float) -> None:
        """Send what the session has to send, and act on what has happened."""
        session, connection = self._session, self._connection
        assert session is not None
        assert connection is not None
        for message in session.messages():
            self._backlog.put(message, now)
        self._flush(connection)
        for happening in session.happenings():
            if self.ended:
                return
            match happening:
                case Played(name=name):
                    self._tell("played", name=name)
                case Cleared():
                    self._tell("cleared")
                case DigitsReceived(digits=digits):
                    self.line.send_digits(digits)
                case FaultDue(fault=fault):
                    if fault in ("drop", "vanish") and self._reopens:
                        session.lose(now)
                    if not connection.carry_out(fault):
                        self._error(f"{fault}: not possible with TLS")

    def _flush(self, connection: CarrierConnection, *, everything: bool = False) -> None:
        """Hand over what the connection takes at once, or everything."""
        while self._backlog and (everything or not connection.unsent):
            message = self._backlog.take()
            self.ledger.message_sent(message)
            connection.send(message)

    def _finish(self, reason: EndReason, *, error: str = "") -> None:
        """End the stream as far as the call is concerned; its socket may take longer."""
        if self.end is not None:
            return
        if self._connection is not None and reason != "Connection error":
            if self.options.send_stop and self._session is not None:
                self._session.stop()
                self._act(asyncio.get_running_loop().time())
            self._flush(self._connection, everything=True)
        if self._session is not None:
            self._session.close()
        self.end = StreamEnd(reason, error, self.seconds)
        if error:
            self._error(error)
        if self._connecting is not None:
            self._connecting.cancel()
        if self._connection is not None and reason == "Connection error":
            self._connection.abort()
        self._tell(self._ending(reason), error=error)
        self._over.set()

    def _ending(self, reason: EndReason) -> _StatusKind:
        if reason == "Connection error":
            return "dropped" if self._connection is not None else "failed"
        return "timeout" if reason == "Stream timeout" else "stopped"

    def _tell(self, kind: _StatusKind, *, name: str = "", error: str = "") -> None:
        self._on_status(StatusChange(kind, name, error, self.seconds))

    def _error(self, text: str) -> None:
        self.ledger.error(self.seconds, text)


def _nothing() -> None:
    pass
