"""What a handler is told besides audio."""

from __future__ import annotations

from dataclasses import dataclass

from mediaserver.call.frame import Frame
from mediaserver.call.turn import Turn
from mediaserver.protocol import Dtmf, StreamError


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that the handler set was reached, or will never be."""

    name: str
    played: bool
    """True when the caller heard everything before it; False when an interruption cleared it."""


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Playback was interrupted: what had been queued or sent and not heard is gone."""

    unheard: float
    """Seconds of audio that the caller did not hear."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStatus:
    """Plivo reported on the stream by a status callback.

    There are none unless they were asked for (the setting ``status_callbacks``, or a
    ``statusCallbackUrl`` of one's own that leads to ``/status``). Each comes once.
    """

    kind: str
    """``connected``, ``stopped``, ``timeout``, ``failed``, ``degraded``, ``dropped``, ``played`` or
    ``cleared``."""
    name: str | None = None
    """Of the checkpoint that was played."""
    error: str | None = None
    """What went wrong, in Plivo's words."""
    reason: str | None = None
    """Why the stream ended, in Plivo's words."""
    duration: int | None = None
    """Seconds that the stream lasted."""


Control = Dtmf | Checkpoint | Interrupt | StreamError | StreamStatus | Turn
StreamEvent = Frame | Control
