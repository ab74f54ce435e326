"""Plays a realtime model's speech to the caller, and finds out which words the caller heard."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from mediaserver.agents.conversing.call_tasks import StartTask
from mediaserver.agents.conversing.conversation import Saying
from mediaserver.agents.conversing.heard_words import Spoken
from mediaserver.agents.conversing.told_words import ToldWords
from mediaserver.agents.services import Speech, SpokenText
from mediaserver.call import Frame, Waiter, WholeSamples
from mediaserver.playback import Playback
from mediaserver.stream import Stream


_AHEAD = 1.0
"""Seconds of audio that are queued on the stream. Models speak faster than real time; the rest is
queued here, so that the model's other events do not have to wait behind it."""

_TOLERANCE = 0.02
"""Seconds: a shortfall below this counts as fully heard."""


@dataclass(frozen=True, slots=True)
class Portion:
    """How much of an item the caller heard.

    Attributes:
        item_id: the item.
        seconds: the seconds heard; its whole length if the caller missed nothing.

    """

    item_id: str
    seconds: float


class _Item:
    """One item of the model's speech."""

    __slots__ = ("_playbacks", "_played", "_told", "saying", "seconds", "spoken", "whole")

    def __init__(self, saying: Saying, stream: Stream, generation: int) -> None:
        self.saying = saying
        self.spoken = Spoken()
        self._told = ToldWords(stream, self.spoken, generation)
        # Seconds of its audio that the stream was given.
        self._played = 0.0
        # Of the audio that has come.
        self.seconds = 0.0
        self.whole = WholeSamples()
        self._playbacks: list[Playback] = []

    def played(self, playback: Playback, seconds: float) -> None:
        self._playbacks.append(playback)
        self._played += seconds
        self._told.played(self._played)

    def finish(self) -> None:
        self.spoken.finish()
        self._told.played(self._played)

    @property
    def seconds_heard(self) -> float:
        heard = sum(playback.seconds_heard for playback in self._playbacks)
        return self.seconds if heard > self.seconds - _TOLERANCE else heard

    @property
    def last_playback(self) -> Playback | None:
        return self._playbacks[-1] if self._playbacks else None


class Relay:
    """Plays one reply as the model says it.

    Args:
        stream: the stream on which it plays.
        saying: makes a place for an item in the conversation.
        start: starts a task of the call.
        began: called with the playback of the first audio.

    Attributes:
        ending: whether all audio was given to the stream, and `heard` waits for the last of it.

    """

    def __init__(
        self,
        stream: Stream,
        *,
        saying: Callable[[], Saying],
        start: StartTask,
        began: Callable[[Playback], object] = lambda playback: None,
    ) -> None:
        self._stream = stream
        self._saying = saying
        self._start = start
        self._began = began
        self._generation = stream.generation
        self._items: dict[str, _Item] = {}
        self._waiting: deque[tuple[_Item, Frame]] = deque()
        self._feeding: asyncio.Task[None] | None = None
        self._has_begun = False
        self.ending = False

    async def play(self, speech: Speech) -> None:
        """Play the next piece of the model's speech."""
        self.ending = False
        item = self._item(speech.item_id)
        frame = item.whole.frame(speech.frame)
        if self._waiting or self._stream.busy or self._stream.unheard > _AHEAD:
            self._waiting.append((item, frame))
            if self._feeding is None:
                self._feeding = self._start(self._feed(), "plays")
        else:
            await self._play(item, frame)
        item.seconds += frame.seconds
        item.spoken.take(frame)

    def write(self, text: SpokenText) -> None:
        """Take the next piece of its words."""
        item = self._item(text.item_id)
        item.spoken.add(text.text)
        item.saying.text = item.spoken.text
        self._stream.decided("says", words=text.text)

    def complete(self) -> None:
        """Note that the items so far are complete."""
        for item in self._items.values():
            item.finish()

    async def heard(self) -> None:
        """Wait until the caller has heard what has come so far, or will not hear the rest."""
        if self._feeding is not None:
            await asyncio.wait([self._feeding])
        self.ending = True
        for item in reversed(self._items.values()):
            if item.last_playback is not None:
                await item.last_playback.heard()
                return

    def settle(self) -> tuple[str, list[Portion]]:
        """Stop, and keep in the conversation what the caller heard.

        Returns:
            The words, and how much of each item the caller heard.

        """
        self._waiting.clear()
        if self._feeding is not None:
            self._feeding.cancel()
        portions = []
        for item_id, item in self._items.items():
            portion = Portion(item_id, item.seconds_heard)
            portions.append(portion)
            item.saying.text = item.spoken.heard(portion.seconds).strip() if item.seconds else ""
        said = " ".join(item.saying.text for item in self._items.values() if item.saying.text)
        return said, portions

    def _item(self, item_id: str) -> _Item:
        item = self._items.get(item_id)
        if item is None:
            item = self._items[item_id] = _Item(self._saying(), self._stream, self._generation)
        return item

    async def _feed(self) -> None:
        utterance = None
        try:
            utterance = await self._stream.begin_utterance()
            while self._waiting:
                item, frame = self._waiting[0]
                await self._play(item, frame, utterance)
                self._waiting.popleft()
        finally:
            self._feeding = None
            if utterance is not None:
                self._stream.end_utterance(utterance)

    async def _play(self, item: _Item, frame: Frame, utterance: Waiter | None = None) -> None:
        playback = await self._stream.play(frame, generation=self._generation, utterance=utterance)
        item.played(playback, frame.seconds)
        if not self._has_begun:
            self._has_begun = True
            self._began(playback)
