"""Services for tests and benchmarks: they answer by a script, at set times, and fail on request."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np

from audiocodecs import AudioFormat, Samples
from mediaserver.agents.services import (
    LanguageModel,
    Message,
    SpeechToText,
    TextToSpeech,
    Tokens,
    ToolCall,
    ToolSpec,
    Transcript,
    WordMark,
)
from mediaserver.call import Frame


T = TypeVar("T")

WORD_SECONDS = 0.3
"""Seconds that `TimedSpeech` takes to say a word: a tone, and a short silence."""

GAP_SECONDS = 0.06
"""Seconds of silence in it."""


@dataclass(frozen=True, slots=True)
class Timing:
    """When the pieces of an answer come. Each has its own due time, counted from the request.

    Attributes:
        first: seconds until the first piece.
        interval: seconds from one piece to the next.

    """

    first: float = 0.0
    interval: float = 0.0

    def __post_init__(self) -> None:
        if self.first < 0 or self.interval < 0:
            raise ValueError(f"a timing has seconds of 0 or more: {self!r}")


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure of a service.

    Attributes:
        after: number of pieces that come before it.
        error: the exception raised; if None, the service stalls for ever.
        uses: number of requests that fail, from the first on; None: all.

    """

    after: int = 0
    error: Exception | None = None
    uses: int | None = None


