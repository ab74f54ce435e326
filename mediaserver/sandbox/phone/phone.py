"""A phone whose call is streamed to a server, the way Plivo streams one."""

from __future__ import annotations

import asyncio
import math
import ssl as tls
from collections import deque
from collections.abc import Callable, Mapping
from socket import socket
from types import TracebackType
from typing import Literal, Self

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import broadcast
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.protocol import State

from audiocodecs import (
    MULAW_8K,
    AudioError,
    AudioFormat,
    Samples,
    resample,
)
from mediaserver.protocol import (
    PLIVO_FORMATS,
    ClearAudio,
    PlayAudio,
    ProtocolError,
    SendDtmf,
    SetCheckpoint,
    decode_command,
    format_extra_headers,
)
from mediaserver.sandbox.audio.keys import Keypad, check_digits
from mediaserver.sandbox.audio.playback import (
    TICK,
    TICKS_PER_SECOND,
    Cleared,
    Happening,
    PlaybackBuffer,
    Played,
)
from mediaserver.sandbox.audio.voice import CallerVoice
from mediaserver.sandbox.errors import CallEnded
from mediaserver.sandbox.phone.report import (
    CallReport,
    EndedBy,
    Gap,
    interrupts,
    mix,
    replies,
)
from mediaserver.sandbox.phone.uplink import Message, Uplink
from mediaserver.sandbox.wire.connect import dial
from mediaserver.sandbox.wire.ledger import CallLedger, TimelineEntry
from mediaserver.sandbox.wire.messages import StreamIdentity
from mediaserver.sandbox.wire.misbehaviour import Misbehaviour


UNREAD_SECONDS = 40
"""Seconds of audio Plivo holds for a server that does not read, from its best practices."""

DEFAULT_EPOCH = 1_705_312_200.0
"""Unix time that the clock's zero stands for when a phone is not told when its call starts."""

_GRID_TOLERANCE = 1e-6


