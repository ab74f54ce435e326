"""One stream, without I/O: messages in, events for the handler; audio in, messages out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, fields
from typing import Protocol

from audiocodecs import AudioFormat
from mediaserver.call.budget import Budget
from mediaserver.call.counters import StreamCounters
from mediaserver.call.events import Checkpoint, Interrupt, Reconnected, StreamStatus
from mediaserver.call.follower import CONNECTION_LOST, STREAM_ENDED, CallFollower
from mediaserver.call.frame import Frame
from mediaserver.call.inbox import Inbox
from mediaserver.call.notices import Notices
from mediaserver.call.playout import Clock, Playout
from mediaserver.call.settings import CallSettings
from mediaserver.call.turn import STAGES, Turn, Usage
from mediaserver.protocol import (
    ClearedAudio,
    Dtmf,
    Event,
    MediaAudio,
    PlayedStream,
    ProtocolError,
    SendDtmf,
    Start,
    Stop,
    StreamError,
    decode_audio,
    encode_command,
)
from mediaserver.protocol.errors import quote


_INVALID_DATA = 1007
_POLICY_VIOLATION = 1008

_KEPT_TURNS = 1_000

_CONTROL_BYTES = 256
"""A message other than media is charged as one message more for as many bytes: it takes longer to
read, and Plivo's are short."""

_EARLY_BYTES_PER_SECOND = 96_000
"""Bytes of media kept before its format is known: two tracks in the largest format."""


class Shell(Protocol):
    """What carries a session's messages."""

    def send(self, message: bytes) -> None:
        """Send a text message: in order, without waiting."""

    def started(self) -> None:
        """The stream has started: run its handler."""

    def fail(self, code: int, reason: str) -> None:
        """Close the connection with this WebSocket close code."""

    def pause_reading(self) -> None:
        """Stop reading from the wire for now."""

    def resume_reading(self) -> None:
        """Read from the wire again."""

    def notice(self, text: str, /, **details: str | int) -> None:
        """Log something unusual for the server's operator."""

    def reported(self, turn: Turn) -> None:
        """Log a turn of the conversation."""


class StreamEndedError(ConnectionError):
    """The stream has ended and takes no more audio or commands."""


@dataclass(slots=True, eq=False)
class Started:
    """The parts of a stream that exist from its ``start`` event on."""

    start: Start
    format: AudioFormat
    """The format of the audio, in both directions."""
    inbox: Inbox
    """What the handler has not read yet."""
    playout: Playout
    """What the caller has not heard yet."""


