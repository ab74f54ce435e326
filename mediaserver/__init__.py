"""A server for Plivo's audio streams.

The names in `__all__` are public, and so are those that `mediaserver.agents`,
`mediaserver.testing`, `mediaserver.sandbox`, `mediaserver.settings` and `audiocodecs` export.
"""

from __future__ import annotations


# Not the one of typing, because this module imports nothing: see _HOMES.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

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

_HOMES = (
    "mediaserver.call",
    "mediaserver.handler",
    "mediaserver.playback",
    "mediaserver.plivo.stream_options",
    "mediaserver.protocol",
    "mediaserver.routes",
    "mediaserver.stream",
)
"""The modules that define those names. They are imported at the first use of a name, so that the
command is at once ready to be interrupted, and prints its version or help quickly."""


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in __all__:
        for home in map(import_module, _HOMES):
            if hasattr(home, name):
                globals()[name] = getattr(home, name)
                return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
