"""A capture, read as a call: what the carrier did by itself, and what it was told to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from audiocodecs import AudioFormat
from mediaserver.call.follower import CONNECTION_LOST, STREAM_ENDED
from mediaserver.captures.capture_lines import Capture, CaptureError
from mediaserver.plivo.callbacks import AnswerRequest
from mediaserver.protocol import (
    ClearedAudio,
    Media,
    PlayedStream,
    ProtocolError,
    Start,
    decode_event,
)
from mediaserver.server.ended_calls import cause_of_end
from mediaserver.settings import Settings


_RECONNECTED: Final = "reconnected"


@dataclass(frozen=True, slots=True)
class TimedMessage:
    """A message, and when it passed, in seconds since the stream was accepted."""

    at: float
    message: bytes


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
        except (msgspec.DecodeError, UnicodeDecodeError):
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

    @classmethod
    def read(cls, capture: Capture) -> CapturedCall:
        """Read the lines of a capture.

        Raises:
            CaptureError: the stream of the call never started.

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
            timed = TimedMessage(line.at, line.message)
            if line.side == ">":
                commands.append(timed)
                continue
            event = _event(line.message)
            if isinstance(event, PlayedStream | ClearedAudio):
                continue
            if isinstance(event, Start) and start is None:
                start, started = event, line.at
            if isinstance(event, Media) and event.track == "inbound":
                frames.append((line.at, event.payload))
            sent.append(timed)
        if start is None:
            raise CaptureError("the stream of the captured call never started")
        settings = capture.head.settings
        default = settings.get("default_format") or str(Settings.model_construct().default_format)
        end = next((each for each in decisions if each.what == STREAM_ENDED), None)
        last = capture.lines[-1].at
        reason = "" if end is None else str(end.details.get("reason", ""))
        return cls(
            capture=capture,
            start=start,
            started=started,
            format=start.media_format or AudioFormat.parse(default),
            sent=sent,
            caller_frames=frames,
            commands=commands,
            decisions=decisions,
            losses=_losses(decisions),
            ended=last if end is None else end.at,
            ended_by_server=cause_of_end(reason) not in ("plivo", "lost") if reason else False,
            end_reason=reason,
        )

    @property
    def seconds(self) -> float:
        """How long the stream lasted."""
        return self.ended - self.started

    @property
    def answer(self) -> AnswerRequest | None:
        """What the answer webhook received, if the capture has it."""
        fields = self.capture.head.answer
        if fields is None:
            return None
        known = {name: value for name, value in fields.items() if name in _ANSWER_FIELDS}
        return AnswerRequest(**{**known, "call_id": self.start.call_id})

    def settings(self, handler_settings: Settings | None = None) -> Settings:
        """Return settings with which audio is sent when it was sent in the captured call.

        Args:
            handler_settings: the settings that everything else is taken from; if left out, the
                defaults, without the environment.

        """
        base = handler_settings or Settings.model_construct()
        captured = dict(self.capture.head.settings)
        if "default_format" in captured:
            captured["default_format"] = AudioFormat.parse(captured["default_format"])
        return base.model_copy(update=captured)


_ANSWER_FIELDS: Final = frozenset(AnswerRequest.__dataclass_fields__)


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
