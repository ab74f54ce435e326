"""Records calls: those of another handler, or calls that only record."""

from __future__ import annotations

import os
from functools import wraps
from typing import Any, TypeVar, cast

from mediaserver.agents.recording.paths import check_path
from mediaserver.agents.recording.recording import SUFFIXES, Recording
from mediaserver.checks import check_handler
from mediaserver.handler import Handler, StreamHandler
from mediaserver.stream import Stream


H = TypeVar("H", bound="StreamHandler | type[Handler]")


class Recorder(Handler):
    """Records a call until the caller hangs up: the caller left, what they hear right.

    It says nothing itself. To record what another handler does, see `recorded`; a subclass is
    recorded as well, and can pause `recording`.

    Args:
        path: the path of a ``.wav`` or ``.flac`` file, with the fields of `stream_path`, such as
            ``"calls/{time:%Y-%m-%d}/{call_id}.flac"``.

    Raises:
        ValueError: `path` has another suffix, or an unknown field.

    """

    recording: Recording
    """The call's recording, there before the first hook runs."""

    def __init__(self, path: str | os.PathLike[str] = "{call_id}.wav") -> None:
        check_path(path, *SUFFIXES)
        self.path = path

    async def __call__(self, stream: Stream) -> None:
        """Record until the stream has ended and the hooks are done."""
        async with Recording(stream, self.path) as self.recording:
            await super().__call__(stream)


def recorded(handler: H, path: str | os.PathLike[str] = "{call_id}.wav") -> H:
    """Return a handler that does the same and is recorded.

    A class gets the attribute ``recording``, with which it can pause; an async function finds the
    recording as ``stream.tap``.

        Agent = recorded(Receptionist, "calls/{call_id}.flac")

    Args:
        handler: an async function that takes a stream, or a `Handler` subclass.
        path: see `Recorder`.

    Raises:
        HandlerError: `handler` is not a handler.
        ValueError: `path` has another suffix, or an unknown field.

    """
    check_handler(handler)
    check_path(path, *SUFFIXES)
    if isinstance(handler, type):
        return cast("H", _recorded_class(handler, path))

    @wraps(handler)
    async def run(stream: Stream, **settings: Any) -> None:
        async with Recording(stream, path):
            await handler(stream, **settings)

    # A menu is an object, and has no name to copy.
    run.__qualname__ = getattr(handler, "__qualname__", type(handler).__qualname__)
    return cast("H", run)


def _recorded_class(handler: Any, path: str | os.PathLike[str]) -> Any:
    async def run(self: Any, stream: Stream) -> None:
        async with Recording(stream, path) as self.recording:
            await handler.__call__(self, stream)

    members = {
        "__call__": run,
        "__doc__": handler.__doc__,
        "__module__": handler.__module__,
        "__qualname__": handler.__qualname__,
    }
    return type(handler.__name__, (handler,), members)
