"""A server for Plivo's audio streams.

The names in `__all__` are public, and so are those that `mediaserver.agents`,
`mediaserver.testing`, `mediaserver.sandbox`, `mediaserver.settings` and `audiocodecs` export.
"""

from __future__ import annotations

from mediaserver.lazy_exports import lazy_exports


# Not the one of typing: the command is at once ready to be interrupted, and prints help quickly.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from mediaserver.call import (
        Checkpoint,
        Frame,
        Heard,
        Interrupt,
        Reconnected,
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
    "Reconnected",
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

__getattr__, __dir__ = lazy_exports(
    globals(),
    (
        "mediaserver.call",
        "mediaserver.handler",
        "mediaserver.playback",
        "mediaserver.plivo.stream_options",
        "mediaserver.protocol",
        "mediaserver.routes",
        "mediaserver.stream",
    ),
)
