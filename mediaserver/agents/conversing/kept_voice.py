"""The voice of a call: connected while it rings, replaced when it is lost, without a lost word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Final, cast

from audiocodecs import MULAW_8K, AudioFormat
from mediaserver.agents.conversing.call_tasks import CallTasks
from mediaserver.agents.conversing.heard_words import Spoken
from mediaserver.agents.conversing.kept_connection import HOPELESS, KeptConnection
from mediaserver.agents.conversing.sentence_voice import SentenceSession
from mediaserver.agents.conversing.served import SPEECH, broken, is_voice, unexpected
from mediaserver.agents.services import (
    ServiceError,
    TextToSpeech,
    Voice,
    VoiceContext,
    VoiceSession,
    WordMark,
)
from mediaserver.call import Frame, StreamEndedError, WholeSamples


_RENEW_AT: Final = 0.9
"""The part of a session's time after which it is replaced while the agent is silent."""

_INSTANT: Final = 1e-6


class KeptVoice:
    """Holds the voice's session of one call.

    Args:
        service: the voice. A `TextToSpeech` needs no connection.
        patience: seconds to wait for audio.
        lost: told of the error when a session was lost, or could not be replaced in time.
        ended: tells whether the call has ended.

    """

    def __init__(
        self,
        service: TextToSpeech | Voice,
        *,
        patience: float,
        lost: Callable[[ServiceError], object],
        ended: Callable[[], bool],
    ) -> None:
        self._service = service
        self._patience = patience
        self._lost = lost
        self._format = MULAW_8K
        self._opened_for = MULAW_8K
        self._opened_at = 0.0
        self._sentences: SentenceSession | None = None
        self._kept = KeptConnection[VoiceSession](
            SPEECH, self._connect, opened=self._opened, lost=lost, ended=ended
        )
        self._texts: set[LastingContext] = set()
        self._silent = asyncio.Event()
        self._silent.set()

    async def prepare(self, format: AudioFormat) -> None:
        """Open a session before the stream has started, for the `format` that it will likely have.

        Raises:
            ServiceError: no session could be opened.
            StreamEndedError: the call has ended.

        """
        if self._kept.tasks is None and is_voice(self._service):
            self._format = format
            await self._kept.ready()

    def open(self, tasks: CallTasks, format: AudioFormat) -> None:
        """Begin to speak, as the stream has started in `format`."""
        self._kept.tasks = tasks
        self._format = format
        if not is_voice(self._service):
            self._sentences = SentenceSession(
                cast(TextToSpeech, self._service), format, self._patience
            )
            return
        session = self._kept.current
        if session is not None and self._opened_for is format:
            self._keep_until_it_expires(session)
            return
        if session is not None:
            self._kept.current = None
            self._kept.let_go(session)
        tasks.start(self._connect_early(), "connects a voice")

    def begin(self) -> VoiceContext:
        """Begin a text, once the stream has started. If the session is lost, another one goes on.

        Its `speech` raises a ServiceError if no other can be had.
        """
        if self._sentences is not None:
            return self._sentences.begin()
        text = LastingContext(self._kept, patience=self._patience, over=self._over)
        self._texts.add(text)
        self._silent.clear()
        return text

    async def close(self) -> None:
        """Stop speaking, and close the session."""
        if self._sentences is not None:
            await self._sentences.close()
        await self._kept.close()

    def _over(self, text: LastingContext) -> None:
        self._texts.discard(text)
        if not self._texts:
            self._silent.set()

    async def _connect(self) -> VoiceSession:
        self._opened_for = self._format
        return await cast(Voice, self._service).connect(self._format)

    def _opened(self, session: VoiceSession) -> None:
        self._opened_at = asyncio.get_running_loop().time()
        if self._kept.tasks is not None:
            self._keep_until_it_expires(session)

    async def _connect_early(self) -> None:
        try:
            await self._kept.ready()
        except ServiceError as error:
            self._lost(error)  # the next text tries again
        except StreamEndedError:
            pass

    def _keep_until_it_expires(self, session: VoiceSession) -> None:
        if session.expires_after is not None and self._kept.tasks is not None:
            due = self._opened_at + _RENEW_AT * session.expires_after
            self._kept.tasks.start(self._renew(session, due), "replaces a voice's session")

    async def _renew(self, session: VoiceSession, due: float) -> None:
        await asyncio.sleep(due - asyncio.get_running_loop().time())
        await self._silent.wait()
        if self._kept.current is not session:
            return
        try:
            await self._kept.renew()
        except ServiceError as error:
            self._lost(error)  # and the service will end the old one
        except StreamEndedError:
            pass


