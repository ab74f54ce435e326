"""A phone whose call is streamed to a server, the way Plivo streams one."""

from __future__ import annotations

import asyncio
import math
import ssl as tls
from collections.abc import Awaitable, Callable, Mapping
from socket import socket
from types import TracebackType
from typing import Literal, Self

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from audiocodecs import MULAW_8K, AudioFormat, Samples, resample
from mediaserver.protocol import PLIVO_FORMATS, Command, format_extra_headers
from mediaserver.sandbox.audio.keys import Keypad, Stretch, check_digits
from mediaserver.sandbox.audio.playback import (
    GRID_TOLERANCE,
    TICK,
    TICKS_PER_SECOND,
    PlaybackBuffer,
)
from mediaserver.sandbox.audio.voice import CallerVoice
from mediaserver.sandbox.audio.waits import (
    WITHIN,
    Reached,
    Waits,
    first_beginning,
    first_silence,
    last_heard,
    reached_at,
)
from mediaserver.sandbox.errors import CallEnded, CallFailed, WaitTimeoutError
from mediaserver.sandbox.phone.report import CallReport, EndedBy, mix, timeline
from mediaserver.sandbox.wire.connect import open_websocket
from mediaserver.sandbox.wire.connection import CarrierConnection
from mediaserver.sandbox.wire.ledger import CallLedger, TimelineEntry
from mediaserver.sandbox.wire.messages import StreamIdentity, WireMessage
from mediaserver.sandbox.wire.misbehaviour import Misbehaviour
from mediaserver.sandbox.wire.session import CarrierSession, FaultDue


_UNREAD_SECONDS = 40
"""Seconds of audio Plivo holds for a server that does not read, from its best practices."""

_DEFAULT_EPOCH = 1_705_312_200.0
"""Unix time of the clock's zero, for a phone that is made without an `epoch`."""


LONGEST_CALL = 14_400.0
"""Seconds after which a whole call is hung up, as Plivo does it if it is not given a limit."""