class _Timed:
    """The timing that the services share.

    Attributes:
        uses: requests so far.
        open: requests that are being answered; 0 when each has ended or was closed.
        started: when each request came, on the loop's clock.
        first_piece: when the first piece of each answer came, of those that had one.

    """

    name = "scripted"

    def __init__(self, timing: Timing, fault: Fault | None) -> None:
        self.timing = timing
        self.fault = fault
        self.uses = 0
        self.open = 0
        self.started: list[float] = []
        self.first_piece: list[float] = []

    async def _timed(self, pieces: Iterable[T]) -> AsyncGenerator[T, None]:
        """Yield each piece when it is due, however late the piece before it was taken."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        self.started.append(start)
        self.uses += 1
        self.open += 1
        fault = self.fault
        if fault is not None and fault.uses is not None and self.uses > fault.uses:
            fault = None
        count = 0
        try:
            for count, piece in enumerate(pieces):
                await self._until(start + self.timing.first + count * self.timing.interval)
                if fault is not None and count >= fault.after:
                    await self._break(fault)
                if not count:
                    self.first_piece.append(loop.time())
                yield piece
            if fault is not None:
                await self._break(fault)
        finally:
            self.open -= 1

    async def _until(self, due: float) -> None:
        wait = due - asyncio.get_running_loop().time()
        if wait > 0:
            await asyncio.sleep(wait)

    async def _break(self, fault: Fault) -> None:
        if fault.error is not None:
            raise fault.error
        await asyncio.get_running_loop().create_future()


_Hearing: TypeAlias = Callable[[Sequence[Frame]], str]
"""Returns the text of an utterance, from its audio."""


class TimedTranscription(_Timed, SpeechToText):
    """Understands what a script says.

    Args:
        texts: the text of each utterance, in order, and nothing when they are used up; the iterable
            may be endless. Or a function that returns the text from the audio.
        timing: of the final transcript, after the utterance has ended.
        partial_every: seconds of audio for each word of a partial transcript; None: no partial
            transcripts.
        fault: how it fails; its pieces are transcripts.

    Attributes:
        heard: seconds of audio of each utterance.

    """

    name = "speech_to_text"

    def __init__(
        self,
        texts: Iterable[str] | _Hearing = (),
        *,
        timing: Timing | None = None,
        partial_every: float | None = None,
        fault: Fault | None = None,
    ) -> None:
        super().__init__(timing or Timing(0.1), fault)
        self._hearing = texts if callable(texts) else None
        self._texts: Iterator[str] = iter(()) if callable(texts) else iter(texts)
        self.partial_every = partial_every
        self.heard: list[float] = []

    async def transcribe(self, speech: AsyncIterator[Frame]) -> AsyncGenerator[Transcript, None]:
        """Yield partial transcripts, if any, and the final one."""
        text = "" if self._hearing is not None else next(self._texts, "")
        words = text.split()
        frames: list[Frame] = []
        seconds = 0.0
        known = 0
        async for frame in speech:
            frames.append(frame)
            seconds += frame.seconds
            if self.partial_every is None or self._hearing is not None:
                continue
            if known < len(words) and seconds > (known + 1) * self.partial_every - 1e-6:
                known += 1
                yield Transcript(" ".join(words[:known]))
        self.heard.append(seconds)
        if self._hearing is not None:
            text = self._hearing(frames)
        final = self._timed([Transcript(text, final=True, seconds=seconds)])
        try:
            async for transcript in final:
                yield transcript
        finally:
            await final.aclose()


class TimedModel(_Timed, LanguageModel):
    """Answers by a script, a word at a time.

    Args:
        answers: its answers, in order: text, a tool call, or both in a list; and nothing when they
            are used up, which an agent asks about once more and then takes for a failure.
        timing: of the words and tool calls.
        fault: how it fails; its pieces are words and tool calls.

    Attributes:
        conversations: the conversation of each request.

    """

    name = "language_model"

    def __init__(
        self,
        answers: Iterable[str | ToolCall | Sequence[str | ToolCall]] = (),
        *,
        timing: Timing | None = None,
        fault: Fault | None = None,
    ) -> None:
        super().__init__(timing or Timing(0.2, 0.02), fault)
        self._answers = iter(answers)
        self.conversations: list[list[Message]] = []

    async def respond(
        self, conversation: Sequence[Message], tools: Sequence[ToolSpec]
    ) -> AsyncGenerator[str | ToolCall | Tokens, None]:
        """Yield the next answer."""
        self.conversations.append(list(conversation))
        answer = next(self._answers, "")
        pieces: list[str | ToolCall | Tokens] = []
        for part in [answer] if isinstance(answer, str | ToolCall) else answer:
            if isinstance(part, ToolCall):
                pieces.append(part)
            else:
                pieces.extend(f"{word} " for word in part.split())
        pieces.append(Tokens(tokens_in=10 * len(conversation), tokens_out=len(pieces)))
        written = self._timed(pieces)
        try:
            async for piece in written:
                yield piece
        finally:
            await written.aclose()


class TimedSpeech(_Timed, TextToSpeech):
    """Says each word as a tone of 0.24 s followed by 0.06 s of silence.

    So the length of what a caller heard gives the number of words.

    Args:
        timing: of the audio, in pieces of `piece` seconds. By default it is made ten times as
            fast as it is spoken, after 0.15 s.
        piece: seconds of audio at a time.
        marks: whether it yields where words end.
        format: the format of its audio; the stream's format if None.
        fault: how it fails; its pieces are pieces of audio.

    Attributes:
        texts: the texts that it was asked to say.

    """

    name = "text_to_speech"

    def __init__(
        self,
        *,
        timing: Timing | None = None,
        piece: float = 0.1,
        marks: bool = True,
        format: AudioFormat | None = None,
        fault: Fault | None = None,
    ) -> None:
        super().__init__(timing or Timing(0.15, piece / 10), fault)
        self.piece = piece
        self.marks = marks
        self.format = format
        self.texts: list[str] = []

    async def speak(self, text: str, format: AudioFormat) -> AsyncGenerator[Frame | WordMark, None]:
        """Yield the audio, and the end of each word just before the audio that has it."""
        self.texts.append(text)
        speaks = self.format or format
        made = self._timed(self._pieces(text, speaks))
        marks = list(word_marks(text)) if self.marks else []
        seconds = 0.0
        try:
            async for frame in made:
                seconds += frame.seconds
                while marks and marks[0].seconds <= seconds + 1e-9:
                    yield marks.pop(0)
                yield frame
        finally:
            await made.aclose()

    def _pieces(self, text: str, format: AudioFormat) -> Iterator[Frame]:
        payload = format.encode(tones(len(text.split()), format.rate))
        size = round(self.piece * format.rate) * format.sample_bytes
        for start in range(0, len(payload), size):
            yield Frame(payload[start : start + size], format)


def tones(words: int, rate: int) -> Samples:
    """Return how `TimedSpeech` says a number of words: int16 at `rate` Hz."""
    length = round(WORD_SECONDS * rate)
    times = np.arange(round((WORD_SECONDS - GAP_SECONDS) * rate)) / rate
    word = np.zeros(length, np.int16)
    word[: len(times)] = (8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)
    return np.tile(word, words)


def word_marks(text: str) -> Iterator[WordMark]:
    """Yield where the words of `text` end, as `TimedSpeech` says them."""
    end = 0
    for count, word in zip(itertools.count(1), text.split()):
        end = text.index(word, end) + len(word)
        yield WordMark(end, count * WORD_SECONDS - GAP_SECONDS)


__all__ = [
    "Fault",
    "TimedModel",
    "TimedSpeech",
    "TimedTranscription",
    "Timing",
    "tones",
    "word_marks",
]
