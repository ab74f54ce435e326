"""The handler that is attacked: an echo, which raises what a stream's query asks for.

`?raise=own` raises a `BaseException` of its own; see `RAISED` for the others. The environment
variable `BUSIEST` names a file, into which the server writes how long its loop was busy at most.
"""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

from mediaserver.stream import Stream


BUSIEST = "HOSTILE_BUSIEST"
"""Name of the environment variable; the file holds seconds."""

TICK_SECONDS = 0.002


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


class Busiest:
    """Measures the most CPU time of the event loop's thread from one timer to the next.

    CPU time, because other processes of a busy machine make each timer late. A value includes up
    to `TICK_SECONDS` of usual work.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._most = 0.0
        self._loop = asyncio.get_running_loop()
        self._busy = time.thread_time()
        self._tick()

    def _tick(self) -> None:
        busy = time.thread_time()
        if busy - self._busy > self._most:
            self._most = busy - self._busy
            new = self._file.with_suffix(".new")
            new.write_text(str(self._most))
            new.replace(self._file)  # whole, whenever it is read
        self._busy = time.thread_time()
        self._loop.call_later(TICK_SECONDS, self._tick)


_measuring: list[Busiest] = []


async def echo_or_raise(stream: Stream) -> None:
    if not _measuring and BUSIEST in os.environ:
        _measuring.append(Busiest(Path(os.environ[BUSIEST])))
    name = stream.query.get("raise")
    if name is not None:
        await asyncio.sleep(0)
        raise RAISED[name]()
    async for frame in stream.audio():
        await stream.play(frame)
