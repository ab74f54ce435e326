"""A server for Plivo's audio streams.

The names in `__all__` are public, and so are those that `mediaserver.agents`,
`mediaserver.testing`, `mediaserver.sandbox`, `mediaserver.settings` and `audiocodecs` export.
"""

from mediaserver.call import (
    Checkpoint,
    Frame,
    Heard,
    Interrupt,
    StreamCounters,
    StreamEndedError,
    StreamReport,
    StreamStatus,
    Turn,
    Usage,
)
from mediaserver.handler import Handler, HandlerError, Lifespan, StreamHandler
from mediaserver.playback import Playback
from mediaserver.plivo.stream_options import StreamOptions
from mediaserver.protocol import Dtmf, ProtocolError, StreamError
from mediaserver.routes import Route, Routes
from mediaserver.stream import CallControlError, Stream


__version__ = "0.1.0"

__all__ = [
    "CallControlError",
    "Checkpoint",
    "Dtmf",
    "Frame",
    "Handler",
    "HandlerError",
    "Heard",
    "Interrupt",
    "Lifespan",
    "Playback",
    "ProtocolError",
    "Route",
    "Routes",
    "Stream",
    "StreamCounters",
    "StreamEndedError",
    "StreamError",
    "StreamHandler",
    "StreamOptions",
    "StreamReport",
    "StreamStatus",
    "Turn",
    "Usage",
    "__version__",
]
