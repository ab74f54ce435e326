"""The handler that is attacked: an echo, which raises what a stream's query asks for.

`?raise=own` raises a `BaseException` of its own; see `RAISED` for the others.
"""

import asyncio
from collections.abc import Callable

from mediaserver.stream import Stream


class OwnError(BaseException):
    """What a panic of an extension looks like."""


CONSTANT = ValueError("raised in every call, so that its traceback grows")

RAISED: dict[str, Callable[[], BaseException]] = {
    "own": lambda: OwnError("on purpose"),
    "generator-exit": GeneratorExit,
    "group": lambda: BaseExceptionGroup("on purpose", [OwnError("on purpose")]),
    "system-exit": lambda: SystemExit(3),
    "interrupt": KeyboardInterrupt,
    "error": lambda: ValueError("on purpose"),
    "constant": lambda: CONSTANT,
}


async def echo_or_raise(stream: Stream) -> None:
    name = stream.query.get("raise")
    if name is not None:
        await asyncio.sleep(0)
        raise RAISED[name]()
    async for frame in stream.audio():
        await stream.play(frame)
