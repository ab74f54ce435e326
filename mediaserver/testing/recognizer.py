"""A recogniser with sessions for tests, and the voice that it understands: a tone for each word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final, TypeAlias

import numpy as np

from audiocodecs import AudioFormat, Samples
from mediaserver.agents.services import (
    CallerFinished,
    CallerGoesOn,
    CallerMayHaveFinished,
    CallerSpeaks,
    RecognizedWord,
    RecognizedWords,
    RecognizerEvent,
    ServiceError,
    WordsComplete,
)
from mediaserver.call import Frame


TONE_SECONDS: Final = 0.3
"""Seconds of a word: a tone, and the silence after it."""

_GAP: Final = 0.06
_KNOWN_AFTER: Final = 0.16  # seconds of a word after which it is recognised
_LOWEST: Final = 400  # hertz of the first word
_STEP: Final = 100  # hertz from one word to the next
_LOUD: Final = 500
_EPSILON: Final = 1e-6

_Told: TypeAlias = RecognizerEvent | Exception | None


class ToneRecognizer:
    """A `Recognizer` that understands `say`, in any format, with the times of the words.

    Each session understands the audio that it is given, and nothing else, so a test sees which
    words are lost or doubled when sessions are replaced.

    Args:
        vocabulary: the words that exist, 30 at most.
        delay: seconds from audio to what a session tells of it.
        final_after: seconds of quiet after which words are final; None: only at `finish`.
        finished_after: seconds of quiet after which the caller has finished; with this, sessions
            take the turns.
        may_after: seconds of quiet after which the caller may have finished.
        continuous: whether sessions are to hear everything.
        expires_after: seconds after which a session should be replaced.
        refusals: the errors of the first attempts to open a session.
        tells_times: whether words come with their times.

    Attributes:
        sessions: all that were opened.
        attempts: the number of attempts to open one.

    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        *,
        delay: float = 0.1,
        final_after: float | None = 0.3,
        finished_after: float | None = None,
        may_after: float | None = None,
        continuous: bool = True,
        expires_after: float | None = None,
        refusals: Sequence[Exception] = (),
        tells_times: bool = True,
    ) -> None:
        if len(vocabulary) > 30:
            raise ValueError(f"there are tones for 30 words, not for {len(vocabulary)}")
        self.vocabulary = list(vocabulary)
        self.delay = delay
        self.final_after = final_after
        self.finished_after = finished_after
        self.may_after = may_after
        self.continuous = continuous
        self.expires_after = expires_after
        self.refusals = list(refusals)
        self.tells_times = tells_times
        self.sessions: list[ToneSession] = []
        self.attempts = 0

    @property
    def session(self) -> ToneSession:
        """The session that was opened last."""
        return self.sessions[-1]

    @property
    def open(self) -> int:
        """The number of sessions that were not closed."""
        return sum(not session.closed for session in self.sessions)

    def say(self, text: str, rate: int = 8000) -> Samples:
        """Return what a caller sounds like who says some words: int16 at `rate` Hz.

        Raises:
            ValueError: a word is not in the vocabulary.

        """
        times = np.arange(round((TONE_SECONDS - _GAP) * rate)) / rate
        audio = np.zeros((len(text.split()), round(TONE_SECONDS * rate)), np.int16)
        for spoken, word in zip(audio, text.split(), strict=True):
            hertz = _LOWEST + _STEP * self.vocabulary.index(word)
            spoken[: len(times)] = 8000 * np.sin(2 * np.pi * hertz * times)
        return audio.reshape(-1)

    def word(self, frame: Frame) -> str | None:
        """Return the word that is spoken in a frame, or None."""
        samples = frame.format.decode(frame.payload)
        if not len(samples) or np.abs(samples.astype(int)).max() < _LOUD:
            return None
        loudest = int(np.abs(np.fft.rfft(samples)).argmax())
        index = round((loudest * frame.format.rate / len(samples) - _LOWEST) / _STEP)
        return self.vocabulary[index] if 0 <= index < len(self.vocabulary) else None

    async def listen(self, format: AudioFormat) -> ToneSession:
        """Open a session, or refuse it."""
        self.attempts += 1
        if self.refusals:
            raise self.refusals.pop(0)
        session = ToneSession(self, format)
        self.sessions.append(session)
        return session


