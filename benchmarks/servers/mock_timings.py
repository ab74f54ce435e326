"""When mock services answer, and with what: the same for every agent that is measured.

The deadline of each piece counts from the request, so a piece that is late does not delay the next.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from audiocodecs import mulaw_encode
from benchmarks.servers.speech import RATE, speech


T = TypeVar("T")

ANSWER = "Your order has left our warehouse and will reach you on Thursday morning before noon."
"""Fifteen words."""

END_OF_TURN = 0.6
"""Seconds of silence that end a caller's turn, for every agent."""

_MARK = b"REPLY-AT"


@dataclass(frozen=True, slots=True)
class Timings:
    """The times that the services take, in seconds.

    Attributes:
        transcript: from the end of the caller's turn to the transcript.
        first_token: until the language model begins to write.
        token: for each token.
        first_chunk: from the text to the first audio of its speech.
        chunk: from one piece of audio to the next.
        chunks: number of pieces of audio in the speech of a sentence.
        chunk_seconds: duration of a piece.

    """

    transcript: float = 0.2
    first_token: float = 0.15
    token: float = 0.04
    first_chunk: float = 0.08
    chunk: float = 0.02
    chunks: int = 30
    chunk_seconds: float = 0.02

    def own(self, tokens: Sequence[str]) -> float:
        """Return the time of the services alone, from the end of a turn to the first audio."""
        written = self.first_token + len(tokens) * self.token
        return self.transcript + written + self.first_chunk


PUBLISHED = Timings()
"""The timings of a load test that others have published."""


def tokens(text: str) -> list[str]:
    """Return `text` in words, each with the space before it."""
    return [word if index == 0 else f" {word}" for index, word in enumerate(text.split())]


async def timed(pieces: Iterable[T], first: float, each: float) -> AsyncIterator[T]:
    """Yield the first piece `first` seconds from now, and the others `each` seconds apart."""
    due = time.monotonic() + first
    for piece in pieces:
        # A timer of uvloop may fire a millisecond early; that is not corrected.
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        yield piece
        due += each


async def spoken(timings: Timings) -> AsyncIterator[bytes]:
    """Yield the mu-law pieces of a sentence; the first encodes the time of its return."""
    size = round(timings.chunk_seconds * RATE)
    payload = _voice()
    starts = [number * size % (len(payload) - size) for number in range(timings.chunks)]
    first = True
    async for start in timed(starts, timings.first_chunk, timings.chunk):
        piece = payload[start : start + size]
        yield marked(piece) if first else piece
        first = False


def marked(payload: bytes, *, earlier: int = 0) -> bytes:
    """Return mu-law audio with the time written into it, in codes that survive a decoder.

    Args:
        payload: the audio.
        earlier: nanoseconds by which the time is earlier than now.

    """
    mark = _MARK + b"%016x" % (time.monotonic_ns() - earlier)
    return mark + payload[len(mark) :]


def sent_at(payload: bytes) -> float | None:
    """Return the monotonic time written into audio, or None."""
    start = payload.find(_MARK)
    if start < 0:
        return None
    digits = payload[start + len(_MARK) : start + len(_MARK) + 16]
    return int(digits, 16) / 1e9


_ready = b""


def _voice() -> bytes:
    global _ready
    _ready = _ready or mulaw_encode(speech(20.0))
    return _ready
