"""The speech of one text, over a connection that speaks one text at a time.

The next text is kept here until the one before it has been spoken, so that an interruption takes
back no other text than that one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Protocol

from mediaserver.agents.services.errors import ServiceError
from mediaserver.agents.services.voice import VoiceContext
from mediaserver.call import Frame


class SerialTexts(Protocol):
    """The session that texts are spoken over, one after the other."""

    async def go_on(self) -> None:
        """Send what there is of the present text, and begin with the next when it is spoken."""

    async def forget(self, text: SerialText, *, sent: bool) -> None:
        """Have no more of a text spoken; `sent` says whether the service has some of it."""


class SerialText(VoiceContext):
    """A text, and its speech.

    Args:
        session: the session that it is spoken over.

    Attributes:
        frames: its audio, for `speech`; None ends it, and an error is raised.

    """

    def __init__(self, session: SerialTexts) -> None:
        self._session = session
        self._text = ""
        self._wants_flush = False
        self._ended = False
        self._cleared = False
        self._unflushed = False
        self._flushes = 0  # that are not answered yet
        self.frames: asyncio.Queue[Frame | ServiceError | None] = asyncio.Queue()

    async def say(self, text: str) -> None:
        """Go on with the text."""
        self._text += text
        await self._session.go_on()

    async def flush(self) -> None:
        """Have all of the text so far spoken now."""
        self._wants_flush = True
        await self._session.go_on()

    async def end(self) -> None:
        """Note that the text is complete."""
        self._ended = True
        await self._session.go_on()

    async def clear(self) -> None:
        """Forget the rest."""
        if self._cleared:
            return
        self._cleared = True
        self.frames.put_nowait(None)
        await self._session.forget(self, sent=self._unflushed or self._flushes > 0)

    async def speech(self) -> AsyncGenerator[Frame, None]:
        """Yield the audio as it comes.

        Raises:
            ServiceError: the connection was lost, or the service refused something.

        """
        while (frame := await self.frames.get()) is not None:
            if self._cleared:
                return
            if isinstance(frame, ServiceError):
                raise frame
            yield frame

    # For the session.

    def take(self, *, longest: int, may_flush: bool = True) -> tuple[list[str], bool]:
        """Return what is to be sent now: pieces of the text, and whether a flush follows them.

        Args:
            longest: characters that a piece may have.
            may_flush: whether a flush may be asked for before the text has ended.

        """
        if self._cleared:
            return [], False
        pieces: list[str] = []
        # Space alone is no text to speak: it waits for the word that follows.
        if self._text.strip():
            text, self._text = self._text, ""
            pieces = [text[at : at + longest] for at in range(0, len(text), longest)]
            self._unflushed = True
        flushes = self._unflushed and (self._ended or (self._wants_flush and may_flush))
        if flushes:
            self._unflushed = False
            self._flushes += 1
        self._wants_flush = False
        return pieces, flushes

    def flushed(self) -> None:
        """Note that a flush was answered."""
        self._flushes = max(0, self._flushes - 1)

    @property
    def flushing(self) -> bool:
        """Whether a flush is not answered yet."""
        return self._flushes > 0

    @property
    def done(self) -> bool:
        """Whether all of it was spoken."""
        return self._cleared or (
            self._ended and not self._unflushed and not self._flushes and not self._text.strip()
        )
