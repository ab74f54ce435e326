"""A voice with sessions for tests: it says words as tones, and fails on request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable

from audiocodecs import AudioFormat
from mediaserver.agents.services import ServiceError, Voice, WordMark
from mediaserver.call import Frame
from mediaserver.testing.services import Fault, Timing, tones, word_marks


class ToneVoice(Voice):
    """Says each word as `TimedSpeech` does, once the text was flushed or has ended.

    Args:
        timing: when the audio of a flushed text begins to come, and the time between two pieces.
        chunk: bytes of a piece; an odd number cuts samples of two bytes.
        marks: whether it yields where words end.
        format: the format of its audio; the stream's format if None.
        expires_after: seconds after which it says that a session ends.
        fault: how sessions fail; its pieces are those of a session, its uses are sessions.
        refusals: the errors of the first attempts to connect.

    Attributes:
        sessions: those that were opened, in order.
        attempts: the number of attempts to connect.

    """

    name = "text_to_speech"

    def __init__(
        self,
        *,
        timing: Timing | None = None,
        chunk: int = 801,
        marks: bool = True,
        format: AudioFormat | None = None,
        expires_after: float | None = None,
        fault: Fault | None = None,
        refusals: Iterable[Exception] = (),
    ) -> None:
        self.timing = timing or Timing(0.15, 0.01)
        self.chunk = chunk
        self.marks = marks
        self.format = format
        self.expires_after = expires_after
        self.fault = fault
        self.refusals = list(refusals)
        self.sessions: list[ToneVoiceSession] = []
        self.attempts = 0

    @property
    def texts(self) -> list[str]:
        """The texts of all contexts, in order."""
        return [context.text for session in self.sessions for context in session.contexts]

    @property
    def open(self) -> int:
        """The number of sessions that were not closed."""
        return sum(not session.closed for session in self.sessions)

    async def connect(self, format: AudioFormat) -> ToneVoiceSession:
        """Open a session, or refuse it."""
        self.attempts += 1
        if self.refusals:
            raise self.refusals.pop(0)
        fault = self.fault
        if fault is not None and fault.uses is not None and len(self.sessions) >= fault.uses:
            fault = None
        session = ToneVoiceSession(self, self.format or format, fault)
        self.sessions.append(session)
        return session


class ToneVoiceSession:
    """A session of a `ToneVoice`.

    Attributes:
        contexts: the texts that were begun.
        closed: whether it was closed.

    """

    def __init__(self, voice: ToneVoice, format: AudioFormat, fault: Fault | None) -> None:
        self.voice = voice
        self.format = format
        self.expires_after = voice.expires_after
        self.contexts: list[ToneContext] = []
        self.closed = False
        self._fault = fault
        self._pieces = 0

    def begin(self) -> ToneContext:
        """Begin a text."""
        self.contexts.append(ToneContext(self))
        return self.contexts[-1]

    async def close(self) -> None:
        """End all speech."""
        self.closed = True
        for context in self.contexts:
            context.tell()

    async def piece(self) -> None:
        """Count a piece of audio; fail in its place if it is time."""
        if self._fault is not None and self._pieces >= self._fault.after:
            if self._fault.error is None:
                await asyncio.get_running_loop().create_future()
            else:
                raise self._fault.error
        self._pieces += 1


class ToneContext:
    """A text of a `ToneVoiceSession`.

    Attributes:
        text: the text so far.
        cleared: whether it was cleared.

    """

    def __init__(self, session: ToneVoiceSession) -> None:
        self.text = ""
        self.cleared = False
        self._session = session
        self._ready = 0
        self._ended = False
        self._more = asyncio.Event()

    async def say(self, text: str) -> None:
        """Go on with the text."""
        self.text += text

    async def flush(self) -> None:
        """Speak all of the text so far."""
        self._ready = len(self.text)
        self.tell()

    async def end(self) -> None:
        """Speak the rest."""
        self._ended = True
        await self.flush()

    async def clear(self) -> None:
        """Say no more."""
        self.cleared = True
        self.tell()

    def tell(self) -> None:
        """Have `speech` look at what has changed."""
        self._more.set()

    async def speech(self) -> AsyncGenerator[Frame | WordMark, None]:
        """Yield each piece, after the marks of the words that end in it."""
        voice, format = self._session.voice, self._session.format
        spoken, seconds = 0, 0.0
        while True:
            while spoken == self._ready and not self._over():
                self._more.clear()
                await self._more.wait()
            if self._session.closed and not self.cleared:
                raise ServiceError(voice.name, "the session was closed")
            if self.cleared or spoken == self._ready:
                return
            text, begins = self.text[spoken : self._ready], seconds
            marks = [
                WordMark(spoken + mark.end, begins + mark.seconds) for mark in word_marks(text)
            ]
            spoken = self._ready
            payload = format.encode(tones(len(text.split()), format.rate))
            await asyncio.sleep(voice.timing.first)
            for start in range(0, len(payload), voice.chunk):
                await self._session.piece()
                if self._is_cleared():
                    return
                piece = payload[start : start + voice.chunk]
                seconds += len(piece) / format.bytes_per_second
                while voice.marks and marks and marks[0].seconds <= seconds + 1e-9:
                    yield marks.pop(0)
                yield Frame(piece, format)
                await asyncio.sleep(voice.timing.interval)

    def _is_cleared(self) -> bool:
        return self.cleared  # which changes during any await

    def _over(self) -> bool:
        return self._ended or self.cleared or self._session.closed
