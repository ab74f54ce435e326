"""A recogniser with sessions, on a WebSocket: it understands sound, and tells when it told it.

Prints its address, and serves until its standard input ends.
"""

import asyncio
import sys
import time
from contextlib import suppress

import msgspec
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from benchmarks.servers.mock_timings import PUBLISHED


INTERIM = 0.1
"""Seconds of sound between interim words."""

_SILENCE = 0xFF


class Told(msgspec.Struct, frozen=True):
    """What the recogniser tells.

    Attributes:
        text: the words since the last final ones. The first is the time, in nanoseconds on the
            monotonic clock, at which the first words were told.
        through: seconds of the session's audio.
        final: whether this answers `finish`.

    """

    text: str
    through: float
    final: bool = False


async def session(connection: ServerConnection) -> None:
    """Serve a client: audio comes in binary messages, and any text asks for final words."""
    heard = sound = told = 0.0
    first = ""
    loop = asyncio.get_running_loop()
    answers: set[asyncio.Task[None]] = set()

    async def answer(due: float, words: Told) -> None:
        await asyncio.sleep(due - loop.time())
        with suppress(ConnectionClosed):
            await connection.send(msgspec.json.encode(words).decode())

    async for message in connection:
        if isinstance(message, str):
            due = loop.time() + PUBLISHED.transcript
            task = asyncio.create_task(answer(due, Told(_words(first, sound), heard, final=True)))
            answers.add(task)
            task.add_done_callback(answers.discard)
            first, sound, told = "", 0.0, 0.0
            continue
        heard += len(message) / 8000
        if message.count(_SILENCE) > len(message) / 2:
            continue
        sound += len(message) / 8000
        if sound - told >= INTERIM:
            told = sound
            first = first or str(time.monotonic_ns())
            interim = Told(_words(first, sound), heard)
            await connection.send(msgspec.json.encode(interim).decode())


def _words(first: str, sound: float) -> str:
    return " ".join([first, *["words"] * int(sound / INTERIM)]) if first else ""


async def main() -> None:
    """Serve until standard input ends."""
    async with serve(session, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"ws://127.0.0.1:{port}", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
