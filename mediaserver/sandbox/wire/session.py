"""The carrier's side of one stream: what it sends, what it obeys, and what it writes down.

A `CarrierSession` knows no socket, no event loop and no clock. It is given messages, audio and the
time (in seconds, on any clock that never goes back), and hands over messages to send and
happenings to act on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias
from uuid import uuid4

from audiocodecs import AudioError, AudioFormat
from mediaserver.protocol import (
    ClearAudio,
    Command,
    PlayAudio,
    ProtocolError,
    SendDtmf,
    SetCheckpoint,
    decode_command,
)
from mediaserver.sandbox.audio.playback import TOLERANCE, Cleared, Happening, PlaybackBuffer, Played
from mediaserver.sandbox.wire.ledger import CallLedger
from mediaserver.sandbox.wire.messages import StreamIdentity, WireMessage
from mediaserver.sandbox.wire.misbehaviour import Misbehaviour
from mediaserver.sandbox.wire.uplink import Uplink


ConnectionFault: TypeAlias = Literal["stop-reading", "half-close", "drop", "vanish"]
"""A misbehaviour of the connection itself."""


@dataclass(frozen=True, slots=True)
class DigitsReceived:
    """The server sent DTMF digits to the person on the phone."""

    digits: str


@dataclass(frozen=True, slots=True)
class FaultDue:
    """A misbehaviour of the connection is due; the owner of the socket carries it out."""

    fault: ConnectionFault


SessionHappening: TypeAlias = Happening | DigitsReceived | FaultDue


class CarrierSession:
    """Numbers and builds a stream's events, obeys the server's commands, and keeps the ledger.

    After each call of a method, send `messages()` and act on `happenings()`.

    Args:
        identity: Ids of the stream.
        format: Format of the stream.
        buffer: Where the server's audio goes; its origin is the start of the stream.
        ledger: Where everything is written down.
        bidirectional: Whether the server may send audio and commands.
        tracks: Tracks to send, in the order in which they are sent.
        extra_headers_text: Text of `extra_headers`, repeated on media and dtmf as Plivo does.
        epoch_ms: Unix time of the start of the stream, in milliseconds.
        misbehaviour: What to do wrong.
        seed: Seed of the random choices of a misbehaviour.

    Attributes:
        closed: Whether `close` was called.
        on_command: Called with each command that was obeyed, and the time; to watch a call.

    """

    def __init__(
        self,
        identity: StreamIdentity,
        format: AudioFormat,
        *,
        buffer: PlaybackBuffer,
        ledger: CallLedger,
        bidirectional: bool = True,
        tracks: tuple[str, ...] = ("inbound",),
        extra_headers_text: str = "",
        epoch_ms: int = 0,
        misbehaviour: Misbehaviour | None = None,
        seed: int = 0,
    ) -> None:
        self.closed = False
        self.on_command: Callable[[Command, float], object] | None = None
        self._identity = identity
        self._format = format
        self._buffer = buffer
        self._ledger = ledger
        self._bidirectional = bidirectional
        self._uplink = Uplink(
            identity,
            format,
            tracks=tracks,
            extra_headers_text=extra_headers_text,
            epoch_ms=epoch_ms,
            misbehaviour=misbehaviour,
            seed=seed,
        )
        self._messages: list[WireMessage] = []
        self._happenings: list[SessionHappening] = []
        self._misbehaviour = misbehaviour or Misbehaviour()
        self._faults = _planned(self._misbehaviour)

    @property
    def ticks(self) -> int:
        """Frames of 20 ms taken so far."""
        return self._uplink.ticks

    def messages(self) -> list[WireMessage]:
        """Return the messages to send since the last call, in order."""
        messages, self._messages = self._messages, []
        return messages

    def happenings(self) -> list[SessionHappening]:
        """Return what has happened since the last call, in order."""
        happenings, self._happenings = self._happenings, []
        return happenings

    def start(self) -> None:
        """Open the stream."""
        self._ledger.note(0.0, "stream_started", str(self._format))
        self._messages += self._uplink.opening()

    def frame(self, payloads: Sequence[bytes], now: float) -> None:
        """Take the 20 ms that have just passed: a payload for each track, in their order."""
        self._messages += self._uplink.frame(payloads)
        while self._faults and self._faults[0][0] <= now - self._buffer.origin + TOLERANCE:
            fault = self._faults.popleft()[1]
            self._ledger.note(now - self._buffer.origin, "misbehaviour", fault)
            self._happenings.append(FaultDue(fault))

    def press(self, digit: str, now: float) -> None:
        """Tell the server that the caller pressed a key."""
        seconds = now - self._buffer.origin
        self._ledger.key_pressed(seconds, digit)
        self._messages += self._uplink.dtmf(digit, seconds)

    def lose(self, now: float) -> None:
        """Obey nothing more for now: the connection is lost."""
        self.advance(now)
        if not self._misbehaviour.keep_playing:
            self._buffer.clear(now)
        self._messages.clear()

    def reopen(self, now: float) -> None:
        """Open the stream again, on another connection."""
        self.advance(now)
        self._messages.clear()
        if self._misbehaviour.new_stream_id:
            self._identity = replace(self._identity, stream_id=str(uuid4()))
        self._ledger.note(now - self._buffer.origin, "stream_reopened", self._identity.stream_id)
        self._messages += self._uplink.reopening(self._identity)

    def stop(self) -> None:
        """Send the `stop` that some of Plivo's documents have, and its reference has not."""
        self._messages += self._uplink.stop()

    def advance(self, now: float) -> None:
        """Play what is due by `now`."""
        self.settle(self._buffer.advance(now))

    def settle(self, happenings: list[Happening]) -> None:
        """Answer the server, and write down, what became of its audio and checkpoints.

        Args:
            happenings: As the buffer returned them.

        """
        for happening in happenings:
            if self.closed:
                return
            time = happening.time - self._buffer.origin
            try:
                if isinstance(happening, Played):
                    self._ledger.checkpoint_played(time)
                    self._messages += self._uplink.played(happening.name)
                elif isinstance(happening, Cleared):
                    self._ledger.cleared(time, happening.seconds)
                    self._messages += self._uplink.cleared(happening.checkpoints)
                else:
                    limit = self._buffer.limit
                    self._ledger.error(time, f"playback queue full ({limit:g} s): audio is dropped")
            except ProtocolError as error:
                self._ledger.error(time, f"checkpoint cannot be acknowledged: {error}")
            self._happenings.append(happening)

    def receive(self, message: str | bytes, now: float) -> None:
        """Obey a message from the server. What cannot be obeyed is written down."""
        self._ledger.message_received(message)
        if self.closed:
            return
        seconds = now - self._buffer.origin
        try:
            if isinstance(message, bytes):
                raise _DisobeyedError("binary frame: Plivo accepts text frames only")
            command = decode_command(message)
            for warning in command.warnings:
                self._ledger.warning(seconds, warning)
            if not self._bidirectional:
                raise _DisobeyedError("command on a stream that is not bidirectional")
            if isinstance(command, PlayAudio):
                self._play(command, now)
            elif isinstance(command, SetCheckpoint):
                self._require_ours("checkpoint", command.stream_id)
                # Checkpoints that have been played by now make room in the ledger first.
                self.advance(now)
                self._ledger.checkpoint_requested(seconds, command.name)
                self.settle(self._buffer.checkpoint(command.name, now))
            elif isinstance(command, ClearAudio):
                self._require_ours("clearAudio", command.stream_id)
                self.settle(self._buffer.clear(now))
            elif isinstance(command, SendDtmf):
                self._ledger.digits_received(seconds, command.digits)
                self._happenings.append(DigitsReceived(command.digits))
            else:
                raise _DisobeyedError(f"unknown command {command.event!r}")
            if self.on_command is not None:
                self.on_command(command, now)
        except ProtocolError as error:
            self._ledger.error(seconds, f"{error.reason}: {error}")
        except _DisobeyedError as error:
            self._ledger.error(seconds, str(error))

    def close(self) -> None:
        """Obey nothing more."""
        self.closed = True

    def _play(self, command: PlayAudio, now: float) -> None:
        if command.format is not None and command.format != self._format:
            raise _DisobeyedError(
                f"incorrectPayload: {command.format} is not heard: the stream is {self._format}"
            )
        try:
            self.settle(self._buffer.play(bytes(command.payload), now))
        except AudioError as error:
            raise _DisobeyedError(f"incorrectPayload: {error}") from error

    def _require_ours(self, command: str, stream_id: str) -> None:
        if stream_id and stream_id != self._identity.stream_id:
            raise _DisobeyedError(f"{command} for another stream")


class _DisobeyedError(Exception):
    """A command that is not obeyed; the message goes into the ledger."""


def _planned(wrong: Misbehaviour) -> deque[tuple[float, ConnectionFault]]:
    """Return when each misbehaviour of the connection is due, soonest first."""
    planned: list[tuple[float | None, ConnectionFault]] = [
        (wrong.stop_reading, "stop-reading"),
        (wrong.half_close, "half-close"),
        (wrong.drop, "vanish" if wrong.half_open else "drop"),
    ]
    timed = [(time, fault) for time, fault in planned if time is not None]
    return deque(sorted(timed, key=lambda entry: entry[0]))
