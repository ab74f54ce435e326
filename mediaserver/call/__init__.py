"""One call as a session without I/O: a clock is passed in, messages go in and out."""

from mediaserver.call.converter import Audio, Converter, Wire, check_audio
from mediaserver.call.counters import StreamCounters
from mediaserver.call.events import (
    Checkpoint,
    Control,
    Interrupt,
    Reconnected,
    StreamEvent,
    StreamStatus,
)
from mediaserver.call.frame import Frame
from mediaserver.call.inbox import Inbox, Waiter
from mediaserver.call.playout import Clock, Heard, Playout
from mediaserver.call.session import Session, Shell, Started, StreamEndedError
from mediaserver.call.settings import CallSettings
from mediaserver.call.stream_report import StreamReport
from mediaserver.call.tap import Tap
from mediaserver.call.turn import Turn, TurnCounters, TurnStep, Usage
from mediaserver.call.whole_samples import WholeSamples


__all__ = [
    "Audio",
    "CallSettings",
    "Checkpoint",
    "Clock",
    "Control",
    "Converter",
    "Frame",
    "Heard",
    "Inbox",
    "Interrupt",
    "Playout",
    "Reconnected",
    "Session",
    "Shell",
    "Started",
    "StreamCounters",
    "StreamEndedError",
    "StreamEvent",
    "StreamReport",
    "StreamStatus",
    "Tap",
    "Turn",
    "TurnCounters",
    "TurnStep",
    "Usage",
    "Waiter",
    "WholeSamples",
    "Wire",
    "check_audio",
]
