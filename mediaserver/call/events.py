"""What a handler is told besides audio."""

from __future__ import annotations

from dataclasses import dataclass

from mediaserver.call.frame import Frame
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


Control = Dtmf | Checkpoint | Interrupt | StreamError
StreamEvent = Frame | Control
