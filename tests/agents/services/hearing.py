from collections.abc import AsyncIterator

from audiocodecs import MULAW_8K, AudioFormat
from mediaserver.agents.services import RecognizedWords, RecognizerEvent, RecognizerSession
from mediaserver.call import Frame
from mediaserver.testing.services import tones


def spoken(words: int, quiet: float, format: AudioFormat = MULAW_8K) -> list[Frame]:
    """Return frames of 20 ms: a number of words, and silence."""
    silence = format.silence * round(quiet * format.rate)
    audio = format.encode(tones(words, format.rate)) + silence
    size = format.bytes_per_second // 50
    return [Frame(audio[at : at + size], format) for at in range(0, len(audio), size)]


async def until(
    events: AsyncIterator[RecognizerEvent], kind: type[RecognizerEvent]
) -> list[RecognizerEvent]:
    """Return the events up to the first of a type."""
    came = []
    async for event in events:
        came.append(event)
        if isinstance(event, kind):
            return came
    raise AssertionError(f"no {kind.__name__} came, only {came}")


def texts(events: list[RecognizerEvent], *, final: bool) -> list[str]:
    """Return the texts of the final words, or of the interim ones."""
    words = [each for each in events if isinstance(each, RecognizedWords)]
    return [each.text for each in words if each.final is final]


def signs(events: list[RecognizerEvent]) -> list[type]:
    """Return what was told of the caller's turns and of the end of words."""
    return [type(each) for each in events if not isinstance(each, RecognizedWords)]


async def hear(session: RecognizerSession, frames: list[Frame]) -> None:
    for frame in frames:
        await session.hear(frame)
