"""Hands a model's answer to the voice while it is written: in sentences, or in words by time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from mediaserver.agents.conversing.call_tasks import StartTask
from mediaserver.agents.conversing.conversation import Saying
from mediaserver.agents.conversing.sentences import Sentences
from mediaserver.agents.conversing.speaking import Speaker
from mediaserver.agents.services import ServiceError
from mediaserver.call import StreamEndedError


class SpokenAnswer:
    """Says one answer of a model as it comes.

    Sentences are said when they are complete. If there is a time limit, the words of a sentence are
    said after it, up to the last whole word. The voice has to begin with the first words of the
    answer at once; with those that follow, it may wait for the rest of their sentence.

    Args:
        speaker: says it.
        saying: its place in the conversation.
        start: starts a task of the call.
        after: seconds that words wait for the rest of their sentence; None: as long as it takes.
        tags: marks that stay, because they tell the voice how to speak.

    Attributes:
        said: whether there were any words.

    """

    def __init__(
        self,
        speaker: Speaker,
        saying: Saying,
        *,
        start: StartTask,
        after: float | None = None,
        tags: Sequence[str] = (),
    ) -> None:
        self.said = False
        self._speaker = speaker
        self._saying = saying
        self._start = start
        self._after = after
        self._tags = tags
        self._sentences = Sentences(tags=tags)
        # Words that are due come between two pieces of the model's, not within one.
        self._lock = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._error: ServiceError | None = None

    async def add(self, text: str) -> None:
        """Go on with the answer.

        Raises:
            ServiceError: the voice failed.

        """
        async with self._lock:
            sentences = self._sentences.feed(text)
            if sentences:
                self._stop_waiting()
            if self._after is not None and self._timer is None and self._sentences.has_words:
                self._timer = self._loop.call_later(self._after, self._due)
            await self._say(sentences)

    def restart(self) -> None:
        """Forget what was not said yet: it was no part of the answer."""
        self._stop_waiting()
        self._sentences = Sentences(tags=self._tags)
        self.said = False

    async def end(self) -> None:
        """Say the rest.

        Raises:
            ServiceError: the voice failed.

        """
        self._stop_waiting()
        async with self._lock:
            await self._say(self._sentences.flush())

    def close(self) -> None:
        """Say no more."""
        self._stop_waiting()
        if self._task is not None:
            self._task.cancel()

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> None:
        self._timer = None
        try:
            self._task = self._start(self._say_words(), "says words")
        except StreamEndedError:
            pass

    async def _say_words(self) -> None:
        async with self._lock:
            words = self._sentences.words()
            if words and self._error is None:
                flush, self.said = not self.said, True
                try:
                    await self._speaker.say(words, self._saying, flush=flush)
                except ServiceError as error:
                    self._error = error  # the model's next piece tells it

    async def _say(self, sentences: Iterable[str]) -> None:
        if self._error is not None:
            raise self._error
        for sentence in sentences:
            if any(map(str.isalnum, sentence)):
                self.said = True
                await self._speaker.say(sentence, self._saying)
