"""What the tests of voices with contexts share."""

from collections.abc import AsyncIterable

from mediaserver.agents.services import VoiceContext, VoiceSession, WordMark
from mediaserver.call import Frame


async def spoken(session: VoiceSession, *texts: str) -> VoiceContext:
    """Begin a text, say it in pieces, and end it."""
    context = session.begin()
    for text in texts:
        await context.say(text)
    await context.end()
    return context


async def heard(speech: AsyncIterable[Frame | WordMark]) -> tuple[float, list[WordMark]]:
    """Return the seconds of audio, and the marks."""
    seconds, marks = 0.0, []
    async for piece in speech:
        if isinstance(piece, WordMark):
            marks.append(piece)
        else:
            seconds += piece.seconds
    return round(seconds, 6), [WordMark(mark.end, round(mark.seconds, 6)) for mark in marks]
