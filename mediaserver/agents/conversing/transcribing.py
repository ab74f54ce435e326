"""Makes a recogniser with sessions of a service that takes one utterance at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TypeGuard

from audiocodecs import AudioFormat
from mediaserver.agents.conversing.listening import Utterance
from mediaserver.agents.conversing.served import broken, unexpected
from mediaserver.agents.services import (
    RecognizedWords,
    Recognizer,
    RecognizerEvent,
    ServiceError,
    SpeechToText,
    Transcript,
    WordsComplete,
)
from mediaserver.call import Frame


_SERVICE = "speech_to_text"


def is_recognizer(service: SpeechToText | Recognizer) -> TypeGuard[Recognizer]:
    """Return whether a service opens sessions."""
    return callable(getattr(service, "listen", None))


class UtteranceRecognizer:
    """A `Recognizer` that has a `SpeechToText` transcribe each utterance.

    An utterance that fails, or is not transcribed in time, does not end the session: the error is
    told by `WordsComplete`. Utterances that overlap are transcribed at the same time.

    Args:
        service: transcribes utterances.
        patience: seconds to wait for a transcript once an utterance has ended.

    """

    def __init__(self, service: SpeechToText, *, patience: float) -> None:
        self._service = service
        self._patience = patience

    async def listen(self, format: AudioFormat) -> UtteranceSession:
        """Open a session. Nothing is sent before an utterance begins."""
        return UtteranceSession(self._service, self._patience)


class _Request:
    """The transcription of one utterance, whose times are those of its audio in the session."""

    def __init__(self, start: float) -> None:
        self.start = start
        self.end = start
        self.speech = Utterance((), started_at=start)
        self.error: ServiceError | None = None
        self.done = False

    def words(self, transcript: Transcript, *, final: bool) -> RecognizedWords:
        seconds = transcript.seconds
        return RecognizedWords(transcript.text, self.start, self.end, final, seconds=seconds)


class UtteranceSession:
    """The `RecognizerSession` of an `UtteranceRecognizer`."""

    takes_turns = False
    continuous = False
    expires_after: float | None = None

    def __init__(self, service: SpeechToText, patience: float) -> None:
        self._service = service
        self._patience = patience
        self._seconds = 0.0
        self._current: _Request | None = None
        # Those that `finish` has ended, until they and all before them are done.
        self._finished: deque[_Request] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._events: asyncio.Queue[RecognizerEvent | None] = asyncio.Queue()

    async def hear(self, frame: Frame) -> None:
        """Take the next audio of the utterance, or the first of another one."""
        request = self._current
        if request is None:
            request = self._current = _Request(self._seconds)
            task = asyncio.create_task(self._transcribe(request), name="transcribes")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._seconds += frame.seconds
        request.end = self._seconds
        request.speech.put(frame)

    async def finish(self) -> None:
        """End the utterance."""
        request, self._current = self._current, None
        if request is None:
            request = _Request(self._seconds)
            request.done = True
        self._finished.append(request)
        request.speech.end()
        self._tell_complete()

    async def events(self) -> AsyncIterator[RecognizerEvent]:
        """Yield what is understood until the session is closed."""
        while (event := await self._events.get()) is not None:
            yield event

    async def close(self) -> None:
        """Give up what is being transcribed."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._events.put_nowait(None)

    async def _transcribe(self, request: _Request) -> None:
        last: Transcript | None = None
        pieces = transcripts(self._service, request.speech, patience=self._patience)
        try:
            async with aclosing(pieces):
                async for last in pieces:
                    final = last.final and request.speech.ended
                    self._events.put_nowait(request.words(last, final=final))
        except ServiceError as error:
            request.error = error
        else:
            if last is not None and not (last.final and request.speech.ended):
                whole = Transcript(last.text)
                await request.speech.over(None)
                self._events.put_nowait(request.words(whole, final=True))
        request.done = True
        self._tell_complete()

    def _tell_complete(self) -> None:
        while self._finished and self._finished[0].done:
            request = self._finished.popleft()
            self._events.put_nowait(WordsComplete(request.end, request.error))


async def transcripts(
    service: SpeechToText, utterance: Utterance, *, patience: float
) -> AsyncGenerator[Transcript, None]:
    """Yield transcripts. There is no time limit while the caller speaks.

    Args:
        service: transcribes it.
        utterance: what the caller says.
        patience: seconds to wait for a transcript once the utterance has ended.

    Raises:
        ServiceError: the service failed, or was too slow.

    """
    loop = asyncio.get_running_loop()
    waiting = asyncio.timeout(None)
    try:
        pieces = service.transcribe(utterance)
        try:
            while True:
                waiting = asyncio.timeout(patience if utterance.ended else None)
                async with waiting:
                    utterance.on_end = lambda waiting=waiting: waiting.reschedule(
                        loop.time() + patience
                    )
                    try:
                        transcript = await anext(pieces)
                    except StopAsyncIteration:
                        return
                    finally:
                        utterance.on_end = None
                if not isinstance(transcript, Transcript):
                    raise unexpected(_SERVICE, transcript, "Transcript")
                yield transcript
                if transcript.final and utterance.ended:
                    return  # even if the service does not end
        finally:
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()
    except ServiceError:
        raise
    except Exception as error:
        if waiting.expired():
            raise ServiceError(_SERVICE, f"no transcript within {patience:g} s") from None
        raise broken(_SERVICE, error) from error
