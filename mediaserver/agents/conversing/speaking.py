"""Speaks sentences to the caller, and finds out which words the caller heard."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Any, TypeAlias

from mediaserver.agents.conversing.call_tasks import StartTask
from mediaserver.agents.conversing.conversation import Saying
from mediaserver.agents.conversing.heard_words import Spoken
from mediaserver.agents.conversing.steps import RunningStep
from mediaserver.agents.services import ServiceError, WordMark
from mediaserver.call import Converter, Frame, Waiter, Wire
from mediaserver.playback import Playback
from mediaserver.stream import Stream


_AHEAD = 2
"""Number of sentences that are synthesised at a time: the one that plays, and the next."""

_TOLERANCE = 0.001
"""Seconds: a shortfall below this counts as fully heard, since sums of floats are not exact."""

Synthesis: TypeAlias = Callable[[str], AsyncGenerator[Frame | WordMark, None]]
"""Yields the speech of a text. Raises ServiceError only."""


class _Sentence:
    """A sentence on its way to the caller."""

    __slots__ = (
        "converter",
        "made",
        "playback",
        "saying",
        "spoken",
        "step",
        "task",
        "utterance",
        "waiting",
    )

    def __init__(
        self, text: str, saying: Saying, converter: Converter, step: RunningStep | None
    ) -> None:
        self.saying = saying
        self.step = step
        self.spoken = Spoken(text)
        self.converter = converter
        # Audio that came while an earlier sentence was playing.
        self.waiting: deque[Frame | WordMark] = deque()
        # Whether all its audio has come.
        self.made = False
        self.playback: Playback | None = None
        # On the stream, from its first audio to its last: what others play comes after it.
        self.utterance: Waiter | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def was_heard(self) -> bool:
        """Whether the caller has heard all of it."""
        if self.playback is None or not self.spoken.complete:
            return False
        return self.playback.seconds_heard > self.spoken.seconds - _TOLERANCE

    @property
    def heard(self) -> str:
        if self.playback is None:
            return ""
        return self.spoken.heard(self.playback.seconds_heard)


class Speaker:
    """Speaks one reply, sentence after sentence.

    A sentence plays while it is synthesised, in the task that receives its audio. The next one is
    synthesised meanwhile.

    Args:
        stream: the stream on which it plays.
        synthesis: makes speech of a text.
        start: starts a task of the call.
        began: called with the playback of the first audio.
        step: begins the step of the turn that synthesises a text; None if there is none.

    Attributes:
        ending: whether all sentences were given to the stream, and `heard` waits for the last.

    """

    def __init__(
        self,
        stream: Stream,
        synthesis: Synthesis,
        *,
        start: StartTask,
        began: Callable[[Playback], object] = lambda playback: None,
        step: Callable[[str], RunningStep | None] = lambda text: None,
    ) -> None:
        self._stream = stream
        self._step = step
        self._synthesis = synthesis
        self._start = start
        self._began = began
        self._generation = stream.generation
        self._sentences: list[_Sentence] = []
        # Sentences that have not been played to their end. Only the first of them may play.
        self._queue: deque[_Sentence] = deque()
        # The task that plays audio that had to wait, or did so last.
        self._catching_up: asyncio.Task[Any] | None = None
        self._error: ServiceError | None = None
        self._changed: asyncio.Future[None] | None = None
        self._has_begun = False
        self._settled = False
        self.ending = False

    async def say(self, text: str, saying: Saying, *, synthesis: Synthesis | None = None) -> None:
        """Say a sentence after the earlier ones; wait while enough of them are queued.

        Does nothing after `settle`.

        Args:
            text: the sentence.
            saying: its place in the conversation, which has it from now on.
            synthesis: makes its speech, in place of the speaker's own synthesis.

        Raises:
            ServiceError: the synthesis of this sentence or of an earlier one failed.

        """
        self.ending = False
        while len(self._queue) >= _AHEAD and self._error is None:
            await self._change()
        self._check()
        if self._settled:
            return
        for earlier in self._sentences:
            if earlier.was_heard:
                earlier.spoken.was_heard()
        sentence = _Sentence(text, saying, Converter(self._stream.format), self._step(text))
        saying.text += text
        self._sentences.append(sentence)
        self._queue.append(sentence)
        speech = (synthesis or self._synthesis)(text)
        sentence.task = self._start(self._speak(sentence, speech), "sentence")

    async def heard(self) -> None:
        """Wait until the caller has heard everything, or will not hear the rest.

        Raises:
            ServiceError: the synthesis failed.

        """
        while self._queue and self._error is None:
            await self._change()
        self._check()
        self.ending = True
        for sentence in reversed(self._sentences):
            if sentence.playback is not None:
                await sentence.playback.heard()
                return

    def settle(self) -> str:
        """Stop; keep in the conversation what the caller heard, and return it."""
        self._settled = True
        self._queue.clear()
        # A tool that waits in `say` outlives this reply.
        self._wake()
        sayings: dict[Saying, list[str]] = {}
        for sentence in self._sentences:
            if sentence.task is not None:
                sentence.task.cancel()
            self._end_utterance(sentence)
            sayings.setdefault(sentence.saying, []).append(sentence.heard)
        for saying, heard in sayings.items():
            saying.text = "".join(heard).strip()
        return " ".join(saying.text for saying in sayings if saying.text)

    async def _speak(
        self, sentence: _Sentence, speech: AsyncGenerator[Frame | WordMark, None]
    ) -> None:
        step = sentence.step
        try:
            async for piece in speech:
                if step is not None and step.first_at is None:
                    step.first_at = self._stream.clock()
                if self._is_first(sentence) and not sentence.waiting:
                    await self._play(sentence, piece)
                else:
                    sentence.waiting.append(piece)
            sentence.made = True
            if self._is_first(sentence) and not sentence.waiting:
                await self._finish_first()
        except ServiceError as error:
            if step is not None:
                step.fail(error)
            self._fail(sentence, error)
        finally:
            if step is not None:
                step.end(self._stream.clock())
            await speech.aclose()

    async def _finish_first(self) -> None:
        """Finish the sentence that plays, and play what has come of the next ones."""
        self._catching_up = asyncio.current_task()
        while self._queue:
            sentence = self._queue[0]
            while sentence.waiting:
                # It stays in the queue while it plays, so that later audio is queued behind it.
                await self._play(sentence, sentence.waiting[0])
                sentence.waiting.popleft()
            if not sentence.made:
                return
            if tail := sentence.converter.flush():
                await self._play_wire(sentence, tail)
            sentence.spoken.finish()
            self._end_utterance(sentence)
            self._queue.popleft()
            self._wake()

    def _is_first(self, sentence: _Sentence) -> bool:
        return bool(self._queue) and self._queue[0] is sentence

    async def _play(self, sentence: _Sentence, piece: Frame | WordMark) -> None:
        if isinstance(piece, WordMark):
            sentence.spoken.take(piece)
        elif piece.format is self._stream.format:
            await self._play_frame(sentence, piece)
        else:
            for wire in sentence.converter.convert(piece):
                await self._play_wire(sentence, wire)

    async def _play_wire(self, sentence: _Sentence, wire: Wire) -> None:
        await self._play_frame(sentence, Frame(bytes(wire), self._stream.format))

    async def _play_frame(self, sentence: _Sentence, frame: Frame) -> None:
        if not frame.payload:
            return
        sentence.spoken.take(frame)
        if sentence.utterance is None:
            sentence.utterance = await self._stream.begin_utterance()
        playback = await self._stream.play(
            frame, generation=self._generation, utterance=sentence.utterance
        )
        if self._generation != self._stream.generation:
            return
        if sentence.playback is not None:
            sentence.playback.extend(playback)
            return
        sentence.playback = playback
        if not self._has_begun:
            self._has_begun = True
            self._began(playback)

    def _fail(self, sentence: _Sentence, error: ServiceError) -> None:
        """Give up a sentence and those after it; the earlier ones still play."""
        if self._is_first(sentence) and sentence.waiting and self._catching_up is not None:
            # Otherwise it would play in the middle of the apology.
            self._catching_up.cancel()
        while self._queue and sentence in self._queue:
            last = self._queue.pop()
            if last is not sentence and last.task is not None:
                last.task.cancel()
            self._end_utterance(last)
        self._error = error
        self._wake()

    def _end_utterance(self, sentence: _Sentence) -> None:
        if sentence.utterance is not None:
            self._stream.end_utterance(sentence.utterance)

    def _check(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    async def _change(self) -> None:
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._changed)

    def _wake(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)
