"""Synthesises phrases that are said often once for all calls of a process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import TypeAlias

from audiocodecs import MULAW_8K, AudioFormat
from mediaserver.agents.conversing.served import speech as speech_of
from mediaserver.agents.conversing.synthesis import Synthesis
from mediaserver.agents.services import TextToSpeech, Voice, WordMark
from mediaserver.call import Frame


_Pieces: TypeAlias = tuple[Frame | WordMark, ...]

_Key: TypeAlias = tuple[int, str, AudioFormat]


class PhraseCache:
    """Keeps the speech of phrases.

    Args:
        limit: the number of phrases; the least recently used ones go first.

    Attributes:
        format: the format of the latest stream, as a guess for the next one.

    """

    def __init__(self, limit: int = 256) -> None:
        self._limit = limit
        self.format = MULAW_8K
        # The service is kept too, so that its id is not given to another one.
        self._kept: OrderedDict[_Key, tuple[TextToSpeech | Voice, _Pieces]] = OrderedDict()
        self._making: dict[_Key, Synthesis] = {}
        # Phrases that were synthesised and that no call has paid for yet.
        self._uncounted: set[_Key] = set()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, service: TextToSpeech | Voice, text: str, format: AudioFormat) -> _Pieces | None:
        """Return the speech of `text`; None if it is not kept."""
        key = (id(service), text, format)
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key][1]

    async def speak(
        self,
        service: TextToSpeech | Voice,
        text: str,
        format: AudioFormat,
        *,
        patience: float,
        began: Callable[[], object] | None = None,
    ) -> AsyncGenerator[Frame | WordMark, None]:
        """Yield the speech of `text`, and keep it once it is complete.

        Calls that say it at the same time share one synthesis.

        Args:
            service: synthesises it.
            text: the phrase.
            format: the stream's format.
            patience: seconds to wait for a piece.
            began: called when audio comes that no call has been charged for: each synthesis is
                charged once, to the call that says the phrase first.

        Raises:
            ServiceError: the service failed.

        """
        key = (id(service), text, format)
        kept = self.get(service, text, format)
        if kept is not None:
            self._count(key, began)
            for piece in kept:
                yield piece
            return
        making = self._making.get(key)
        if making is None or making.done:
            pieces = speech_of(
                service, text, format, patience=patience, began=partial(self._uncounted.add, key)
            )
            making = self._making[key] = Synthesis(pieces)
        speech = making.listen()
        try:
            async for piece in speech:
                self._count(key, began)
                yield piece
            self._keep(key, service, tuple(making.speech))
        finally:
            await speech.aclose()
            if making.done and self._making.get(key) is making:
                del self._making[key]
                if key not in self._kept:
                    self._uncounted.discard(key)

    async def prepare(
        self, service: TextToSpeech | Voice, text: str, format: AudioFormat, *, patience: float
    ) -> None:
        """Synthesise `text`, if it is not kept yet.

        Raises:
            ServiceError: the service failed.

        """
        if self.get(service, text, format) is None:
            async for _ in self.speak(service, text, format, patience=patience):
                pass

    def _keep(self, key: _Key, service: TextToSpeech | Voice, speech: _Pieces) -> None:
        self._kept[key] = (service, speech)
        if len(self._kept) > self._limit:
            oldest, _ = self._kept.popitem(last=False)
            self._uncounted.discard(oldest)

    def _count(self, key: _Key, began: Callable[[], object] | None) -> None:
        if began is not None and key in self._uncounted:
            self._uncounted.discard(key)
            began()


PHRASE_CACHE = PhraseCache()
"""The phrases of this process."""