class Phone:
    """One call to a server that speaks Plivo's stream protocol, seen from the carrier.

    It opens the WebSocket, sends `start`, then the caller's audio as 20 ms frames on an absolute
    clock, and plays what the server sends through a `PlaybackBuffer`. `await phone.call()` does a
    whole call; for live control use `start` or `async with`, then `say`, `press`, the `wait_…`
    methods and `hang_up`. All times are seconds after the start of the stream, on the clock of
    the running event loop.

    Args:
        url: Where to call, `ws://` or `wss://`.
        audio: Audio that the caller says from the start, `int16[n]`.
        audio_rate: Sample rate of `audio` in Hz; the rate of the stream if left out.
        format: Format of the stream, one of Plivo's four.
        bidirectional: Whether the server may send audio and commands.
        tracks: `"inbound"`, and `"outbound"` on a stream that is not bidirectional.
        extra_headers: What `extraHeaders` of `<Stream>` would set.
        extra_headers_style: `"live"` writes them as `{X-PH-key: value}`, seen on real calls;
            `"documented"` as `key=value;…`; `"json"` as a JSON object.
        headers: HTTP headers of the WebSocket request, such as a signature.
        ssl: TLS settings for `wss://`; certificates are verified if left out.
        sock: A connected socket to use in place of opening one.
        another_sock: Returns another one, for a stream that is opened again.
        identity: Ids of call, stream and account; random if left out.
        epoch: Unix time of the start of the stream, for timestamps. If left out it follows from
            the loop's clock, so that it is the same in every run in virtual time.
        misbehaviour: Deviations from Plivo's behaviour.
        seed: Seed of the random choices of a misbehaviour.
        keep_audio: Keep both voices for the recording. Switch off for many long calls.
        playback_limit: Seconds of audio the carrier queues for playback.
        gap_threshold: Silence of this many seconds or more between the agent's audio is reported
            as a pause, not as a gap.
        send_stop: Send a `stop` event before hanging up; Plivo's reference has none.
        open_timeout: Seconds the server may take to accept the call.
        close_timeout: Seconds the server may take to answer the closing handshake.

    Attributes:
        on_command: Called with each command of the server that the phone obeyed, and when on the
            loop's clock. It may be set or changed at any time.

    Raises:
        ValueError: An argument that Plivo would not take.

    """

    def __init__(
        self,
        url: str,
        *,
        audio: Samples | None = None,
        audio_rate: int | None = None,
        format: AudioFormat = MULAW_8K,
        bidirectional: bool = True,
        tracks: tuple[str, ...] = ("inbound",),
        extra_headers: Mapping[str, str] | None = None,
        extra_headers_style: Literal["live", "documented", "json"] = "live",
        headers: Mapping[str, str] | None = None,
        ssl: tls.SSLContext | None = None,
        sock: socket | None = None,
        another_sock: Callable[[], Awaitable[socket]] | None = None,
        identity: StreamIdentity | None = None,
        epoch: float | None = None,
        misbehaviour: Misbehaviour | None = None,
        seed: int = 0,
        keep_audio: bool = True,
        playback_limit: float = 60.0,
        gap_threshold: float = 0.5,
        send_stop: bool = False,
        open_timeout: float = 10.0,
        close_timeout: float = 2.0,
    ) -> None:
        if format not in PLIVO_FORMATS:
            allowed = ", ".join(map(str, PLIVO_FORMATS))
            raise ValueError(f"a Plivo stream cannot be {format}; allowed: {allowed}")
        if not tracks or not {"inbound", "outbound"}.issuperset(tracks):
            raise ValueError(f"tracks must be of inbound and outbound, got {tracks!r}")
        if bidirectional and "outbound" in tracks:
            raise ValueError("a bidirectional stream has only the inbound track")
        self.url = url
        self.format = format
        self.identity = identity or StreamIdentity.new()
        self.bidirectional = bidirectional
        self.tracks = tuple(dict.fromkeys(tracks))
        self.misbehaviour = misbehaviour or Misbehaviour()
        self.on_command: Callable[[Command, float], object] | None = None
        self._extra_headers_text = ""
        if extra_headers:
            self._extra_headers_text = format_extra_headers(
                extra_headers, style=extra_headers_style
            )
        self._headers = headers
        self._ssl = ssl
        self._sock = sock
        self._another_sock = another_sock
        self._reopens = self.misbehaviour.reopen is not None
        self._epoch = epoch
        self._seed = seed
        self._keep_audio = keep_audio
        self._playback_limit = playback_limit
        self._gap_threshold = gap_threshold
        self._send_stop = send_stop
        self._open_timeout = open_timeout
        self._close_timeout = close_timeout

        self._ledger = CallLedger()
        self._voice = CallerVoice(format, keep_audio=keep_audio)
        self._silence = format.silence * (format.rate // TICKS_PER_SECOND)
        self._keypad = Keypad()
        self._waits = Waits(self._situation)
        self._buffer = PlaybackBuffer(format)
        if audio is not None:
            self.say(audio, audio_rate)

        # Set when the call starts.
        self._loop: asyncio.AbstractEventLoop
        self._connection: CarrierConnection
        self._session: CarrierSession
        self._reader: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._origin = 0.0
        self._deadline = 0.0
        self._connect_seconds = 0.0

        # Set when it ends.
        self._ended_at: float | None = None
        self._ended_by: EndedBy | None = None
        self._close_code: int | None = None
        self._close_reason = ""
        self._closed = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.hang_up()

    @property
    def started(self) -> bool:
        """Whether the call was taken."""
        return self._reader is not None

    @property
    def ended(self) -> bool:
        """Whether the call was taken and is over."""
        return self._ended_at is not None

    @property
    def time(self) -> float:
        """Seconds since the start of the stream; stands still once the call has ended."""
        if self._ended_at is not None:
            return self._ended_at
        return self._loop.time() - self._origin if self.started else 0.0

    @property
    def websocket(self) -> ClientConnection:
        """The WebSocket of a call that was taken, for measurements of the connection itself."""
        return self._connection.websocket

    @property
    def played(self) -> float:
        """Seconds of the agent's audio played so far."""
        return self._buffer.played

    @property
    def events(self) -> list[TimelineEntry]:
        """Everything that has happened so far, in order."""
        return timeline(self._ledger.entries, self._caller_speech(), self._buffer.spells, self.time)

    async def call(self, *, silence: float = 2.0, seconds: float | None = None) -> CallReport:
        """Make a whole call and return its report.

        The caller says everything, waits until the agent has been silent, and hangs up.

        Args:
            silence: Seconds without speech from the agent after which it has finished.
            seconds: Longest call, in the call's own time; `LONGEST_CALL`, four hours, if left out.

        Raises:
            CallFailed: The server did not take the call.

        """
        await self.start()
        try:
            async with asyncio.timeout(LONGEST_CALL if seconds is None else seconds):
                await self.wait_spoken(within=math.inf)
                await self.wait_for_silence(silence, within=math.inf)
        except (CallEnded, TimeoutError):
            pass
        finally:
            await self.hang_up()
        return self.report()

    async def start(self) -> None:
        """Call the server; returns when it has taken the call and `start` has been sent.

        Raises:
            CallFailed: It did not take the call.

        """
        if self.started:
            raise RuntimeError("a Phone makes one call; this one has been started before")
        self._loop = asyncio.get_running_loop()
        dialled = self._loop.time()
        websocket = await self._open(self._sock)
        self._origin = self._loop.time()
        self._connect_seconds = self._origin - dialled
        self._connection = CarrierConnection(websocket, fragmented=self.misbehaviour.fragmented)
        self._buffer = PlaybackBuffer(
            self.format,
            origin=self._origin,
            limit=self._playback_limit,
            gap_threshold=self._gap_threshold,
            keep_audio=self._keep_audio,
        )
        epoch = _DEFAULT_EPOCH + self._origin if self._epoch is None else self._epoch
        self._session = CarrierSession(
            self.identity,
            self.format,
            buffer=self._buffer,
            ledger=self._ledger,
            bidirectional=self.bidirectional,
            tracks=self.tracks,
            extra_headers_text=self._extra_headers_text,
            epoch_ms=round(epoch * 1000),
            misbehaviour=self.misbehaviour,
            seed=self._seed,
        )
        self._session.on_command = self._obeyed
        self._session.start()
        self._flush()
        self._deadline = self._origin + TICK
        self._timer = self._loop.call_at(self._deadline, self._tick)
        self._reader = asyncio.create_task(self._read(), name=f"phone {self.identity.stream_id}")

    async def _open(self, sock: socket | None) -> ClientConnection:
        return await open_websocket(
            self.url,
            headers=self._headers,
            ssl=self._ssl,
            sock=sock,
            open_timeout=self._open_timeout,
            close_timeout=self._close_timeout,
        )

    def say(self, samples: Samples, rate: int | None = None) -> float:
        """Say `samples` (`int16[n]`) after everything else that is still to be said.

        Returns the time at which they begin.

        Args:
            samples: Mono audio.
            rate: Its sample rate in Hz; the rate of the stream if left out.

        Raises:
            AudioError: The samples are not mono int16, or the rate is unknown.

        """
        if rate is not None and rate != self.format.rate:
            samples = resample(samples, rate, self.format.rate)
        begins = self._voice.ends
        self._voice.say(self.format.encode(samples))
        return begins

    def press(self, digits: str) -> None:
        """Press keys: the first at once, each following one 0.1 s later.

        Raises:
            ValueError: A digit is not one of `0`-`9`, `*`, `#`, `A`-`D`.
            CallEnded: The call has ended, or has not been started.

        """
        check_digits(digits)
        self._require_call()
        self._keypad.press(digits, self.time)
        self._press_keys(self._loop.time())

    async def wait_for_audio(self, *, after: float | None = None, within: float = WITHIN) -> float:
        """Wait until the agent is heard to speak; return when it began.

        Speech counts that is under way, or else the next. A test that must not miss speech that may
        be over already says where it begins at the earliest, by `after`:

            asked = phone.time
            phone.press("1")
            await phone.wait_for_audio(after=asked)

        Args:
            after: Only speech counts that begins at this time or later, also if it has been heard
                to its end. A pause of less than 0.2 s does not end what was begun before.
            within: Seconds of the call's time that this may take.

        Raises:
            WaitTimeoutError: The agent was not heard in time.
            CallEnded: The call ended first.

        """
        now = self.time
        spells = self._buffer.spells
        if after is None:
            if not self.ended and spells and now < spells[-1][1]:
                return spells[-1][0]
            count = len(spells)
            return await self._until(
                "the agent to speak",
                lambda _: (
                    self._buffer.spells[count][0] if self._buffer.spell_count > count else None
                ),
                within,
            )
        begun = first_beginning(spells, after)
        if begun is not None:
            return begun
        return await self._until(
            f"the agent to begin to speak after {after:.2f} s",
            lambda _: first_beginning(self._buffer.spells, after),
            within,
        )

    async def wait_for_silence(
        self, seconds: float, *, after: float | None = None, within: float = WITHIN
    ) -> float:
        """Wait until the agent has not been heard for `seconds`; return when they were over.

        Args:
            seconds: How long the silence must last.
            after: Where the silence may begin at the earliest, also if it is over already; now if
                left out.
            within: Seconds of the call's time in which the silence must begin.

        Raises:
            WaitTimeoutError: The agent was not silent in time.
            CallEnded: The call ended first.

        """
        since = self.time if after is None else after

        def silent(now: float) -> float | None:
            return first_silence(self._buffer.spells, seconds, after=since, now=now)

        over = None if after is None else silent(self.time)
        if over is not None:
            return over
        what = f"{seconds:g} s without speech from the agent, after {since:.2f} s"
        return await self._until(what, silent, within + seconds)

    async def wait_spoken(self, *, within: float = WITHIN) -> float:
        """Wait until everything said and every key pressed has been sent.

        Args:
            within: Seconds that this may take beyond the length of the audio still to be said.

        Raises:
            WaitTimeoutError: There was still something to say, or to press.
            CallEnded: The call ended first.

        """

        def spoken(now: float) -> float | None:
            return None if self._voice.speaking or self._keypad else now

        limit = max(0.0, self._voice.ends - self.time) + within
        return await self._until("the caller to have said and pressed everything", spoken, limit)

    async def wait_until(self, time: float) -> float:
        """Wait until `time` seconds after the start of the stream.

        It takes no limit: the time passes, or the call ends.

        Raises:
            CallEnded: The call ended first.

        """
        return await self._until(f"the time {time:.2f} s", reached_at(time), math.inf)

    async def wait_closed(self, *, within: float = WITHIN) -> None:
        """Wait until the call has ended, by either side, and its socket is closed.

        Args:
            within: Seconds that this may take; `math.inf` waits as long as the call lasts.

        Raises:
            WaitTimeoutError: The call has not ended.

        """
        try:
            async with asyncio.timeout(None if within == math.inf else within):
                await self._closed.wait()
        except TimeoutError:
            raise WaitTimeoutError(
                f"waited {within:g} s for the call to be over; {self._situation()}"
            ) from None

    async def hang_up(self) -> None:
        """End the call by closing the socket. Does nothing if it has ended."""
        if not self.started:
            return
        if not self.ended:
            if self._send_stop:
                self._session.stop()
                self._flush()
            self._ended_by = self._ended_by or "caller"
            self._finish()
            await self._connection.close()
        await self._closed.wait()

    def report(self) -> CallReport:
        """Return the report of the call so far."""
        duration = self.time
        if self.started and not self.ended:
            self._session.advance(self._loop.time())
            self._flush()
        return CallReport.of(
            self._ledger,
            self._buffer,
            caller_speech=self._caller_speech(),
            url=self.url,
            call_id=self.identity.call_id,
            stream_id=self.identity.stream_id,
            format=str(self.format),
            misbehaviour=str(self.misbehaviour),
            connect_seconds=self._connect_seconds,
            duration=duration,
            ended_by=self._ended_by,
            close_code=self._close_code,
            close_reason=self._close_reason,
            timeline=self.events,
            recording=self.recording() if self._keep_audio else None,
        )

    def recording(self) -> Samples:
        """Return `int16[n, 2]` at the rate of the stream: caller left, agent as heard right."""
        return mix(self._voice.said, self._buffer.heard, round(self.time * self.format.rate))

    def _obeyed(self, command: Command, now: float) -> None:
        if self.on_command is not None:
            self.on_command(command, now)

    def _tick(self) -> None:
        """Do everything due by the deadline that has just passed, or more after a stall."""
        # A loop's timers may come a little early, by the clock's resolution.
        now = max(self._loop.time(), self._deadline)
        self._ledger.lateness = max(self._ledger.lateness, now - self._deadline)
        ticks = math.floor((now - self._origin) * TICKS_PER_SECOND + GRID_TOLERANCE)
        self._deadline = self._origin + (ticks + 1) / TICKS_PER_SECOND
        self._timer = self._loop.call_at(self._deadline, self._tick)
        self._session.advance(now)
        self._flush()
        self._send_frames(ticks, now)
        if self._keypad:
            self._press_keys(now)
        self._act()
        if self._waits:
            self._waits.look(now - self._origin)

    def _send_frames(self, ticks: int, now: float) -> None:
        while self._session.ticks < ticks:
            said = self._voice.take(len(self._silence))
            self._session.frame(
                [said if track == "inbound" else self._silence for track in self.tracks], now
            )
        frames = self._session.messages()
        if self._has_room():
            self._ledger.frames_sent += len(frames)
            self._send(frames)
        elif frames:
            self._error(f"the server has not read for {_UNREAD_SECONDS} s: frames are dropped")

    def _press_keys(self, now: float) -> None:
        for digit in self._keypad.due(now - self._origin):
            self._session.press(digit, now)
        self._flush()

    def _flush(self) -> None:
        self._send(self._session.messages())

    def _send(self, messages: list[WireMessage]) -> None:
        if self._connection.can_send:
            for message in messages:
                self._ledger.message_sent(message)
                self._connection.send(message)

    def _has_room(self) -> bool:
        unsent = self._connection.unsent
        per_second = self._ledger.bytes_sent / max(self.time, 1.0)
        return not unsent or unsent < _UNREAD_SECONDS * per_second

    def _act(self) -> None:
        """Carry out the misbehaviours of the connection that are due."""
        for happening in self._session.happenings():
            if not isinstance(happening, FaultDue):
                continue
            if happening.fault in ("drop", "vanish") and self._reopens:
                self._session.lose(self._loop.time())
            elif happening.fault != "stop-reading":
                self._ended_by = "caller"
            if not self._connection.carry_out(happening.fault):
                self._error(f"{happening.fault}: not possible with TLS")

    async def _read(self) -> None:
        try:
            while True:
                try:
                    message = await self._connection.receive()
                except ConnectionClosed:
                    if not self._is_to_be_reopened():
                        raise
                    await self._reopen()
                    continue
                self._session.receive(message, self._loop.time())
                self._flush()
        except ConnectionClosed as closed:
            self._note_close(closed)
            self._finish()
        except CallFailed as refusal:
            self._error(f"the stream was not taken again: {refusal}")
            self._ended_by = "lost"
        finally:
            self._finish()
            self._ledger.note(self.time, "stream_ended", self._how_ended())
            self._connection.abort()
            self._closed.set()

    def _is_to_be_reopened(self) -> bool:
        dropped = not self._connection.can_send and not self.ended
        reopens, self._reopens = self._reopens and dropped, False
        return reopens

    async def _reopen(self) -> None:
        """Open the stream again, so long after it was dropped as the misbehaviour says."""
        assert self.misbehaviour.reopen is not None
        await asyncio.sleep(self.misbehaviour.reopen)
        sock = None if self._another_sock is None else await self._another_sock()
        websocket = await self._open(sock)
        self._connection = CarrierConnection(
            websocket, fragmented=self.misbehaviour.fragmented, before=self._connection
        )
        self._session.reopen(self._loop.time())
        self._flush()

    def _finish(self) -> None:
        """End the call as far as its caller is concerned; the socket may take longer."""
        if self._ended_at is not None:
            return
        now = self._loop.time()
        self._session.advance(now)
        self._flush()
        self._session.close()
        self._connection.can_send = False
        self._ended_at = now - self._origin
        if self._timer is not None:
            self._timer.cancel()
        self._waits.end()

    def _note_close(self, closed: ConnectionClosed) -> None:
        frame = closed.rcvd or closed.sent
        if self._ended_by is None:
            if frame is None:
                self._ended_by = "lost"
            elif closed.rcvd is not None and closed.rcvd_then_sent:
                self._ended_by = "server"
            else:
                self._ended_by = "protocol"
                frame = closed.sent or frame
        if frame is None:
            self._close_code = CloseCode.ABNORMAL_CLOSURE.value
        else:
            self._close_code, self._close_reason = int(frame.code), frame.reason

    def _how_ended(self) -> str:
        code = "" if self._close_code is None else f", code {self._close_code}"
        return f"by {self._ended_by}{code} {self._close_reason}".rstrip()

    async def _until(self, what: str, reached: Reached, limit: float) -> float:
        if not self.started or self.ended:
            raise self._waits.ended(what)
        return await self._waits.until(what, reached, now=self.time, limit=limit)

    def _situation(self) -> str:
        """Say how the call stands, what was heard last, and what happened last."""
        if not self.started:
            return "the call has not been started"
        if self.ended:
            state = f"the call ended at {self.time:.2f} s {self._how_ended()}"
        else:
            state = f"the call is at {self.time:.2f} s"
        heard = last_heard("the agent", self._buffer.spells)
        last = self._ledger.entries[-1]
        event = f"{last.kind} {last.text}".rstrip()
        return f"{state}; {heard}; the last event was {event} at {last.time:.2f} s"

    def _require_call(self) -> None:
        if not self.started or self.ended:
            raise CallEnded(self._situation())

    def _caller_speech(self) -> list[Stretch]:
        """Return the caller's speech up to now."""
        now = self.time
        return [(start, min(end, now)) for start, end in self._voice.utterances if start < now]

    def _error(self, text: str) -> None:
        self._ledger.error(self.time, text)
