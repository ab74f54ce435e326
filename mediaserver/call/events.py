"""The events that a handler gets, besides audio."""

from __future__ import annotations

from dataclasses import dataclass

from mediaserver.call.frame import Frame
from mediaserver.call.turn import Turn
from mediaserver.protocol import Dtmf, StreamError


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that the handler set was reached, or was cleared."""

    name: str
    played: bool
    """True when the caller heard everything before it; False when an interruption cleared it."""


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Playback was interrupted: audio that was queued or sent but not heard was dropped."""

    unheard: float
    """Seconds of audio that the caller did not hear."""


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The stream was lost, and Plivo has opened it again: the call goes on.

    Audio of the time between is missing on the caller's side; the agent's continues where the
    caller stopped hearing it.
    """

    seconds: float
    """Seconds for which the stream was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStatus:
    """A status callback of Plivo's about the stream. Each is delivered once.

    Plivo sends them only if asked to: by the setting ``status_callbacks``, or by answer XML
    whose ``statusCallbackUrl`` leads to ``/status``.
    """

    kind: str
    """``connected``, ``stopped``, ``timeout``, ``failed``, ``degraded``, ``dropped``, ``played`` or
    ``cleared``."""
    name: str | None = None
    """Name of the checkpoint, for ``played``."""
    error: str | None = None
    """What went wrong, in Plivo's words."""
    reason: str | None = None
    """Why the stream ended, in Plivo's words."""
    duration: int | None = None
    """Duration of the stream in seconds."""


Control = Dtmf | Checkpoint | Interrupt | Reconnected | StreamError | StreamStatus | Turn
StreamEvent = Frame | Control
