"""Which speech of the caller OpenAI's Realtime API has yet to transcribe."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TypeAlias

from mediaserver.agents.services.realtime import CallerText


Overheard: TypeAlias = "asyncio.Future[tuple[str | None, CallerText]]"
"""The item of speech that is not a turn, and its words; no item if the connection was lost."""


class PendingTranscripts:
    """Puts transcripts into the order of the turns, and hands out those that are not turns."""

    def __init__(self) -> None:
        # What was committed and has no item yet: None for a turn, otherwise who waits.
        self._committed: deque[Overheard | None] = deque()
        # The items without a transcript, oldest first, and who waits for one.
        self._items: deque[str] = deque()
        self._waiting: dict[str, Overheard] = {}

    def commit(self, words: Overheard | None) -> None:
        """Note that speech was committed: a turn, or else what `words` waits for."""
        self._committed.append(words)

    def committed(self, item_id: str, *, transcribed: bool) -> None:
        """Assign an item to the oldest speech without one.

        Args:
            item_id: the item.
            transcribed: whether the session has a transcription.

        """
        words = self._committed.popleft() if self._committed else None
        if words is not None:
            self._waiting[item_id] = words
        if transcribed:
            self._items.append(item_id)

    def transcribed(self, item_id: str, understood: CallerText) -> list[CallerText]:
        """Take the transcript of an item; return a text for each turn up to it.

        Earlier items without a transcript count as empty.
        """
        if item_id not in self._items:
            return []
        turns: list[CallerText] = []
        while True:
            first = self._items.popleft()
            text = understood if first == item_id else CallerText("")
            words = self._waiting.pop(first, None)
            if words is None:
                turns.append(text)
            elif not words.done():
                words.set_result((first, text))
            if first == item_id:
                return turns

    def lose(self) -> None:
        """Give no words to everything that waits: the connection was lost."""
        for words in (*self._committed, *self._waiting.values()):
            if words is not None and not words.done():
                words.set_result((None, CallerText("")))
