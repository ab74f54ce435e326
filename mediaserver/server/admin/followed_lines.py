"""The lines of a call's trace, from the process that has the call to the reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from msgspec import structs

from mediaserver.server.admin.commands import CallCommand, TracedLines
from mediaserver.server.admin.directory import Directory


_PAUSE: Final = 0.1
"""Seconds between two questions for lines: of a call with audio there are a hundred a second."""

_UNANSWERED: Final = 20
"""Questions without an answer, one after the other, upon which the trace ends."""


async def followed_lines(
    directory: Directory, command: CallCommand, traced: TracedLines
) -> AsyncIterator[bytes]:
    """Yield the lines of a call as JSON, until its stream has ended.

    The reader may be slow: while it takes nothing, nothing is asked for, and lines that are dropped
    meanwhile are counted in a line of their own.

    Args:
        directory: knows the process that has the call.
        command: asked for the first lines.
        traced: these.

    """
    unanswered = 0
    while True:
        if traced.missed:
            lost = None if traced.missed < 0 else traced.missed
            yield _line("lines missed", lines=lost)
        # An empty line shows that the reader is still there, and tells it that the server is.
        yield "".join(f"{line}\n" for line in traced.lines).encode() or b"\n"
        if traced.ended:
            return
        await asyncio.sleep(_PAUSE)
        more = structs.replace(command, after=traced.next, process=traced.process)
        delivery = await directory.send(more)
        while delivery.traced is None:
            unanswered += 1
            if delivery.status != "not_delivered" or unanswered >= _UNANSWERED:
                yield _line("trace ended", reason=delivery.detail)
                return
            yield _line("no answer", reason=delivery.detail)
            await asyncio.sleep(_PAUSE)
            delivery = await directory.send(more)
        unanswered = 0
        traced = delivery.traced


def _line(what: str, **details: Any) -> bytes:
    return msgspec.json.encode({"what": what, **details}) + b"\n"
