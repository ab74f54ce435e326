"""A capture, read as a call: what the carrier did by itself, and what it was told to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from pydantic import TypeAdapter, ValidationError

from audiocodecs import AudioFormat
from mediaserver.call.follower import CONNECTION_LOST, STREAM_ENDED
from mediaserver.captures.capture_lines import UNREADABLE, Capture, CaptureError, CaptureHead
from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.protocol import (
    ClearedAudio,
    Media,
    PlayedStream,
    ProtocolError,
    Start,
    decode_event,
)
from mediaserver.server.captured_calls import REPLAYED_SETTINGS
from mediaserver.server.ended_calls import cause_of_end
from mediaserver.settings import Settings


_RECONNECTED: Final = "reconnected"


@dataclass(frozen=True, slots=True)
class TimedMessage:
    """A message, and when it passed, in seconds since the stream was accepted."""

    at: float
    message: bytes
    binary: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What the server or the handler decided, and when."""

    at: float
    what: str
    details: dict[str, Any]

    @classmethod
    def read(cls, at: float, message: bytes) -> Decision:
        """Read the message of a decision; of one that cannot be read nothing is known."""
        try:
            details = msgspec.json.decode(message, type=dict[str, Any])
        except UNREADABLE:
            details = {}
        return cls(at, str(details.pop("what", "?")), details)


@dataclass(frozen=True, slots=True)
class CapturedCall:
    """What happened in a call.

    Times are seconds since the stream was accepted.

    Attributes:
        capture: where it was read from.
        start: the stream's ``start``.
        started: when that came.
        format: the format of the audio.
        sent: what the carrier sent by itself: the ``start``, audio, keys, whatever else it was. Its
            answers are not here: they follow from what it is told.
        caller_frames: what the caller said: when each frame came, and its payload.
        commands: what it was told.
        decisions: what was decided.
        losses: when the connection was lost, and when the stream was opened again; None if it
            was not.
        ended: when the stream ended.
        ended_by_server: whether it was the server that ended it.
        end_reason: why it ended.
        answer: what the answer webhook received, if the capture has it.
        sending: the settings that decided when audio was sent.

    """

    capture: Capture
    start: Start
    started: float
    format: AudioFormat
    sent: list[TimedMessage]
    caller_frames: list[tuple[float, bytes]]
    commands: list[TimedMessage]
    decisions: list[Decision]
    losses: list[tuple[float, float | None]]
    ended: float
    ended_by_server: bool
    end_reason: str
    answer: AnswerRequest | None
    sending: dict[str, Any]

    @classmethod
    def read(cls, capture: Capture) -> CapturedCall:
        """Read the lines of a capture.

        Raises:
            CaptureError: the stream of the call never started, or the description of the call has
                a value that it cannot have.

        """
        sent: list[TimedMessage] = []
        frames: list[tuple[float, bytes]] = []
        commands: list[TimedMessage] = []
        decisions: list[Decision] = []
        start: Start | None = None
        started = 0.0
        for line in capture.lines:
            if line.side == "!":
                decisions.append(Decision.read(line.at, line.message))
                continue
            timed = TimedMessage(line.at, line.message, line.binary)
            if line.side == ">":
                commands.append(timed)
                continue
            event = None if line.binary else _event(line.message)
            if isinstance(event, PlayedStream | ClearedAudio):
                continue
            if isinstance(event, Start) and start is None:
                start, started = event, line.at
            if isinstance(event, Media) and event.track == "inbound":
                frames.append((line.at, event.payload))
            sent.append(timed)
        if start is None:
            raise CaptureError("the stream of the captured call never started")
        sending = _sending(capture.head)
        default = Settings.model_construct(**sending).default_format
        end = next((each for each in decisions if each.what == STREAM_ENDED), None)
        last = capture.lines[-1].at
        reason = "" if end is None else str(end.details.get("reason", ""))
        return cls(
            capture=capture,
            start=start,
            started=started,
            format=start.media_format or default,
            sent=sent,
            caller_frames=frames,
            commands=commands,
            decisions=decisions,
            losses=_losses(decisions),
            ended=max(started, last if end is None else end.at),
            ended_by_server=cause_of_end(reason) not in ("plivo", "lost") if reason else False,
            end_reason=reason,
            answer=_answer(capture.head, start.call_id),
            sending=sending,
        )

    @property
    def seconds(self) -> float:
        """How long the stream lasted."""
        return self.ended - self.started

    @property
    def route_path(self) -> str:
        """The path of a route for a handler that is given without one."""
        return self.capture.head.route or self.capture.head.path

    def settings(self, handler_settings: Settings | None = None) -> Settings:
        """Return settings with which audio is sent when it was sent in the captured call.

        Args:
            handler_settings: the settings that everything else is taken from; if left out, the
                defaults, without the environment.

        """
        base = handler_settings or Settings.model_construct()
        return base.model_copy(update=self.sending)


def _sending(head: CaptureHead) -> dict[str, Any]:
    """Return the settings of then, of those that a replay takes."""
    found: dict[str, Any] = {}
    for name in REPLAYED_SETTINGS:
        if name in head.settings:
            field = Settings.model_fields[name]
            kind: Any = Annotated[field.annotation, field]
            try:
                found[name] = TypeAdapter[Any](kind).validate_python(head.settings[name])
            except ValidationError as error:
                (first, *_) = error.errors()
                raise CaptureError(
                    f"line 1 of the capture: the setting {name} is {head.settings[name]!r}:"
                    f" {first['msg'].removeprefix('Value error, ')}"
                ) from None
    return found


def _answer(head: CaptureHead, call_id: str) -> AnswerRequest | None:
    if head.answer is None:
        return None
    try:
        return msgspec.convert({**head.answer, "call_id": call_id}, AnswerRequest)
    except msgspec.ValidationError as error:
        raise CaptureError(f"line 1 of the capture: its answer: {error}") from None


def _event(message: bytes) -> object:
    try:
        return decode_event(message)
    except ProtocolError:
        return None


def _losses(decisions: list[Decision]) -> list[tuple[float, float | None]]:
    losses: list[tuple[float, float | None]] = []
    for decision in decisions:
        if decision.what == CONNECTION_LOST:
            losses.append((decision.at, None))
        elif decision.what == _RECONNECTED and losses and losses[-1][1] is None:
            losses[-1] = losses[-1][0], decision.at
    return losses
