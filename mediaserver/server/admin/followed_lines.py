"""The lines of a call's trace, from the process that has the call to the reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from msgspec import structs

from mediaserver.server.admin.call_trace import TRACE_ENDED
from mediaserver.server.admin.commands import CallCommand, Delivery, TracedLines
from mediaserver.server.admin.directory import Directory


_PAUSE: Final = 0.1
"""Seconds between two questions for lines: of a call with audio there are a hundred a second."""

_KEEP: Final = 4.0
"""Seconds between two questions while the reader takes nothing; see `traced_calls.LEASE`."""

_UNANSWERED: Final = 20
"""Questions without an answer, one after the other, upon which the trace ends."""


class _Asking:
    """Asks for the lines of a call, from where it has got to."""

    def __init__(self, directory: Directory, command: CallCommand) -> None:
        self._directory = directory
        self._command = command

    def goes_on(self, traced: TracedLines) -> None:
        """Ask for the lines after these from now on."""
        process = traced.process
        self._command = structs.replace(self._command, after=traced.next, process=process)

    async def ask(self) -> Delivery:
        """Return the answer."""
        return await self._directory.send(self._command)

    async def keep(self) -> None:
        """Have the call followed while its reader takes nothing, so that its lines are counted."""
        while True:
            await asyncio.sleep(_KEEP)
            await self.ask()


async def followed_lines(
    directory: Directory, command: CallCommand, traced: TracedLines
) -> AsyncIterator[bytes]:
    """Yield the lines of a call as JSON, until its stream has ended.

    The reader may be slow: lines that are dropped while it takes nothing are counted in a line of
    their own.

    Args:
        directory: knows the process that has the call.
        command: asked for the first lines.
        traced: these.

    """
    asking = _Asking(directory, command)
    keeping = asyncio.create_task(asking.keep(), name="follows a call")
    try:
        async for piece in _pieces(asking, traced):
            yield piece
    finally:
        keeping.cancel()


async def _pieces(asking: _Asking, traced: TracedLines) -> AsyncIterator[bytes]:
    unanswered = 0
    while True:
        asking.goes_on(traced)
        if traced.missed:
            lost = None if traced.missed < 0 else traced.missed
            yield _line("lines missed", lines=lost)
        # An empty line shows that the reader is still there, and tells it that the server is.
        yield "".join(f"{line}\n" for line in traced.lines).encode() or b"\n"
        if traced.ended:
            return
        await asyncio.sleep(_PAUSE)
        while (delivery := await asking.ask()).traced is None:
            unanswered += 1
            if delivery.status != "not_delivered" or unanswered >= _UNANSWERED:
                yield _line(TRACE_ENDED, reason=delivery.detail)
                return
            yield _line("no answer", reason=delivery.detail)
            await asyncio.sleep(_PAUSE)
        unanswered = 0
        traced = delivery.traced


def _line(what: str, **details: Any) -> bytes:
    return msgspec.json.encode({"what": what, **details}) + b"\n"
