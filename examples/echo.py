"""Callers hear themselves: the smallest handler.

    mediaserver serve examples.echo:echo
    mediaserver call ws://127.0.0.1:8000/stream --audio in.wav --record out.wav

Run both in the folder above this one; in.wav is any recording of speech.
"""

from mediaserver import Stream


async def echo(stream: Stream) -> None:
    async for frame in stream.audio():
        await stream.play(frame)
