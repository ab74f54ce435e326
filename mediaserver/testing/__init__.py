"""For tests of handlers: virtual time, and a phone joined to a handler without a network."""

from mediaserver.sandbox import WaitTimeoutError
from mediaserver.testing.joined import CallFailed, JoinedCall, joined
from mediaserver.testing.virtual_time import (
    StalledError,
    VirtualTimeLoop,
    in_virtual_time,
    run_virtual,
    stall,
)


__all__ = [
    "CallFailed",
    "JoinedCall",
    "StalledError",
    "VirtualTimeLoop",
    "WaitTimeoutError",
    "in_virtual_time",
    "joined",
    "run_virtual",
    "stall",
]