class Session:
    """The state of one stream.

    `receive` takes every message from the socket and never raises. The handler acts through
    ``started.playout``, `interrupt` and `send_dtmf`, which pass messages to ``shell.send`` at once.

    Args:
        clock: monotonic seconds.
        shell: carries the session's messages.
        settings: limits and margins.

    """

    __slots__ = (
        "_carry",
        "_early",
        "_early_bytes",
        "_max_size",
        "_next_chunk",
        "_notices",
        "_shell",
        "_undelivered",
        "_whole_frame",
        "budget",
        "clock",
        "counters",
        "end_reason",
        "ended",
        "followers",
        "last_outbound",
        "last_payload",
        "malformed",
        "settings",
        "started",
        "turns",
    )

    def __init__(self, clock: Clock, shell: Shell, settings: CallSettings) -> None:
        self.clock = clock
        # None once the call is over.
        self._shell: Shell | None = shell
        self.settings = settings
        self._max_size = settings.max_message_size
        self.counters = StreamCounters()
        self.started: Started | None = None
        self.ended = False
        self.end_reason = ""
        self.turns: deque[Turn] = deque(maxlen=_KEPT_TURNS)
        """The turns that an agent has reported."""
        self.last_payload = b""
        """The caller's newest audio, in which the server looks for speech now and then."""
        self.last_outbound = b""
        """The newest audio of the outbound track, for a stream that has this track."""
        self.followers: tuple[CallFollower, ...] = ()
        """Those that follow the call."""
        self.malformed = ""
        """Why the newest malformed message could not be read."""
        self.budget = Budget(
            clock,
            messages_per_second=settings.messages_per_second,
            bytes_per_second=settings.bytes_per_second,
            burst_seconds=settings.burst_seconds,
        )
        """How much the carrier may send. Charge it for everything that comes, including what never
        becomes a message, such as pings and empty fragments; if it does not last, `overspend`."""
        self._notices = Notices(shell.notice)
        # Media received before `start`: its format is not known yet.
        self._early: deque[MediaAudio] | None = deque()
        self._early_bytes = 0
        # By track, the number of the next frame expected.
        self._next_chunk: dict[str, int] = {}
        # Digits that wait while the stream is lost; None while it is not.
        self._undelivered: list[bytes] | None = None
        # Bytes of 20 ms, once the format is known.
        self._whole_frame = 0
        # By track, the odd byte of an L16 frame that was cut in the middle of a sample.
        self._carry: dict[str, bytes] = {}

    # Receiving.

    def overspend(self) -> None:
        """End the stream: more came than its budget allows. Read nothing more."""
        if not self.ended:
            self.counters.over_budget += 1
            self._fail(_POLICY_VIOLATION, self.budget.excess)

    def receive(self, message: str | bytes | bytearray) -> None:
        """Take one WebSocket message."""
        counters = self.counters
        counters.messages_in += 1
        counters.bytes_in += len(message)
        if self.ended:
            return
        for follower in self.followers:
            follower.received(message)
        try:
            event = decode_audio(message, max_size=self._max_size)
        except ProtocolError as error:
            self._refuse(error)
            return
        if not isinstance(event, MediaAudio):
            if self.budget.spend(len(message) // _CONTROL_BYTES, 0):
                self._take_control(event)
            else:
                self.overspend()
        elif self.started is not None:
            self._take_media(event, self.started)
        else:
            self._keep_early(event)

    def refuse_binary(self, message: bytes) -> None:
        """Count a binary WebSocket message as malformed: Plivo sends text only."""
        counters = self.counters
        counters.messages_in += 1
        counters.bytes_in += len(message)
        if not self.ended:
            for follower in self.followers:
                follower.received_binary(message)
            self._refuse(ProtocolError("not_json", "a binary message came; Plivo sends text only"))

    def _take_media(self, media: MediaAudio, started: Started) -> None:
        payload, track = media.payload, media.track
        format = started.format
        if track != "inbound" and track != "outbound":
            self.counters.unknown_messages += 1
            self._notices.note(
                "media of a track that Plivo does not have was dropped", track=quote(track)
            )
            return
        if self._carry or len(payload) % format.sample_bytes:
            carry = self._carry.pop(track, b"")
            # A frame of Plivo's usual size is complete: the one before it was cut short.
            if len(payload) != self._whole_frame:
                payload = carry + payload
            if odd := len(payload) % format.sample_bytes:
                self._carry[track] = payload[-odd:]
                payload = payload[:-odd]
        if not payload:
            return
        chunk = media.chunk
        if chunk is not None:
            if chunk != self._next_chunk.get(track, chunk):
                self._count_gap(track, chunk)
            else:
                self._next_chunk[track] = chunk + 1
        counters = self.counters
        counters.frames_in += 1
        counters.audio_in += len(payload) / format.bytes_per_second
        if track == "outbound":
            self.last_outbound = payload
        else:
            self.last_payload = payload
        frame = Frame(payload, format, track, media.timestamp, chunk)
        tap = started.playout.tap
        if tap is not None:
            tap.received(frame, self.clock())
        started.inbox.put_frame(frame)

    def _count_gap(self, track: str, chunk: int) -> None:
        missing = chunk - self._next_chunk[track]
        if missing > 0:
            self.counters.frames_lost += missing
            self._next_chunk[track] = chunk + 1
        else:
            self.counters.frames_out_of_order += 1
            self.counters.frames_lost = max(0, self.counters.frames_lost - 1)

    def _keep_early(self, media: MediaAudio) -> None:
        early = self._early
        assert early is not None
        early.append(media)
        self._early_bytes += len(media.payload)
        seconds = self.settings.inbox_length
        while (
            len(early) > int(seconds / 0.02)
            or self._early_bytes > seconds * _EARLY_BYTES_PER_SECOND
        ):
            self._early_bytes -= len(early.popleft().payload)
            self.counters.frames_dropped += 1
            self.counters.audio_dropped += 0.02

    def _take_control(self, event: Event) -> None:
        if isinstance(event, Start):
            self._begin(event)
        elif isinstance(event, Stop):
            self.close(event.reason or "stop")
        elif self.started is None:
            self.counters.unknown_messages += 1
        elif isinstance(event, PlayedStream):
            self.started.playout.played(event.name)
        elif isinstance(event, ClearedAudio):
            pass  # a clear took effect here when it was sent
        elif isinstance(event, Dtmf | StreamError):
            if isinstance(event, Dtmf):
                self.counters.keys_in += 1
            else:
                self._notices.note(f"Plivo says {event.event}", reason=event.reason)
            self._tell(event)
        else:
            self.counters.unknown_messages += 1

    def _begin(self, start: Start) -> None:
        if self.started is not None:
            self.counters.unknown_messages += 1
            self._notices.note("a second start came on the same stream and was ignored")
            return
        settings, shell = self.settings, self._shell
        assert shell is not None, "only a call that has ended is detached"
        format = start.media_format or settings.default_format
        self._whole_frame = format.bytes_per_second // 50
        inbox = Inbox(
            int(settings.inbox_length * format.bytes_per_second),
            self.counters,
            hold_up=shell.pause_reading if settings.inbox_overflow == "pause" else None,
            let_go=shell.resume_reading,
        )
        playout = Playout(
            clock=self.clock,
            send=shell.send,
            format=format,
            stream_id=start.stream_id,
            settings=settings,
            counters=self.counters,
            report=self._report_checkpoint,
            notice=self._notices.note,
        )
        self.started = started = Started(start, format, inbox, playout)
        early, self._early = self._early, None
        for media in early or ():
            self._take_media(media, started)
        shell.started()

    def _refuse(self, error: ProtocolError) -> None:
        self.counters.malformed_messages += 1
        self.malformed = str(error)
        self._notices.note("a malformed message was ignored", reason=self.malformed)
        if error.reason == "not_utf8":
            # RFC 6455, section 8.1.
            self._fail(_INVALID_DATA, self.malformed)
        elif error.reason == "unsupported_format":
            self._fail(_POLICY_VIOLATION, self.malformed)
        elif self.counters.malformed_messages > self.settings.max_malformed:
            self._fail(
                _INVALID_DATA,
                f"more than {self.settings.max_malformed} malformed messages: {self.malformed}",
            )

    def report(self, status: StreamStatus) -> None:
        """Pass a status callback to the handler.

        It is dropped while many events wait: it does not come through the stream, and a handler
        that never reads such events must not be closed as too slow.
        """
        self._mention(status)

    def report_turn(self, turn: Turn) -> None:
        """Count and log a turn, and pass it to the handler's other tasks."""
        self.counters.turns.count(turn)
        self.turns.append(turn)
        if self._shell is not None:
            self._shell.reported(turn)
        if self.followers:
            self.decided("turn", **_told(turn))
        self._mention(turn)

    def _mention(self, event: StreamStatus | Turn) -> None:
        if self.ended or self.started is None:
            return
        inbox = self.started.inbox
        if inbox.unread_control_events < self.settings.max_control_events // 2:
            inbox.put_control(event)

    def _tell(self, event: Dtmf | StreamError | Checkpoint | Interrupt | Reconnected) -> None:
        if self.started is None:
            return
        if self.followers and isinstance(event, Checkpoint | Interrupt | Reconnected):
            details = {field.name: getattr(event, field.name) for field in fields(event)}
            self.decided(type(event).__name__.lower(), **details)
        inbox = self.started.inbox
        inbox.put_control(event)
        if inbox.unread_control_events > self.settings.max_control_events:
            self._fail(_POLICY_VIOLATION, "more events than the handler reads")

    def _fail(self, code: int, reason: str) -> None:
        self.close(reason)
        if self._shell is not None:
            self._shell.fail(code, reason)

    # Sending.

    def interrupt(self) -> float:
        """Stop playback at once and pass an `Interrupt` event to the handler's other tasks.

        Returns:
            Seconds of audio that the caller will not hear; 0 if nothing was playing.

        """
        unheard = self.started.playout.interrupt() if self.started is not None else None
        if unheard is None:
            return 0.0
        self._tell(Interrupt(unheard))
        return unheard

    def send_dtmf(self, digits: str) -> None:
        """Have Plivo play touch tones to the caller.

        Raises:
            ProtocolError: if a digit is not one of ``0-9*#A-D``.
            StreamEndedError: if the stream has ended.

        """
        message = encode_command(SendDtmf(digits))
        if self.ended:
            raise StreamEndedError(f"the stream has ended ({self.end_reason}): no digits were sent")
        if self._undelivered is not None:
            self._undelivered.append(message)
            return
        self._deliver(message)

    def _deliver(self, message: bytes) -> None:
        self.counters.messages_out += 1
        self.counters.bytes_out += len(message)
        if self._shell is not None:
            self._shell.send(message)

    # Losing the connection.

    def suspend(self, since: float | None = None) -> None:
        """Send nothing for now: the connection is lost, and the stream may be opened again.

        Args:
            since: since when nothing has reached the carrier; None for now.

        """
        if self.started is not None and not self.ended:
            self._undelivered = []
            self.started.playout.suspend(since)
            self.decided(CONNECTION_LOST)

    def reopen(self, start: Start, seconds: float) -> None:
        """Continue on another connection, and pass a `Reconnected` event to the handler.

        Args:
            start: the carrier's new ``start``.
            seconds: how long the stream was lost.

        """
        started = self.started
        assert started is not None, "only a stream that has started is opened again"
        started.start = start
        # Numbers begin anew.
        self._next_chunk.clear()
        self._carry.clear()
        started.playout.reopen(start.stream_id)
        undelivered, self._undelivered = self._undelivered or (), None
        for message in undelivered:
            self._deliver(message)
        self._tell(Reconnected(seconds))

    def close(self, reason: str) -> None:
        """End the stream: nothing more is received or sent. Only the first reason is kept."""
        if self.ended:
            return
        self.ended = True
        self.end_reason = reason
        if self.started is not None:
            self.started.playout.end()
            self.started.inbox.end()
        self._notices.end()
        self.decided(STREAM_ENDED, reason=reason)

    # Following.

    def follow(self, follower: CallFollower) -> None:
        """Tell a follower what happens from now on."""
        self.followers += (follower,)

    def unfollow(self, follower: CallFollower) -> None:
        """Tell it nothing more. Does nothing if it does not follow."""
        self.followers = tuple(each for each in self.followers if each is not follower)

    def decided(self, what: str, /, **details: object) -> None:
        """Tell the followers what was decided or found out."""
        for follower in self.followers:
            follower.decided(what, **details)

    def detach(self) -> None:
        """Refer no more to the shell, which refers to this session: the call is over."""
        self._shell = None

    def _report_checkpoint(self, name: str, played: bool) -> None:
        if not self.ended:
            self._tell(Checkpoint(name, played))


def _used(usage: Usage) -> dict[str, float]:
    return {
        field.name: round(amount, 3)
        for field in fields(usage)
        if (amount := getattr(usage, field.name))
    }


def _told(turn: Turn) -> dict[str, object]:
    """Return what a follower is told of a turn."""
    stages = {stage: seconds for stage in STAGES if (seconds := getattr(turn, stage)) is not None}
    return {
        "number": turn.number,
        **{stage: round(seconds, 3) for stage, seconds in stages.items()},
        "interrupted": turn.interrupted,
        "error": None if turn.error is None else turn.failure or "failed",
        **({"usage": used} if (used := _used(turn.usage)) else {}),
        # A provider's own text may quote what was said.
        "words": [turn.caller, turn.agent, *([turn.error] if turn.error else [])],
    }