class ToneSession:
    """The session of a `ToneRecognizer`.

    Attributes:
        format: what it was opened for.
        heard: seconds of audio that it was given.
        finishes: the number of times that it was asked to finish.
        closed: whether it was closed.
        stalled: whether it tells nothing more.

    """

    def __init__(self, recognizer: ToneRecognizer, format: AudioFormat) -> None:
        self.takes_turns = recognizer.finished_after is not None
        self.continuous = recognizer.continuous
        self.expires_after = recognizer.expires_after
        self.format = format
        self.heard = 0.0
        self.finishes = 0
        self.closed = False
        self.stalled = False
        self._recognizer = recognizer
        # With the times of the loop's clock at which they are told.
        self._events: asyncio.Queue[tuple[float, _Told]] = asyncio.Queue()
        # The words since the last final ones, and where those ended.
        self._words: list[RecognizedWord] = []
        self._told = 0.0
        # What is being said, since when; and the quiet since the last word.
        self._spoken: str | None = None
        self._since = 0.0
        self._quiet = 0.0
        self._in_turn = self._may = False

    async def hear(self, frame: Frame) -> None:
        """Take the next audio."""
        began, self.heard = self.heard, self.heard + frame.seconds
        word = self._recognizer.word(frame)
        if word != self._spoken:
            self._spoken, self._since = word, began
        if word is None:
            self._quiet += frame.seconds
            self._notice_quiet()
            return
        self._quiet = 0.0
        known = self.heard - self._since > _KNOWN_AFTER - _EPSILON
        if not known or self._since < self._told - _EPSILON:
            return
        if not self._words or self._words[-1].start < self._since:
            self._words.append(RecognizedWord(word, self._since, self.heard))
            self._notice_word()
        self._words[-1] = RecognizedWord(word, self._since, self.heard)

    async def finish(self) -> None:
        """Tell all words so far as final ones, and that they are complete."""
        self.finishes += 1
        self._tell_final()
        self._tell(WordsComplete(self.heard))

    async def events(self) -> AsyncIterator[RecognizerEvent]:
        """Yield what is understood until the session is closed or lost."""
        clock = asyncio.get_running_loop().time
        while True:
            due, event = await self._events.get()
            if (wait := due - clock()) > 0 and not self.closed:
                await asyncio.sleep(wait)
            if event is None:
                return
            if isinstance(event, Exception):
                raise event
            if not self.stalled:
                yield event

    async def close(self) -> None:
        """Tell nothing more."""
        if not self.closed:
            self.closed = True
            self._put(None)

    def lose(self, error: Exception | None = None) -> None:
        """Lose the connection."""
        self.stalled = True
        while not self._events.empty():
            self._events.get_nowait()
        self._put(error or ServiceError("tones", "the connection was lost"))

    def tell(self, event: RecognizerEvent) -> None:
        """Tell something of the test's own."""
        self._put(event)

    def _notice_word(self) -> None:
        if self.takes_turns and not self._in_turn:
            self._in_turn = True
            self._tell(CallerSpeaks())
        if self._may:
            self._may = False
            self._tell(CallerGoesOn())
        self._tell_words(self.heard, final=False)

    def _notice_quiet(self) -> None:
        recognizer = self._recognizer
        if self._words and _reached(self._quiet, recognizer.final_after):
            self._tell_final()
        if not self._in_turn:
            return
        if not self._may and _reached(self._quiet, recognizer.may_after):
            self._may = True
            self._tell_final()
            self._tell(CallerMayHaveFinished())
        if _reached(self._quiet, recognizer.finished_after):
            self._in_turn = self._may = False
            self._tell_final()
            self._tell(CallerFinished())

    def _tell_final(self) -> None:
        if self._words:
            end = max(self._words[-1].end, self.heard)  # and the silence that made them final
            self._tell_words(end, final=True)
            self._words, self._told = [], end

    def _tell_words(self, end: float, *, final: bool) -> None:
        text = " ".join(word.text for word in self._words)
        words = tuple(self._words) if self._recognizer.tells_times else ()
        seconds = end - self._told if final else 0.0
        self._tell(RecognizedWords(text, self._told, end, final, words, seconds))

    def _tell(self, event: RecognizerEvent) -> None:
        """Tell something after the recogniser's delay."""
        self._put(event, self._recognizer.delay)

    def _put(self, event: _Told, delay: float = 0.0) -> None:
        self._events.put_nowait((asyncio.get_running_loop().time() + delay, event))


def _reached(seconds: float, limit: float | None) -> bool:
    return limit is not None and seconds >= limit - _EPSILON
