"""Plays the caller's audio back."""

from __future__ import annotations

from mediaserver.stream import Stream


async def Echo(stream: Stream) -> None:  # noqa: N802 - named as handlers are on a command line
    """Play back every frame of the caller as it comes."""
    async for frame in stream.audio("inbound"):
        await stream.play(frame)
