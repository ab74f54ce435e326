"""Speaks a reply to the caller, and finds out which words the caller heard."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from typing import Final

from mediaserver.agents.conversing.call_tasks import StartTask
from mediaserver.agents.conversing.conversation import Saying
from mediaserver.agents.conversing.heard_words import Spoken
from mediaserver.agents.conversing.steps import RunningStep
from mediaserver.agents.conversing.told_words import ToldWords
from mediaserver.agents.services import ServiceError, VoiceContext, WordMark
from mediaserver.call import Converter, Frame, StreamEndedError, Waiter
from mediaserver.playback import Playback
from mediaserver.stream import Stream


_CONTEXTS: Final = 2
"""Number of contexts of a voice at a time: the one that plays, and the next."""

_TOLERANCE: Final = 0.001
"""Seconds: a shortfall below this counts as fully heard, since sums of floats are not exact."""


class _Passage:
    """A text on its way to the caller: one context of the voice, or a phrase."""

    __slots__ = (
        "context",
        "converter",
        "playback",
        "saying",
        "speech",
        "spoken",
        "step",
        "told",
        "unpaid",
        "utterance",
    )

    def __init__(
        self,
        saying: Saying,
        speech: AsyncIterator[Frame | WordMark],
        stream: Stream,
        generation: int,
        context: VoiceContext | None = None,
        step: RunningStep | None = None,
    ) -> None:
        self.saying = saying
        self.speech = speech
        self.converter = Converter(stream.format)
        self.context = context
        self.step = step
        self.spoken = Spoken()
        self.told = ToldWords(stream, self.spoken, generation)
        # Characters that the voice was given since its latest audio.
        self.unpaid = 0
        self.playback: Playback | None = None
        # On the stream, from its first audio to its last: what others play comes after it.
        self.utterance: Waiter | None = None

    def add(self, text: str) -> None:
        self.spoken.add(text)
        self.saying.text += text

    @property
    def seconds_heard(self) -> float:
        heard = 0.0 if self.playback is None else self.playback.seconds_heard
        return heard + _TOLERANCE if heard else 0.0

    @property
    def heard(self) -> str:
        return self.spoken.heard(self.seconds_heard)


class Speaker:
    """Speaks one reply, passage after passage, while the voice makes the speech.

    Args:
        stream: the stream on which it plays.
        begin: begins a text of the voice.
        start: starts a task of the call.
        began: called with the playback of the first audio.
        step: begins the step of the turn in which the voice speaks a text.
        spent: called with the number of characters that the voice was given, once audio has come.

    Attributes:
        ending: whether all speech was given to the stream, and `heard` waits for the last of it.

    """

    def __init__(
        self,
        stream: Stream,
        begin: Callable[[], VoiceContext],
        *,
        start: StartTask,
        began: Callable[[Playback], object] = lambda playback: None,
        step: Callable[[], RunningStep | None] = lambda: None,
        spent: Callable[[int], object] = lambda characters: None,
    ) -> None:
        self._stream = stream
        self._begin = begin
        self._start = start
        self._began = began
        self._step = step
        self._spent = spent
        self._generation = stream.generation
        self._passages: list[_Passage] = []
        # Those that have not been played to their end. Only the first of them plays.
        self._queue: deque[_Passage] = deque()
        # The one whose text goes on.
        self._open: _Passage | None = None
        self._playing: asyncio.Task[None] | None = None
        self._error: ServiceError | None = None
        self._changed = asyncio.Event()
        # Texts come one after the other, also from tools that run at the same time.
        self._lock = asyncio.Lock()
        self._has_begun = False
        self._settled = False
        self.ending = False

    async def say(self, text: str, saying: Saying, *, flush: bool = True) -> None:
        """Say more text after all that was said; wait while the voice has enough to speak.

        Does nothing after `settle`.

        Args:
            text: a sentence, or a part of it.
            saying: its place in the conversation, which has it from now on.
            flush: whether the voice is to speak it now, rather than when it has more.

        Raises:
            ServiceError: the voice failed, now or before.

        """
        async with self._lock:
            if self._open is None or self._open.saying is not saying:
                await self._end_text()
                while sum(each.context is not None for each in self._queue) >= _CONTEXTS:
                    await self._change()
            if not self._goes_on():
                return
            if self._open is None:
                context = self._begin()
                self._open = self._add(saying, context.speech(), context, self._step())
            await self._give(self._open, text, flush)
            self._goes_on()

    async def _give(self, passage: _Passage, text: str, flush: bool) -> None:
        for earlier in self._passages:
            earlier.spoken.forget(earlier.seconds_heard)
        passage.add(text)
        self._stream.decided("says", words=text)
        assert passage.context is not None
        await passage.context.say(text)
        if flush:
            await passage.context.flush()
        passage.unpaid += len(text)

    async def say_phrase(
        self,
        text: str,
        saying: Saying,
        speech: AsyncGenerator[Frame | WordMark, None],
        step: RunningStep | None = None,
    ) -> None:
        """Say a phrase whose speech comes from elsewhere, after all that was said.

        Args:
            text: the phrase.
            saying: its place in the conversation, which has it from now on.
            speech: yields its speech, and raises ServiceError only.
            step: the step of the turn that makes the speech; None for no step.

        Raises:
            ServiceError: the voice failed before.

        """
        async with self._lock:
            await self._end_text()
            if self._goes_on():
                self._add(saying, speech, None, step).add(text)
                self._stream.decided("says", words=text)

    async def end(self) -> None:
        """End the text so far: what is said next is another one."""
        async with self._lock:
            await self._end_text()

    async def _end_text(self) -> None:
        passage, self._open = self._open, None
        if passage is not None and passage.context is not None:
            await passage.context.end()

    async def heard(self) -> None:
        """Wait until the caller has heard everything, or will not hear the rest.

        Raises:
            ServiceError: the voice failed.

        """
        await self.end()
        while self._queue and self._error is None:
            await self._change()
        self._check()
        self.ending = True
        for passage in reversed(self._passages):
            if passage.playback is not None:
                await passage.playback.heard()
                return

    def settle(self) -> str:
        """Stop; keep in the conversation what the caller heard, and return it."""
        self._settled = True
        if self._playing is not None:
            self._playing.cancel()
        sayings: dict[Saying, list[str]] = {}
        for passage in self._passages:
            sayings.setdefault(passage.saying, []).append(passage.heard)
        self._give_up()
        for saying, heard in sayings.items():
            saying.text = "".join(heard).strip()
        return " ".join(saying.text for saying in sayings if saying.text)

    def _goes_on(self) -> bool:
        """Whether there is more to say; raises what has failed."""
        self.ending = False
        self._check()
        return not self._settled

    def _add(
        self,
        saying: Saying,
        speech: AsyncIterator[Frame | WordMark],
        context: VoiceContext | None,
        step: RunningStep | None,
    ) -> _Passage:
        passage = _Passage(saying, speech, self._stream, self._generation, context, step)
        self._passages.append(passage)
        self._queue.append(passage)
        if len(self._queue) == 1:
            self._playing = self._start(self._play_all(), "speaks")
        return passage

    async def _play_all(self) -> None:
        while self._queue:
            passage = self._queue[0]
            try:
                await self._play(passage)
            except ServiceError as error:
                if passage.step is not None:
                    passage.step.fail(error)
                self._error = error
                self._give_up()
                return
            self._end(passage)
            self._queue.popleft()
            self._changed.set()

    async def _play(self, passage: _Passage) -> None:
        speech = passage.speech
        try:
            async for piece in speech:
                if isinstance(piece, WordMark):
                    passage.spoken.take(piece)
                    continue
                if passage.step is not None:
                    passage.step.answered(self._stream.clock())
                self._pay(passage)
                if piece.format is self._stream.format:
                    await self._play_frame(passage, piece)
                    continue
                for wire in passage.converter.convert(piece):
                    await self._play_frame(passage, Frame(bytes(wire), self._stream.format))
            if tail := passage.converter.flush():
                await self._play_frame(passage, Frame(bytes(tail), self._stream.format))
            passage.spoken.finish()
            if passage.playback is not None:
                self._pay(passage)
                passage.told.played(passage.spoken.seconds)
        finally:
            if isinstance(speech, AsyncGenerator):
                await speech.aclose()

    async def _play_frame(self, passage: _Passage, frame: Frame) -> None:
        if not frame.payload:
            return
        passage.spoken.take(frame)
        if passage.utterance is None:
            passage.utterance = await self._stream.begin_utterance()
        playback = await self._stream.play(
            frame, generation=self._generation, utterance=passage.utterance
        )
        if self._generation != self._stream.generation:
            return
        if passage.playback is not None:
            passage.playback.extend(playback)
        else:
            passage.playback = playback
            if not self._has_begun:
                self._has_begun = True
                self._began(playback)
        passage.told.played(passage.spoken.seconds)

    def _pay(self, passage: _Passage) -> None:
        characters, passage.unpaid = passage.unpaid, 0
        if not characters:
            return
        self._spent(characters)
        if passage.step is not None:
            passage.step.characters += characters

    def _give_up(self) -> None:
        """Give up what has not been played to its end; what was given to the stream still plays."""
        self._open = None
        for passage in self._queue:
            self._end(passage)
            if passage.context is not None:
                with suppress(StreamEndedError):  # the session is closed then
                    self._start(passage.context.clear(), "clears speech")
        self._queue.clear()
        self._changed.set()

    def _end(self, passage: _Passage) -> None:
        if passage.utterance is not None:
            self._stream.end_utterance(passage.utterance)
        if passage.step is not None:
            passage.step.end(self._stream.clock())

    def _check(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
