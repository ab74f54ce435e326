"""An echo that looks at the audio: every frame becomes samples and is encoded again."""

from mediaserver.stream import Stream


async def samples_echo(stream: Stream) -> None:
    async for frame in stream.audio():
        await stream.play(frame.samples)
