"""The handler that is attacked: an echo, which raises what a stream's query asks for.

`?raise=own` raises a `BaseException` of its own; see `RAISED` for the others.
"""

import asyncio

from mediaserver.stream import Stream


class OwnError(BaseException):
    """What a panic of an extension looks like."""


RAISED: dict[str, BaseException] = {
    "own": OwnError("on purpose"),
    "generator-exit": GeneratorExit(),
    "group": BaseExceptionGroup("on purpose", [OwnError("on purpose")]),
    "system-exit": SystemExit(3),
    "interrupt": KeyboardInterrupt(),
    "error": ValueError("on purpose"),
}


async def echo_or_raise(stream: Stream) -> None:
    name = stream.query.get("raise")
    if name is not None:
        await asyncio.sleep(0)
        raise RAISED[name]
    async for frame in stream.audio():
        await stream.play(frame)
