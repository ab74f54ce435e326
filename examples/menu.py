"""A menu worked by keys: it asks, waits, asks again, and gives up in the end.

    mediaserver serve examples.menu:menu
    mediaserver call ws://127.0.0.1:8000/stream --press 2@1.5 --silence 6 --record out.wav

Its prompts are tones, so that it needs no recordings.
"""

import asyncio
from collections.abc import AsyncIterable

import numpy as np

from audiocodecs import Samples
from mediaserver import Dtmf, Stream


RATE = 8000
PATIENCE = 4.0  # seconds from the end of a prompt
ATTEMPTS = 3


def tones(*hertz: float) -> Samples:
    """Make a quarter of a second of each, one after the other."""
    turns = np.repeat(hertz, RATE // 4).cumsum() / RATE
    return (6000 * np.sin(2 * np.pi * turns)).astype(np.int16)


QUESTION = tones(440, 550, 660)
SORRY = tones(660, 330)
ANSWERS = {"1": tones(880, 880), "2": tones(990, 880, 770)}
GOODBYE = tones(660, 550, 440)


async def menu(stream: Stream) -> None:
    stream.ignore_audio()  # it listens for keys alone
    events = stream.controls()
    for _ in range(ATTEMPTS):
        await stream.play(QUESTION, rate=RATE)
        key = await next_key(stream, events)
        await stream.play(ANSWERS.get(key, SORRY), rate=RATE)
        if key in ANSWERS:
            break
    last = await stream.play(GOODBYE, rate=RATE)
    await last.heard()  # a handler that returns ends the stream, and what is unheard with it


async def next_key(stream: Stream, events: AsyncIterable[object]) -> str:
    """Wait for a key, which cuts the prompt short; an empty string if none comes in time."""
    try:
        async with asyncio.timeout(stream.unheard + PATIENCE):
            async for event in events:
                if isinstance(event, Dtmf):
                    stream.interrupt()
                    return event.digit
    except TimeoutError:
        pass
    return ""