class LastingContext:
    """A text that is spoken to its end though sessions are lost.

    Another session speaks the rest: from the first word whose audio has not come completely. Marks
    tell that; if the voice has none, it is estimated.

    Args:
        kept: holds the session.
        patience: seconds to wait for audio when there must be some.
        over: called when no more will be spoken.

    """

    def __init__(
        self,
        kept: KeptConnection[VoiceSession],
        *,
        patience: float,
        over: Callable[[LastingContext], object],
    ) -> None:
        self._kept = kept
        self._patience = patience
        self._over = over
        self._lock = asyncio.Lock()
        self._text = ""
        self._flushed = 0
        self._ended = self._cleared = False
        # The session that speaks, where its text begins, and what it was told.
        self._session: VoiceSession | None = None
        self._context: VoiceContext | None = None
        self._base = 0
        self._given = self._told_flush = 0
        self._told_end = False
        self._refusal: ServiceError | None = None
        # Seconds of audio so far, and the limit of the present wait for more.
        self._seconds = 0.0
        self._limit: asyncio.Timeout | None = None

    async def say(self, text: str) -> None:
        """Go on with the text."""
        self._text += text
        await self._tell()

    async def flush(self) -> None:
        """Have all of the text so far spoken now."""
        self._flushed = len(self._text)
        await self._tell()
        self._expect()

    async def end(self) -> None:
        """Note that the text is complete."""
        self._ended = True
        await self._tell()
        self._expect()

    async def clear(self) -> None:
        """Speak no more."""
        self._cleared = True
        self._over(self)
        async with self._lock:
            if self._context is not None:
                await self._do(self._context.clear())

    async def speech(self) -> AsyncGenerator[Frame | WordMark, None]:
        """Yield the audio, in whole samples, and the marks, in the order of the text.

        Raises:
            ServiceError: the voice failed, and no other session could go on.

        """
        attempts = 0
        while not self._is_cleared():
            await self._tell()
            session, context = self._session, self._context
            if session is None or context is None:
                self._over(self)
                if self._refusal is not None:
                    raise self._refusal
                return
            spoken, whole = Spoken(), WholeSamples()
            try:
                pieces = aiter(context.speech())
                while (piece := await self._next(pieces)) is not None:
                    if isinstance(piece, WordMark):
                        spoken.take(piece)
                        yield WordMark(self._base + piece.end, self._seconds + piece.seconds)
                    elif isinstance(piece, Frame):
                        frame = whole.frame(piece)
                        spoken.take(frame)
                        if frame.payload:
                            attempts = 0
                        yield frame
                    else:
                        raise unexpected(SPEECH, piece, "Frame or WordMark")
                if not self._is_cleared():
                    self._check_end(spoken)
                self._over(self)
                return
            except ServiceError as error:
                if self._is_cleared():
                    return
                attempts += 1
                self._kept.lose(session, error)
                if attempts > 1 or error.status in HOPELESS:
                    self._over(self)
                    raise
            self._go_on_after(spoken)
            yield WordMark(self._base, self._seconds)

    def _is_cleared(self) -> bool:
        return self._cleared  # which changes during any await

    async def _tell(self) -> None:
        """Give the session what it was not told, opening one if there is none."""
        async with self._lock:
            if self._cleared or self._refusal is not None:
                return
            if self._context is None:
                try:
                    self._session = await self._kept.ready()
                    self._context = self._session.begin()
                except ServiceError as error:
                    self._refusal = error
                    return
                except StreamEndedError:
                    return
            context = self._context
            if text := self._text[self._given :]:
                self._given = len(self._text)
                await self._do(context.say(text))
            if self._told_flush < self._flushed:
                self._told_flush = self._flushed
                await self._do(context.flush())
            if self._ended and not self._told_end:
                self._told_end = True
                await self._do(context.end())

    async def _do(self, work: Awaitable[None]) -> None:
        """Have the session do something. If it is lost, `speech` raises that."""
        try:
            await work
        except ServiceError:
            pass
        except Exception as error:
            broken(SPEECH, error)

    async def _next(self, pieces: AsyncIterator[Frame | WordMark]) -> Frame | WordMark | None:
        """Return the next piece; None at the end."""
        try:
            async with asyncio.timeout(None) as self._limit:
                if self._ended:
                    self._expect()
                return await anext(pieces, None)
        except ServiceError:
            raise
        except TimeoutError:
            raise ServiceError(SPEECH, f"no speech came within {self._patience:g} s") from None
        except Exception as error:
            raise broken(SPEECH, error) from error
        finally:
            self._limit = None

    def _expect(self) -> None:
        """Wait for the next piece for so long: there must be some."""
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time() + self._patience)

    def _check_end(self, spoken: Spoken) -> None:
        text = self._text[self._base :]
        if not self._told_end:
            raise ServiceError(SPEECH, "its speech ended before the text did")
        if not spoken.seconds and any(map(str.isalnum, text)):
            raise ServiceError(SPEECH, f"no audio came for a text of {len(text)} characters")

    def _go_on_after(self, spoken: Spoken) -> None:
        """Have the words that were not spoken completely told to another session."""
        spoken.add(self._text[self._base : self._given])
        self._base += spoken.complete_until
        self._seconds += spoken.seconds
        self._session = self._context = None
        self._given = self._told_flush = self._base
        self._told_end = False
