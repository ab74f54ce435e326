"""A voice with the protocol of ElevenLabs' contexts.

The program prints its address, and serves until its standard input ends. A `flush` makes it speak.
If the last word is a time in nanoseconds on the monotonic clock, the audio says how much earlier
that was than the flush: see `marked`.
"""

import asyncio
import json
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from benchmarks.servers.local_service import serve_until_eof
from benchmarks.servers.mock_timings import PUBLISHED, marked, spoken, timed
from benchmarks.servers.word_marks import FRAME, FRAMES, marked_word


CUT = "cut"
"""The voice that says numbered words, and whose connection is cut once in each answer."""

CUT_AT = 4
"""The word within which it is."""

WORDS = 12
"""Words of an answer in which it is cut."""


class Spoken:
    """A context of a connection."""

    def __init__(self, connection: ServerConnection, name: str) -> None:
        self._connection = connection
        self._name = name
        self._text = ""
        self._flushed: asyncio.Queue[tuple[str, int] | None] = asyncio.Queue()
        assert connection.request is not None
        self._cuts = f"/{CUT}/" in connection.request.path
        self.speaking = asyncio.create_task(self._speak())

    def take(self, message: dict[str, Any]) -> None:
        """Do what a message asks for."""
        self._text += message.get("text") or ""
        if message.get("flush") and self._text.strip():
            self._flushed.put_nowait((self._text, time.monotonic_ns()))
            self._text = ""
        if message.get("close_context"):
            self._flushed.put_nowait(None)

    async def _speak(self) -> None:
        with suppress(ConnectionClosed):
            while (flushed := await self._flushed.get()) is not None:
                await (self._say_words(flushed[0]) if self._cuts else self._say(*flushed))
            await self._send({"isFinal": True})

    async def _say(self, text: str, flushed_at: int) -> None:
        last = text.split()[-1].rstrip(".")
        waited = flushed_at - int(last) if last.isdigit() else 0
        aligned = {"alignment": _alignment(text)}
        async for piece in spoken(PUBLISHED):
            if aligned:
                piece = marked(piece, earlier=waited)
            await self._send({"audio": b64encode(piece).decode(), **aligned})
            aligned = {}

    async def _say_words(self, text: str) -> None:
        words = [word.strip(".") for word in text.split()]
        replaces = words[0] != "w1"
        async for word, count, piece in _frames(words):
            last = count == FRAMES - 1
            aligned = {"alignment": _alignment(word)} if last else {}
            await self._send({"audio": b64encode(piece).decode(), **aligned})
            if word == f"w{CUT_AT}" and count == FRAMES // 2 and not replaces:
                self._connection.transport.abort()

    async def _send(self, message: dict[str, Any]) -> None:
        await self._connection.send(json.dumps({**message, "contextId": self._name}))


async def _frames(words: list[str]) -> AsyncIterator[tuple[str, int, bytes]]:
    frames = [
        (word, count, marked_word(int(word[1:]))[count * FRAME : (count + 1) * FRAME])
        for word in words
        for count in range(FRAMES)
    ]
    async for frame in timed(frames, PUBLISHED.first_chunk, PUBLISHED.chunk):
        yield frame


def _alignment(text: str) -> dict[str, Any]:
    """Return times within 20 ms: those of a word in its last frame."""
    starts = [20 * index // len(text) for index in range(len(text))]
    ends = [*starts[1:], 20]
    durations = [end - start for start, end in zip(starts, ends, strict=True)]
    return {"chars": list(text), "charStartTimesMs": starts, "charDurationsMs": durations}


def _forget(texts: dict[str, Spoken], name: str, _: asyncio.Task[None]) -> None:
    texts.pop(name, None)


async def session(connection: ServerConnection) -> None:
    """Serve a client."""
    texts: dict[str, Spoken] = {}
    try:
        async for received in connection:
            message = json.loads(received)
            name = message.get("context_id")
            if name is None:
                continue
            if name not in texts:
                texts[name] = Spoken(connection, name)
            texts[name].take(message)
            if message.get("close_context"):
                texts[name].speaking.add_done_callback(partial(_forget, texts, name))
    finally:
        for text in list(texts.values()):
            text.speaking.cancel()


if __name__ == "__main__":
    asyncio.run(serve_until_eof(session))
