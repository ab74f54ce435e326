"""Speaks a text that comes in pieces with a service that takes whole sentences."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from audiocodecs import AudioFormat
from mediaserver.agents.conversing.served import speech
from mediaserver.agents.conversing.synthesis import Synthesis
from mediaserver.agents.services import TextToSpeech, WordMark
from mediaserver.call import Frame


_AHEAD: Final = 2
"""Number of sentences that are synthesised at a time: the one that plays, and the next."""


class SentenceVoice:
    """A `Voice` that has a `TextToSpeech` speak, sentence after sentence.

    A sentence is the text from one `VoiceContext.flush` to the next.

    Args:
        service: speaks sentences.
        patience: seconds to wait for the first audio of a sentence, and from one piece to the next.

    """

    def __init__(self, service: TextToSpeech, *, patience: float) -> None:
        self._service = service
        self._patience = patience

    async def connect(self, format: AudioFormat) -> SentenceSession:
        """Open a session, for which nothing is asked of the service."""
        return SentenceSession(self._service, format, self._patience)


class SentenceSession:
    """The session of a `SentenceVoice`: the sentences that are synthesised now, in their order."""

    expires_after: float | None = None

    def __init__(self, service: TextToSpeech, format: AudioFormat, patience: float) -> None:
        self._service = service
        self._format = format
        self._patience = patience
        self._contexts: list[SentenceContext] = []
        self._changed: asyncio.Future[None] | None = None

    def begin(self) -> SentenceContext:
        """Begin a text."""
        context = SentenceContext(self)
        self._contexts.append(context)
        return context

    async def close(self) -> None:
        """Stop speaking."""
        for context in list(self._contexts):
            await context.clear()

    def synthesise(self, text: str) -> Synthesis:
        """Have a sentence spoken."""
        return Synthesis(speech(self._service, text, self._format, patience=self._patience))

    @property
    def is_full(self) -> bool:
        """Whether enough sentences are being spoken."""
        return sum(len(context.sentences) for context in self._contexts) >= _AHEAD

    def over(self, context: SentenceContext) -> None:
        """Note that all of a text was spoken, or will not be."""
        if context in self._contexts:
            self._contexts.remove(context)
        self.tell()

    def tell(self) -> None:
        """Wake all that wait for a change."""
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set_result(None)

    async def change(self) -> None:
        """Wait until something has changed."""
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._changed)


class SentenceContext:
    """A text of a `SentenceSession`.

    Attributes:
        sentences: those of which not all audio was taken yet, with their texts.

    """

    def __init__(self, session: SentenceSession) -> None:
        self.sentences: deque[tuple[str, Synthesis]] = deque()
        self._session = session
        self._text = ""
        self._ended = self._cleared = False

    async def say(self, text: str) -> None:
        """Go on with the sentence."""
        self._text += text

    async def flush(self) -> None:
        """End the sentence. Waits while enough of them are being spoken."""
        text, self._text = self._text, ""
        if not text:
            return
        while self._session.is_full and not self._cleared:
            await self._session.change()
        if not self._cleared:
            self.sentences.append((text, self._session.synthesise(text)))
            self._session.tell()

    async def end(self) -> None:
        """End the text."""
        await self.flush()
        self._ended = True
        self._session.tell()

    async def speech(self) -> AsyncGenerator[Frame | WordMark, None]:
        """Yield the speech of each sentence, with a mark at its end.

        Raises:
            ServiceError: the service failed.

        """
        length, seconds = 0, 0.0
        while True:
            while not self.sentences:
                if self._ended:
                    self._session.over(self)
                    return
                await self._session.change()
            text, synthesis = self.sentences[0]
            before = seconds
            async with aclosing(synthesis.listen()) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Frame):
                        seconds += piece.seconds
                        yield piece
                    else:
                        yield WordMark(length + piece.end, before + piece.seconds)
            if self._cleared:
                return
            length += len(text)
            self.sentences.popleft()
            self._session.tell()
            yield WordMark(length, seconds)

    async def clear(self) -> None:
        """Stop speaking this text."""
        self._ended = self._cleared = True
        self._text = ""
        sentences, self.sentences = self.sentences, deque()
        self._session.over(self)
        for _, synthesis in sentences:
            await synthesis.cancel()