class Phone:
    """One call to a server that speaks Plivo's stream protocol, seen from the carrier.

    It opens the WebSocket, sends `start`, then the caller's audio as 20 ms frames on an absolute
    clock, and plays what the server sends through a `PlaybackBuffer`. `await phone.call()` does a
    whole call; for live control use `start` or `async with`, then `say`, `press`, the `wait_…`
    methods and `hang_up`. All times are seconds after the start of the stream, on the clock of
    the running event loop.

    Args:
        url: Where to call, `ws://` or `wss://`.
        audio: What the caller says from the start, `int16[n]`.
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
        identity: Ids of call, stream and account; random if left out.
        epoch: Unix time of the start of the stream, for timestamps. If left out it follows from
            the loop's clock, so that it is the same in every run in virtual time.
        misbehaviour: What the phone does wrong.
        seed: Makes what is random in a misbehaviour the same every time.
        keep_audio: Keep both voices for the recording. Switch off for many long calls.
        playback_limit: Seconds of audio the carrier queues for playback.
        gap_threshold: Silence of this many seconds or more between the agent's audio is reported
            as a pause, not as a gap.
        send_stop: Send a `stop` event before hanging up; Plivo's reference has none.
        open_timeout: Seconds the server may take to accept the call.
        close_timeout: Seconds the server may take to answer the closing handshake.

    Raises:
        ValueError: An argument Plivo would not take.

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
        self._extra_headers_text = ""
        if extra_headers:
            self._extra_headers_text = format_extra_headers(
                extra_headers, style=extra_headers_style
            )
        self._headers = headers
        self._ssl = ssl
        self._sock = sock
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
        self._buffer = PlaybackBuffer(format)
        if audio is not None:
            self.say(audio, audio_rate)

        # Set when the call starts.
        self._loop: asyncio.AbstractEventLoop
        self._connection: ClientConnection
        self._uplink: Uplink
        self._reader: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._origin = 0.0
        self._deadline = 0.0
        self._connect_seconds = 0.0
        self._ended_at: float | None = None
        self._ended_by: EndedBy | None = None
        self._close_code: int | None = None
        self._close_reason = ""
        # False once the phone's sending side is shut.
        self._can_send = False
        self._closed = asyncio.Event()
        # Conditions looked at on every tick, and who waits for them.
        self._waiters: list[tuple[Callable[[float], bool], asyncio.Future[float]]] = []
        self._keypad = Keypad()
        # Misbehaviours that happen to the connection at a given time, soonest first.
        self._incidents: deque[tuple[float, str, Callable[[], None]]] = deque()

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
    def events(self) -> list[TimelineEntry]:
        """Everything that has happened so far, in order."""
        entries = list(self._ledger.entries)
        for start, end in self._caller_speech():
            entries.append(TimelineEntry(start, "caller_speaks"))
            if end <= self.time:
                entries.append(TimelineEntry(end, "caller_silent"))
        for start, end in self._buffer.spells:
            entries.append(TimelineEntry(start, "agent_speaks"))
            if end <= self.time:
                entries.append(TimelineEntry(end, "agent_silent"))
        return sorted(entries, key=lambda entry: (entry.time, entry.kind == "stream_ended"))

    async def call(self, *, silence: float = 2.0, seconds: float | None = None) -> CallReport:
        """Make a whole call and return its report.

        The caller says what there is to say, waits until the agent has been silent, and hangs up.

        Args:
            silence: Seconds without speech from the agent after which it has finished.
            seconds: Longest call.

        Raises:
            CallFailed: The server did not take the call.

        """
        await self.start()
        try:
            async with asyncio.timeout(seconds):
                await self.wait_spoken()
                await self.wait_for_silence(silence)
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
        self._connection = await dial(
            self.url,
            headers=self._headers,
            ssl=self._ssl,
            sock=self._sock,
            open_timeout=self._open_timeout,
            close_timeout=self._close_timeout,
        )
        self._origin = self._loop.time()
        self._connect_seconds = self._origin - dialled
        self._can_send = True
        self._buffer = PlaybackBuffer(
            self.format,
            origin=self._origin,
            limit=self._playback_limit,
            gap_threshold=self._gap_threshold,
            keep_audio=self._keep_audio,
        )
        epoch = DEFAULT_EPOCH + self._origin if self._epoch is None else self._epoch
        self._uplink = Uplink(
            self._voice,
            self.identity,
            tracks=self.tracks,
            extra_headers_text=self._extra_headers_text,
            epoch_ms=round(epoch * 1000),
            misbehaviour=self.misbehaviour,
            seed=self._seed,
        )
        self._plan_incidents()
        self._ledger.note(0.0, "stream_started", str(self.format))
        self._send(self._uplink.opening())
        self._deadline = self._origin + TICK
        self._timer = self._loop.call_at(self._deadline, self._tick)
        self._reader = asyncio.create_task(self._read(), name=f"phone {self.identity.stream_id}")

    def say(self, samples: Samples, rate: int | None = None) -> None:
        """Say `samples` (`int16[n]`) after what is being said.

        Args:
            samples: Mono audio.
            rate: Its sample rate in Hz; the rate of the stream if left out.

        Raises:
            AudioError: The samples are not mono int16, or the rate is unknown.

        """
        if rate is not None and rate != self.format.rate:
            samples = resample(samples, rate, self.format.rate)
        self._voice.say(self.format.encode(samples))

    def press(self, digits: str) -> None:
        """Press keys: the first at once, each following one 0.1 s later.

        Raises:
            ValueError: A digit is not one of `0`-`9`, `*`, `#`, `A`-`D`.
            CallEnded: The call has ended, or has not been started.

        """
        check_digits(digits)
        self._require_call()
        self._keypad.press(digits, self.time)
        self._press_keys(self.time)

    async def wait_for_audio(self) -> float:
        """Wait until the agent is heard to speak, now or next; return when it began.

        Raises:
            CallEnded: The call ended first.

        """
        now = self.time
        spells = self._buffer.spells
        if not self.ended and spells and now < spells[-1][1]:
            return spells[-1][0]
        count = len(spells)
        await self._until(lambda _: self._buffer.spell_count > count)
        return self._buffer.spells[count][0]

    async def wait_for_silence(self, seconds: float) -> float:
        """Wait until the agent has not been heard for `seconds`, counted from now at the earliest.

        Raises:
            CallEnded: The call ended first.

        """
        asked = self.time

        def silent(now: float) -> bool:
            last = self._buffer.last_audible
            since = asked if last is None else max(asked, last)
            return now - since >= seconds - _GRID_TOLERANCE

        return await self._until(silent)

    async def wait_spoken(self) -> float:
        """Wait until everything said and every key pressed has been sent.

        Raises:
            CallEnded: The call ended first.

        """
        return await self._until(lambda _: not self._voice.speaking and not self._keypad)

    async def wait_until(self, time: float) -> float:
        """Wait until `time` seconds after the start of the stream.

        Raises:
            CallEnded: The call ended first.

        """
        return await self._until(lambda now: now >= time - _GRID_TOLERANCE)

    async def wait_closed(self) -> None:
        """Wait until the call has ended, whoever ends it, and its socket is closed."""
        await self._closed.wait()

    async def hang_up(self) -> None:
        """End the call by closing the socket. Does nothing if it has ended."""
        if not self.started:
            return
        if not self.ended:
            if self._send_stop:
                self._send(self._uplink.stop())
            self._ended_by = self._ended_by or "caller"
            self._finish()
            await self._connection.close()
        await self._closed.wait()

    def report(self) -> CallReport:
        """Return what the call has been like, so far or as a whole."""
        duration = self.time
        if self.started and not self.ended:
            self._let_play(self._loop.time())
        buffer, ledger = self._buffer, self._ledger
        caller = self._caller_speech()
        agent = buffer.spells
        cut_ins = [(key.time, f"key {key.digit}") for key in ledger.keys_pressed]
        cut_ins += [(start, "speech") for start, _ in caller]
        return CallReport(
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
            first_audio=buffer.first_audio,
            first_speech=agent[0][0] if agent else None,
            audio_received=buffer.received + buffer.overflowed,
            audio_played=buffer.played,
            audio_cleared=buffer.cleared,
            audio_overflowed=buffer.overflowed,
            audio_unplayed=buffer.queued,
            gaps=[Gap(start, seconds) for start, seconds in buffer.gaps],
            gap_seconds=math.fsum(seconds for _, seconds in buffer.gaps),
            pauses=[Gap(start, seconds) for start, seconds in buffer.pauses],
            pause_seconds=math.fsum(seconds for _, seconds in buffer.pauses),
            longest_pause=max((seconds for _, seconds in buffer.pauses), default=0.0),
            agent_speech=agent,
            caller_speech=caller,
            replies=replies(caller, agent),
            interrupts=interrupts(cut_ins, agent, ledger.clears, duration),
            checkpoints=list(ledger.checkpoints),
            keys_pressed=list(ledger.keys_pressed),
            dtmf_received=list(ledger.dtmf_received),
            frames_sent=ledger.frames_sent,
            messages_sent=ledger.messages_sent,
            messages_received=ledger.messages_received,
            bytes_sent=ledger.bytes_sent,
            bytes_received=ledger.bytes_received,
            sender_lateness=ledger.lateness,
            warnings=dict(ledger.warnings),
            errors=dict(ledger.errors),
            timeline=self.events,
            recording=self.recording() if self._keep_audio else None,
        )

    def recording(self) -> Samples:
        """Return `int16[n, 2]` at the rate of the stream: caller left, agent as heard right."""
        return mix(self._voice.said, self._buffer.heard, round(self.time * self.format.rate))

    def _tick(self) -> None:
        """Do everything due by the deadline that has just passed, or more after a stall."""
        # A loop's timers may come a little early, by the clock's resolution.
        now = max(self._loop.time(), self._deadline)
        self._ledger.lateness = max(self._ledger.lateness, now - self._deadline)
        ticks = math.floor((now - self._origin) * TICKS_PER_SECOND + _GRID_TOLERANCE)
        self._deadline = self._origin + (ticks + 1) / TICKS_PER_SECOND
        self._timer = self._loop.call_at(self._deadline, self._tick)
        self._let_play(now)
        frames = self._uplink.tick(ticks)
        if self._has_room():
            self._ledger.frames_sent += len(frames)
            self._send(frames)
        elif frames:
            self._error(f"the server has not read for {UNREAD_SECONDS} s: frames are dropped")
        seconds = now - self._origin
        if self._keypad:
            self._press_keys(seconds)
        while self._incidents and self._incidents[0][0] <= seconds + _GRID_TOLERANCE:
            _, name, happen = self._incidents.popleft()
            self._ledger.note(seconds, "misbehaviour", name)
            happen()
        if self._waiters:
            self._wake(seconds)

    async def _read(self) -> None:
        try:
            while True:
                self._receive(await self._connection.recv())
        except ConnectionClosed as closed:
            self._finish()
            self._note_close(closed)
        finally:
            self._finish()
            self._connection.transport.abort()
            self._closed.set()

    def _receive(self, message: str | bytes) -> None:
        now = self._loop.time()
        self._ledger.messages_received += 1
        self._ledger.bytes_received += _size(message)
        if self.ended:
            return
        if isinstance(message, bytes):
            self._error("binary frame: Plivo takes text frames only")
            return
        try:
            command = decode_command(message)
        except ProtocolError as error:
            self._error(f"{error.reason}: {error}")
            return
        for warning in command.warnings:
            self._ledger.warning(self.time, warning)
        if not self.bidirectional:
            self._error("command on a stream that is not bidirectional")
        elif isinstance(command, PlayAudio):
            self._play(command, now)
        elif isinstance(command, SetCheckpoint):
            if self._is_ours("checkpoint", command.stream_id):
                self._checkpoint(command.name, now)
        elif isinstance(command, ClearAudio):
            if self._is_ours("clearAudio", command.stream_id):
                self._answer(self._buffer.clear(now))
        elif isinstance(command, SendDtmf):
            self._ledger.digits_received(self.time, command.digits)
        else:
            self._error(f"unknown command {command.event!r}")

    def _play(self, command: PlayAudio, now: float) -> None:
        if command.format is not None and command.format != self.format:
            self._error(f"incorrectPayload: {command.format} on a stream of {self.format}")
            return
        try:
            happenings = self._buffer.play(bytes(command.payload), now)
        except AudioError as error:
            self._error(f"incorrectPayload: {error}")
            return
        if happenings:
            self._answer(happenings)

    def _checkpoint(self, name: str, now: float) -> None:
        # Those that have been played by now make room in the ledger first.
        self._let_play(now)
        self._buffer.checkpoint(name, now)
        self._ledger.checkpoint_requested(now - self._origin, name)

    def _let_play(self, now: float) -> None:
        happenings = self._buffer.advance(now)
        if happenings:
            self._answer(happenings)

    def _answer(self, happenings: list[Happening]) -> None:
        """Tell the server, and the ledger, what became of its audio and checkpoints."""
        for happening in happenings:
            time = happening.time - self._origin
            if isinstance(happening, Played):
                self._ledger.checkpoint_played(time)
                self._acknowledge(happening.name)
            elif isinstance(happening, Cleared):
                self._ledger.cleared(time, happening.seconds)
                self._send(self._uplink.cleared(happening.checkpoints))
            else:
                self._error(f"playback queue full ({self._playback_limit:g} s): audio is dropped")

    def _acknowledge(self, name: str) -> None:
        try:
            messages = self._uplink.played(name)
        except ProtocolError as error:
            self._error(f"checkpoint cannot be acknowledged: {error}")
        else:
            self._send(messages)

    def _is_ours(self, command: str, stream_id: str) -> bool:
        if not stream_id or stream_id == self.identity.stream_id:
            return True
        self._error(f"{command} for another stream")
        return False

    def _press_keys(self, seconds: float) -> None:
        for digit in self._keypad.due(seconds):
            self._ledger.key_pressed(seconds, digit)
            self._send(self._uplink.dtmf(digit, seconds))

    def _send(self, messages: list[Message]) -> None:
        if not self._can_send:
            return
        for message in messages:
            self._ledger.messages_sent += 1
            self._ledger.bytes_sent += _size(message)
            if self.misbehaviour.fragmented and isinstance(message, str):
                self._send_fragments(message.encode())
            else:
                # The one public call of websockets that writes without a coroutine.
                broadcast((self._connection,), message)

    def _send_fragments(self, data: bytes) -> None:
        third = len(data) // 3
        protocol = self._connection.protocol
        if protocol.state is not State.OPEN:
            return
        protocol.send_text(data[:third], fin=False)
        protocol.send_continuation(data[third : 2 * third], fin=False)
        protocol.send_continuation(data[2 * third :], fin=True)
        self._connection.send_data()

    def _has_room(self) -> bool:
        unread = self._connection.transport.get_write_buffer_size()
        return not unread or unread < UNREAD_SECONDS * (
            self._ledger.bytes_sent / max(self.time, 1.0)
        )

    def _plan_incidents(self) -> None:
        wrong = self.misbehaviour
        transport = self._connection.transport

        def stop_reading() -> None:
            transport.pause_reading()

        def drop() -> None:
            self._ended_by = "caller"
            self._stop_sending()
            transport.abort()

        def half_close() -> None:
            self._ended_by = "caller"
            self._stop_sending()
            if transport.can_write_eof():
                transport.write_eof()
            else:
                self._error("half-close: not possible with TLS")

        planned = [
            (wrong.stop_reading, "stop-reading", stop_reading),
            (wrong.half_close, "half-close", half_close),
            (wrong.drop, "drop", drop),
        ]
        timed = [(time, name, happen) for time, name, happen in planned if time is not None]
        self._incidents.extend(sorted(timed, key=lambda incident: incident[0]))

    def _stop_sending(self) -> None:
        self._can_send = False

    def _finish(self) -> None:
        """End the call as far as its caller is concerned; the socket may take longer."""
        if self._ended_at is not None:
            return
        now = self._loop.time()
        self._let_play(now)
        self._stop_sending()
        self._ended_at = now - self._origin
        if self._timer is not None:
            self._timer.cancel()
        for _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(CallEnded("the call has ended"))
        self._waiters.clear()

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
        text = f"by {self._ended_by}, code {self._close_code} {self._close_reason}"
        self._ledger.note(self.time, "stream_ended", text.rstrip())

    async def _until(self, reached: Callable[[float], bool]) -> float:
        self._require_call()
        waiter: asyncio.Future[float] = self._loop.create_future()
        self._waiters.append((reached, waiter))
        return await waiter

    def _wake(self, seconds: float) -> None:
        waiting: list[tuple[Callable[[float], bool], asyncio.Future[float]]] = []
        for reached, waiter in self._waiters:
            if waiter.done():
                continue
            if reached(seconds):
                waiter.set_result(seconds)
            else:
                waiting.append((reached, waiter))
        self._waiters = waiting

    def _require_call(self) -> None:
        if not self.started:
            raise CallEnded("the call has not been started")
        if self.ended:
            raise CallEnded("the call has ended")

    def _caller_speech(self) -> list[tuple[float, float]]:
        """Return what the caller has spoken, without what was still to be said."""
        now = self.time
        return [(start, min(end, now)) for start, end in self._voice.utterances if start < now]

    def _error(self, text: str) -> None:
        self._ledger.error(self.time, text)


def _size(message: Message) -> int:
    if isinstance(message, bytes) or message.isascii():
        return len(message)
    return len(message.encode())
