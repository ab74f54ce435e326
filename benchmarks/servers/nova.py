"""A recogniser with the protocol of Deepgram's Nova: it understands marked words.

See `benchmarks.servers.word_marks`. Prints its address, and serves until its standard input ends.
"""

import asyncio
import json
import time
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from benchmarks.servers.local_service import serve_until_eof
from benchmarks.servers.mock_timings import PUBLISHED
from benchmarks.servers.word_marks import WORD_SECONDS, word_marks_in


CUT = "nova-cut"
"""The model whose connections are cut once in each turn."""

CUT_AT = 5
"""The word of a turn at which they are: it was told, and is not final."""

WORDS = 9
"""Words that callers say to it in a turn in which it is cut."""

_RATE = 8000
_REPLAYED = 0.3
"""Seconds by which a connection has got more audio than it is old if it replaces another one."""


async def session(connection: ServerConnection) -> None:
    """Serve a client. It tells each word when it ends; its text is its number and the time."""
    assert connection.request is not None
    query = parse_qs(urlsplit(connection.request.path).query)
    cuts = query.get("model") == [CUT]
    loop = asyncio.get_running_loop()
    opened = loop.time()
    heard = final = 0.0
    words: list[tuple[str, float]] = []
    answers: set[asyncio.Task[None]] = set()

    async def answer(message: str) -> None:
        await asyncio.sleep(PUBLISHED.transcript)
        with suppress(ConnectionClosed):
            await connection.send(message)

    async for message in connection:
        if isinstance(message, str):
            if '"Finalize"' in message:
                told = _results(words, final, heard, is_final=True)
                task = asyncio.create_task(answer(told))
                answers.add(task)
                task.add_done_callback(answers.discard)
                words, final, cuts = [], heard, query.get("model") == [CUT]
            continue
        count = len(words)
        for number, ended, at in word_marks_in(message):
            if ended:
                end = heard + at / _RATE + WORD_SECONDS / 12
                words.append((f"{number}@{time.monotonic_ns()}", end))
        heard += len(message) / _RATE
        if len(words) == count:
            continue
        await connection.send(_results(words, final, heard, is_final=False))
        if cuts and len(words) >= CUT_AT:
            cuts = False
            if heard - (loop.time() - opened) < _REPLAYED:
                connection.transport.abort()


def _results(words: list[tuple[str, float]], start: float, end: float, *, is_final: bool) -> str:
    told = [
        {"word": text, "start": at - WORD_SECONDS, "end": at, "confidence": 0.99}
        for text, at in words
    ]
    transcript = " ".join(text for text, _ in words)
    return json.dumps(
        {
            "type": "Results",
            "channel_index": [0, 1],
            "start": start,
            "duration": end - start,
            "is_final": is_final,
            "speech_final": False,
            "from_finalize": is_final,
            "channel": {
                "alternatives": [{"transcript": transcript, "confidence": 0.99, "words": told}]
            },
            "metadata": {"request_id": "1", "model_uuid": "1"},
        }
    )


if __name__ == "__main__":
    asyncio.run(serve_until_eof(session))
