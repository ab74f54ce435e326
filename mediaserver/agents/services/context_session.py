"""Voices over one WebSocket for each call, on which each text is a context with an id.

A service of this kind brings its messages, as a `ContextProtocol`; everything else is here.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from audiocodecs import AudioFormat
from mediaserver.agents.services.aligned_text import AlignedText
from mediaserver.agents.services.errors import ServiceError
from mediaserver.agents.services.service_socket import ServiceSocket
from mediaserver.agents.services.text_to_speech import WordMark
from mediaserver.agents.services.voice import VoiceContext, VoiceSession
from mediaserver.call import Frame


@dataclass(frozen=True, slots=True)
class ContextSpeech:
    """What a message of the service says.

    Attributes:
        context: the id of its context; None for the whole session.
        audio: audio of any number of bytes, in the session's format.
        words: pieces of the text, and seconds at which each has been spoken.
        from_audio: whether these seconds count from the beginning of `audio`, not of the context.
        restarts: whether the seconds of later words count from the end of the audio so far.
        replies: what is to be sent now, because the service is ready for it.
        done: whether nothing more comes of the context.
        error: why the service failed, or None.
        status: the HTTP status of the error, if the service says one.

    """

    context: str | None
    audio: bytes = b""
    words: Sequence[tuple[str, float]] = ()
    from_audio: bool = False
    restarts: bool = False
    replies: Sequence[str] = ()
    done: bool = False
    error: str | None = None
    status: int | None = None


class ContextProtocol(Protocol):
    """The messages of a service; pure."""

    service: str
    """Its name, for errors."""
    whole_words: bool
    """Whether each message is taken for whole words, so that a word may not be cut."""
    most_contexts: int
    """The number of contexts that may be open at a time."""
    confirms_cancel: bool
    """Whether a context that is cancelled is open until the service says that it is done."""
    keep_alive_every: float | None
    """Seconds from one keepalive to the next; None if the service needs none."""
    expires_after: float | None
    """As of `VoiceSession`."""

    @abstractmethod
    def begin(self, context: str) -> Sequence[str]:
        """Return the messages before the first text."""

    @abstractmethod
    def text(self, context: str, text: str) -> Sequence[str]:
        """Return the messages with more text."""

    @abstractmethod
    def flush(self, context: str) -> Sequence[str]:
        """Return the messages that have all of the text so far spoken."""

    @abstractmethod
    def end(self, context: str) -> Sequence[str]:
        """Return the messages after the last text."""

    @abstractmethod
    def cancel(self, context: str, *, ended: bool) -> Sequence[str]:
        """Return the messages that have the rest not spoken."""

    @abstractmethod
    def keep_alive(self, contexts: Sequence[str]) -> Sequence[str]:
        """Return the messages that keep a silent connection, and these contexts."""

    @abstractmethod
    def read(self, message: bytes | str) -> ContextSpeech | None:
        """Return what a message says; None if it says nothing that matters.

        Raises:
            ValueError: it cannot be read.

        """


class ContextSession(VoiceSession):
    """A connection, and the texts that are spoken over it. One task reads for all of them.

    Args:
        socket: the connection.
        protocol: the service's messages.
        format: the format of the audio that was asked for.
        first_timeout: seconds from the end of a text, or from a flush, until its first audio.
        stall_timeout: seconds from one piece of audio to the next when the text has ended; also
            until the service says that a context which was cancelled is done.

    """

    def __init__(
        self,
        socket: ServiceSocket,
        protocol: ContextProtocol,
        format: AudioFormat,
        *,
        first_timeout: float,
        stall_timeout: float,
    ) -> None:
        self.expires_after = protocol.expires_after
        self.protocol = protocol
        self.format = format
        self.first_timeout = first_timeout
        self.stall_timeout = stall_timeout
        self.lost: ServiceError | None = None
        self._socket = socket
        self._texts: set[TextContext] = set()
        self._open: dict[str, TextContext] = {}
        self._cancelled: dict[str, asyncio.TimerHandle] = {}
        self._entered = 0
        self._free = asyncio.Semaphore(protocol.most_contexts)
        self._clock = asyncio.get_running_loop().time
        self._heard_at = self._clock()
        self._tasks = [asyncio.create_task(self._read())]
        if protocol.keep_alive_every is not None:
            self._tasks.append(asyncio.create_task(self._keep_alive(protocol.keep_alive_every)))

    def begin(self) -> TextContext:
        """Begin a text."""
        text = TextContext(self)
        self._texts.add(text)
        if self.lost is not None:
            text.fail(self.lost)
        return text

    async def close(self) -> None:
        """Close the connection. Does nothing if it is closed."""
        self.lose(ServiceError(self.protocol.service, "the session was closed"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._socket.close()

    # For the texts.

    async def send(self, messages: Sequence[str]) -> None:
        """Send messages in their order."""
        for message in messages:
            await self._socket.send(message)

    async def enter(self, text: TextContext) -> str | None:
        """Open a context when there is room for it, and return its id.

        None if the connection was lost, or if there is no room, and nothing comes of the other
        contexts for a while, which is a loss too.
        """
        waited_from = self._clock()
        while self.lost is None:
            due = max(waited_from, self._heard_at) + self.first_timeout
            if due <= self._clock():
                count = self.protocol.most_contexts
                reason = f"{count} contexts are open, and nothing came for {self.first_timeout:g} s"
                self.lose(ServiceError(self.protocol.service, reason))
                break
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._free.acquire()
                    break
        if self.lost is not None:
            return None
        self._entered += 1
        context = f"text-{self._entered}"
        self._open[context] = text
        return context

    def leave(self, context: str) -> None:
        """Note that a context has ended at the service."""
        if self._open.pop(context, None) is not None:
            self._free.release()
        overdue = self._cancelled.pop(context, None)
        if overdue is not None:
            overdue.cancel()

    def expect_end(self, context: str) -> None:
        """Give a cancelled context some time to end. The connection is lost if it does not.

        Otherwise it would take one of the places for contexts as long as the call lasts.
        """
        if context not in self._open or self.lost is not None:
            return
        if (former := self._cancelled.get(context)) is not None:
            former.cancel()
        reason = f"a text that was cancelled did not end within {self.stall_timeout:g} s"
        error = ServiceError(self.protocol.service, reason)
        loop = asyncio.get_running_loop()
        self._cancelled[context] = loop.call_later(self.stall_timeout, self.lose, error)

    def finish(self, text: TextContext) -> None:
        """Forget a text that has ended."""
        self._texts.discard(text)

    def lose(self, error: ServiceError) -> None:
        """Note that nothing more comes over the connection."""
        if self.lost is None:
            self.lost = error
            for overdue in self._cancelled.values():
                overdue.cancel()
            self._cancelled.clear()
            for text in list(self._texts):
                text.fail(error)
                self._free.release()  # in case that it waits

    async def _read(self) -> None:
        try:
            while True:
                message = await self._socket.receive()
                with self._socket.decoding(message):
                    speech = self.protocol.read(message)
                if speech is not None:
                    self._heard_at = self._clock()
                    self._take(speech)
                    await self.send(speech.replies)
        except ServiceError as error:
            self.lose(error)

    def _take(self, speech: ContextSpeech) -> None:
        error = None
        if speech.error is not None:
            error = ServiceError(self.protocol.service, speech.error, status=speech.status)
        text = self._open.get(speech.context) if speech.context is not None else None
        if text is None:
            # What is late of a context that has ended is of no use; an error may concern them all.
            if error is not None and speech.context is None:
                raise error
            return
        assert speech.context is not None
        if error is not None:
            self.leave(speech.context)
            text.fail(error)
            return
        text.take(speech)
        if speech.done:
            self.leave(speech.context)
            text.context_done()

    async def _keep_alive(self, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            await self.send(self.protocol.keep_alive(list(self._open)))


class TextContext(VoiceContext):
    """The speech of one text.

    It takes a second context if the service ends the first one while the text is being written.
    """

    def __init__(self, session: ContextSession) -> None:
        self._session = session
        self._protocol = session.protocol
        self._text = AlignedText()
        self._held = ""
        self._context: str | None = None
        self._ended = self._cleared = False
        self._pieces: asyncio.Queue[Frame | WordMark | ServiceError | None] = asyncio.Queue()
        self._odd = b""  # the beginning of a sample
        self._seconds = 0.0  # of audio
        self._began = 0.0  # seconds of audio before the context

        # When the next piece has to have come.
        self._due: float | None = None
        self._patience: asyncio.Timeout | None = None
        self._clock = asyncio.get_running_loop().time

    async def say(self, text: str) -> None:
        """Go on with the text."""
        if not self._over:
            self._text.add(text)
            self._held += text
            await self._hand_over(whole_words=self._protocol.whole_words)

    async def flush(self) -> None:
        """Have all of the text so far spoken now."""
        if self._over:
            return
        await self._hand_over()
        if self._context is not None:
            self._expect(self._session.first_timeout)
            await self._session.send(self._protocol.flush(self._context))

    async def end(self) -> None:
        """Note that the text is complete."""
        if self._over:
            return
        await self._hand_over()
        self._ended = True
        if self._context is None:
            self._finish(None)
        elif not self._cleared:
            self._expect(self._session.first_timeout)
            await self._session.send(self._protocol.end(self._context))

    async def clear(self) -> None:
        """Forget the rest."""
        if self._cleared:
            return
        self._cleared = True
        while not self._pieces.empty():
            self._pieces.get_nowait()
        self._finish(None)
        if self._context is not None:
            context = self._context
            if not self._protocol.confirms_cancel:
                self._session.leave(context)
            self._session.expect_end(context)
            await self._session.send(self._protocol.cancel(context, ended=self._ended))

    async def speech(self) -> AsyncIterator[Frame | WordMark]:
        """Yield audio and marks until the text was spoken or cleared.

        Raises:
            ServiceError: the connection was lost, the service refused the text, or it stalled.

        """
        while True:
            piece = await self._next()
            if piece is None:
                return
            if isinstance(piece, ServiceError):
                raise piece
            yield piece

    # For the session.

    def take(self, speech: ContextSpeech) -> None:
        """Take audio and words of the context."""
        if self._cleared:
            if self._context is not None:
                self._session.expect_end(self._context)
            return
        since = self._seconds if speech.from_audio else self._began
        for word, seconds in speech.words:
            end = self._text.reach(word)
            if end is not None:
                self._pieces.put_nowait(WordMark(end, since + seconds))
        format = self._session.format
        audio = self._odd + speech.audio
        whole = len(audio) - len(audio) % format.sample_bytes
        self._odd = audio[whole:]
        if whole:
            frame = Frame(audio[:whole], format, "outbound")
            self._seconds += frame.seconds
            self._expect(self._session.stall_timeout if self._ended else None)
            self._pieces.put_nowait(frame)
        if speech.restarts:
            self._odd = b""
            self._began = self._seconds

    def context_done(self) -> None:
        """Note that nothing more comes of the context."""
        self._context = None
        self._odd = b""
        self._began = self._seconds
        self._expect(None)
        if self._ended:
            self._finish(None)

    def fail(self, error: ServiceError) -> None:
        """Raise an error after what came before it."""
        self._context = None
        self._finish(error)

    @property
    def _over(self) -> bool:
        return self._ended or self._cleared

    async def _hand_over(self, *, whole_words: bool = False) -> None:
        """Send what is held of the text, or only its whole words."""
        held = self._held
        if not held.strip():
            return
        if whole_words:
            held = held[: len(held) - len(held.split(" ")[-1])]
        elif self._protocol.whole_words and not held.endswith(" "):
            held += " "
        if not held.strip():
            return
        self._held = self._held[len(held) :]
        if self._context is None:
            self._context = await self._session.enter(self)
            if self._context is None:
                return
            if self._cleared:
                self._session.leave(self._context)
                self._context = None
                return
            await self._session.send(self._protocol.begin(self._context))
        await self._session.send(self._protocol.text(self._context, held))

    def _finish(self, error: ServiceError | None) -> None:
        self._pieces.put_nowait(error)
        self._session.finish(self)
        self._expect(None)

    def _expect(self, seconds: float | None) -> None:
        """Set the seconds within which the next piece has to come; None: no limit."""
        self._due = None if seconds is None else self._clock() + seconds
        with suppress(RuntimeError):  # it has just expired
            if self._patience is not None:
                self._patience.reschedule(self._due)

    async def _next(self) -> Frame | WordMark | ServiceError | None:
        try:
            async with asyncio.timeout_at(self._due) as self._patience:
                return await self._pieces.get()
        except TimeoutError:
            return ServiceError(self._protocol.service, "its speech did not come, or stopped")
        finally:
            self._patience = None
