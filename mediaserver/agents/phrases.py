"""Phrases that are said again and again, synthesised once for all calls of a process."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from typing import TypeAlias

from audiocodecs import MULAW_8K, AudioFormat
from mediaserver.agents.served import served
from mediaserver.agents.services import TextToSpeech, WordMark
from mediaserver.call import Frame


Speech: TypeAlias = tuple[Frame | WordMark, ...]

SERVICE = "text_to_speech"


class Phrases:
    """Keeps the speech of texts.

    Args:
        limit: how many are kept; those that were said longest ago go first.

    Attributes:
        format: that of the last stream, which the next one will have too.

    """

    def __init__(self, limit: int = 256) -> None:
        self._limit = limit
        self.format = MULAW_8K
        # The service is kept with its phrases, so that no other can have its identity.
        self._kept: OrderedDict[tuple[int, str, AudioFormat], tuple[TextToSpeech, Speech]]
        self._kept = OrderedDict()
        self._made: dict[tuple[int, str, AudioFormat], asyncio.Event] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, service: TextToSpeech, text: str, format: AudioFormat) -> Speech | None:
        """Return the speech of `text`, if it is kept."""
        key = (id(service), text, format)
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key][1]

    async def speak(
        self, service: TextToSpeech, text: str, format: AudioFormat, *, patience: float
    ) -> AsyncGenerator[Frame | WordMark, None]:
        """Yield the speech of `text`, and keep it if all of it was made.

        Raises:
            ServiceError: the service failed.

        """
        key = (id(service), text, format)
        if key in self._made:
            # Another call is having it made: that is done sooner than a beginning of our own.
            await self._made[key].wait()
        kept = self.get(service, text, format)
        if kept is not None:
            for piece in kept:
                yield piece
            return
        made = self._made[key] = asyncio.Event()
        speech: list[Frame | WordMark] = []
        pieces = served(lambda: service.speak(text, format), service=SERVICE, patience=patience)
        try:
            async for piece in pieces:
                speech.append(piece)
                yield piece
            self._kept[key] = (service, tuple(speech))
            if len(self._kept) > self._limit:
                self._kept.popitem(last=False)
        finally:
            if self._made.get(key) is made:
                del self._made[key]
            made.set()
            await pieces.aclose()

    async def prepare(
        self, service: TextToSpeech, text: str, format: AudioFormat, *, patience: float
    ) -> None:
        """Have the speech of `text` made, if it is not there yet.

        Raises:
            ServiceError: the service failed.

        """
        if self.get(service, text, format) is None:
            async for _ in self.speak(service, text, format, patience=patience):
                pass


PHRASES = Phrases()
"""Those of this process."""
