"""The recogniser of a call: given the call's audio, replaced when it is lost, asked for words."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeAlias, cast

from audiocodecs import MULAW_8K, AudioFormat
from mediaserver.agents.conversing.attributed_words import AttributedWords, Span
from mediaserver.agents.conversing.call_tasks import CallTasks
from mediaserver.agents.conversing.kept_connection import KeptConnection
from mediaserver.agents.conversing.listening import Utterance
from mediaserver.agents.conversing.transcribing import UtteranceRecognizer, is_recognizer
from mediaserver.agents.services import (
    CallerFinished,
    CallerGoesOn,
    CallerMayHaveFinished,
    CallerSpeaks,
    RecognizedWord,
    RecognizedWords,
    Recognizer,
    RecognizerEvent,
    RecognizerSession,
    SendsPieces,
    ServiceError,
    SpeechToText,
    Transcript,
    WordsComplete,
)
from mediaserver.call import Frame, StreamEndedError


RECOGNIZER: Final = "speech_to_text"
"""The name under which a failure is counted if the service does not name itself."""

_KEPT: Final = 30.0
"""Seconds of audio that are kept for a session that replaces a lost one."""

_QUIET_KEPT: Final = 3.0
"""Seconds of audio that are kept, at least, while the caller says nothing."""

_FORGOTTEN_AT_ONCE: Final = 0.5
"""Seconds of audio that are then forgotten together."""

_LOSSES: Final = 3
"""Sessions that an utterance may lose: then its words are given up."""

_LASTS: Final = 5.0
"""Seconds after which a session that is lost is replaced though the caller says nothing."""

_RENEW_AT: Final = 0.9
"""The part of a session's time after which it is replaced in the caller's next silence."""

_RENEW_BY: Final = 0.98
"""The part of a session's time after which it is replaced though the caller speaks."""

_GRACE: Final = 1.0
"""Seconds to wait for a `SpeechToText` after it should have given up an utterance."""

_INSTANT: Final = 1e-6


class _Hearing:
    """An utterance whose words are not all known.

    Attributes:
        utterance: what the caller says.
        span: where it lies on the timeline.
        spoken: where its last word ended, once it has ended.
        complete: whether all its words were told.
        error: why its words cannot be had, or None.
        due: when its words have to be known, on the loop's clock; None while the caller speaks.
        seconds: the seconds that were charged for it, and not told yet.
        losses: the number of sessions that were lost since it began.

    """

    __slots__ = (
        "_waiter",
        "complete",
        "due",
        "error",
        "losses",
        "seconds",
        "span",
        "spoken",
        "utterance",
    )

    def __init__(self, utterance: Utterance, span: Span) -> None:
        self.utterance = utterance
        self.span = span
        self.spoken = span.end
        self.complete = False
        self.error: ServiceError | None = None
        self.due: float | None = None
        self.seconds = 0.0
        self.losses = 0
        self._waiter: asyncio.Future[None] | None = None

    @property
    def pending(self) -> bool:
        """Whether its words are awaited."""
        return not self.complete and self.error is None

    def wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def change(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter


TurnSign: TypeAlias = CallerSpeaks | CallerMayHaveFinished | CallerGoesOn | CallerFinished
"""What a session that takes the turns says of them."""

_Item: TypeAlias = "Frame | _Hearing"
"""What a session is given: audio, or the end of an utterance."""


class Ear:
    """Understands one party of a call, by a session that it replaces when it is lost.

    All that sessions are given lies on one timeline, in seconds: the call's audio or, if a session
    is not continuous, one utterance after the other. A session's times begin at a position of the
    timeline. The timeline is kept from the end of the last final words on, for half a minute at
    most, and another session is given what is kept.

    Args:
        service: understands the caller.
        patience: seconds to wait for words once an utterance has ended.
        speech_only: whether a continuous session is given only what the caller says, too.
        lost: told of the error when a session was lost, or could not be opened.
        ended: tells whether the call has ended.
        signs: told what a session that takes the turns says of them; None ignores it.
        missed: told that there are words which no utterance has, if a session takes the turns, and
            how many seconds ago they began.

    """

    def __init__(
        self,
        service: SpeechToText | Recognizer,
        *,
        patience: float,
        speech_only: bool = False,
        lost: Callable[[ServiceError], object],
        ended: Callable[[], bool],
        signs: Callable[[TurnSign], object] | None = None,
        missed: Callable[[float], object] = lambda ago: None,
    ) -> None:
        self._signs = signs
        self._missed = missed
        if is_recognizer(service):
            self._recognizer, self._patience = service, patience
        else:
            # It gives up an utterance by itself, and only that one.
            self._recognizer = UtteranceRecognizer(cast(SpeechToText, service), patience=patience)
            self._patience = patience + _GRACE
        self._speech_only = speech_only
        self._on_loss = lost
        self._kept = KeptConnection[RecognizerSession](
            RECOGNIZER, self._listen, opened=self._begin, lost=self._lost, ended=ended
        )
        # The format of the stream, and the one that the session was opened for.
        self._format = self._opened_for = MULAW_8K
        self._connecting: asyncio.Task[None] | None = None
        # Whether everything is on the timeline, rather than what the caller says.
        self._everything = False
        self._words = AttributedWords()
        # Utterances whose words are asked for, and the one that the caller is in.
        self._hearings: dict[Utterance, _Hearing] = {}
        self._speaks: _Hearing | None = None
        self._latest: _Hearing | None = None
        # The part of the timeline that is kept, each item with the position at which it begins;
        # how many of the items the session was given; and the end of the timeline.
        self._items: deque[tuple[float, _Item]] = deque()
        self._given = 0
        self._end = 0.0
        # The position at which the session's times begin, and the ends of utterances that it was
        # told and has not answered.
        self._offset = 0.0
        self._asked: deque[_Hearing] = deque()
        self._writer: asyncio.Future[None] | None = None
        # Seconds of audio that the session sends at a time, and those that wait for more.
        self._piece = self._waits = 0.0
        # Seconds of audio heard; how many of them had been when the session was opened; and those
        # after which it is replaced, at the next silence and in any case.
        self._heard = 0.0
        self._opened_at = 0.0
        self._renew_at = self._renew_by = math.inf
        # Seconds that are charged for, which no utterance has been told yet.
        self._seconds = 0.0

    @property
    def takes_turns(self) -> bool:
        """Whether the session tells when the caller has finished, and is listened to."""
        session = self._kept.current
        return session is not None and session.takes_turns and self._signs is not None

    def text(self, utterance: Utterance) -> str:
        """Return the words of an utterance so far, if they are still asked for."""
        hearing = self._hearings.get(utterance)
        return "" if hearing is None else self._words.text(hearing.span)

    async def prepare(self, format: AudioFormat) -> None:
        """Open a session before the stream has started, for the `format` that it will likely have.

        Raises:
            ServiceError: no session could be opened.
            StreamEndedError: the call has ended.

        """
        if self._kept.tasks is None:
            self._format = format
            await self._kept.ready()

    def open(self, tasks: CallTasks, format: AudioFormat) -> None:
        """Begin to hear, as the stream has started in `format`."""
        self._kept.tasks = tasks
        self._format = format
        if self._kept.current is not None:
            self._begin(self._kept.current)
        else:
            self._connect()

    def hear(self, frame: Frame) -> None:
        """Take the next audio. A `Listener` takes it after this."""
        self._heard += frame.seconds
        if self._everything or self._speaks is not None:
            self._put(frame)
        if (
            self._items
            and self._end - self._items[0][0] > _QUIET_KEPT + _FORGOTTEN_AT_ONCE
            and not self._hearings
        ):
            self._forget(self._end - _QUIET_KEPT)
            self._words.forget(self._end - _QUIET_KEPT)
        if self._heard >= self._renew_at and (not self._hearings or self._heard >= self._renew_by):
            self._renew_at = math.inf
            self._start(self._renew(), "replaces a recogniser's session")

    def begin(self, utterance: Utterance) -> None:
        """Note that an utterance has begun, with the frames that it has now."""
        frames = utterance.frames
        begins = self._end
        if self._everything:
            begins = max(0.0, begins - sum(frame.seconds for frame in frames))
            if self._latest is not None and not self._latest.utterance.resumed:
                begins = max(begins, self._latest.span.end)  # no word belongs to both
        if self.takes_turns and (unclaimed := self._words.unclaimed()) is not None:
            begins = min(begins, unclaimed)
        hearing = _Hearing(utterance, self._words.begin(begins))
        hearing.seconds, self._seconds = self._seconds, 0.0
        self._hearings[utterance] = self._speaks = self._latest = hearing
        if not self._everything:
            for frame in frames:
                self._put(frame)
        utterance.on_end = partial(self._finish, hearing)
        self._connect()

    async def transcripts(self, utterance: Utterance) -> AsyncGenerator[Transcript, None]:
        """Yield the words of an utterance whenever they change; the last transcript is final.

        There is no time limit while the caller speaks.

        Raises:
            ServiceError: the words cannot be had.

        """
        hearing = self._hearings[utterance]
        told = ""
        try:
            while True:
                if hearing.error is not None:
                    raise hearing.error
                text = self._words.text(hearing.span)
                final = self._is_known(hearing)
                seconds, hearing.seconds = hearing.seconds, 0.0
                if final or text != told:
                    told = text
                    yield Transcript(text, final=final, seconds=seconds)
                    if final:
                        return
                else:
                    hearing.seconds = seconds
                    await self._change(hearing)
        finally:
            self._over(hearing)

    async def close(self) -> None:
        """Close the session."""
        await self._kept.close()

    # The timeline.

    def _put(self, item: _Item) -> None:
        self._items.append((self._end, item))
        if isinstance(item, Frame):
            seconds = item.seconds
            self._end += seconds
            self._waits += seconds
        if self._waits > self._piece - _INSTANT or not isinstance(item, Frame):
            self._wake_writer()
        if self._end - self._items[0][0] > _KEPT:
            session = self._kept.current
            if session is not None and not self._given:
                late = ServiceError(RECOGNIZER, f"it has taken no audio for {_KEPT:g} s")
                self._kept.lose(session, late)
            self._forget(self._end - _KEPT)

    def _forget(self, before: float) -> None:
        """Forget what ends before a position, unless the session has yet to be given it."""
        items = self._items
        while items and (self._given or self._kept.current is None):
            begins, item = items[0]
            if isinstance(item, Frame):
                if begins + item.seconds > before + _INSTANT:
                    return
            elif begins > before or self._awaits(item):
                return
            items.popleft()
            self._given = max(0, self._given - 1)

    def _forget_known(self) -> None:
        known = self._words.through
        if not self._everything:
            # Utterances may be understood in any order.
            known = min(
                (each.span.begin for each in self._hearings.values() if each.pending), default=known
            )
        self._forget(known)

    def _awaits(self, hearing: _Hearing) -> bool:
        return hearing.pending and hearing.utterance in self._hearings

    def _finish(self, hearing: _Hearing) -> None:
        """Note that an utterance has ended."""
        hearing.utterance.on_end = None
        hearing.due = asyncio.get_running_loop().time() + self._patience
        if self._speaks is hearing:
            self._speaks = None
        hearing.span.end = self._end
        hearing.spoken = max(hearing.span.begin, self._end - hearing.utterance.quiet)
        if hearing.complete:
            # What comes after the words that the service has told is the next turn's.
            hearing.span.end = max(hearing.span.begin, min(self._end, self._words.through))
        elif hearing.utterance in self._hearings:
            self._put(hearing)
        hearing.wake()

    def _is_known(self, hearing: _Hearing) -> bool:
        """Return whether the words of an utterance will not change any more."""
        return hearing.complete or hearing.span.through >= hearing.spoken

    def _over(self, hearing: _Hearing) -> None:
        """Ask for no more words of an utterance."""
        if self._hearings.pop(hearing.utterance, None) is not None:
            self._seconds += hearing.seconds
            self._words.over(hearing.span)
            self._forget_known()

    async def _change(self, hearing: _Hearing) -> None:
        """Wait until something has changed; once the utterance has ended, only until it is due."""
        try:
            async with asyncio.timeout_at(hearing.due):
                await hearing.change()
        except TimeoutError:
            hearing.error = ServiceError(RECOGNIZER, f"no transcript within {self._patience:g} s")
            if self._kept.current is not None and hearing in self._asked:
                self._kept.lose(self._kept.current, hearing.error)

    # The session.

    async def _listen(self) -> RecognizerSession:
        self._opened_for = self._format
        return await self._recognizer.listen(self._format)

    def _connect(self) -> None:
        """Open a session if there is none, and none is being opened."""
        busy = self._connecting is not None and not self._connecting.done()
        if self._kept.current is None and not busy:
            self._connecting = self._start(self._ready(), "connects a recogniser")

    async def _ready(self) -> None:
        try:
            await self._kept.ready()
        except StreamEndedError:
            return
        except ServiceError as error:
            if not self._hearings:
                self._on_loss(error)
            self._give_up(error)

    async def _renew(self) -> None:
        try:
            await self._kept.renew()
        except StreamEndedError:
            return
        except ServiceError as error:
            self._on_loss(error)  # and the service will end the old one

    def _begin(self, session: RecognizerSession) -> None:
        """Give a new session what is kept, and what comes; take its words."""
        if self._kept.tasks is None:
            return
        if self._opened_for is not self._format:
            self._kept.current = None
            self._kept.let_go(session)
            self._start(self._ready(), "connects a recogniser")
            return
        self._piece = session.piece if isinstance(session, SendsPieces) else 0.0
        self._everything = session.continuous and (self.takes_turns or not self._speech_only)
        expires = math.inf if session.expires_after is None else session.expires_after
        self._opened_at = self._heard
        self._renew_at = self._heard + expires * _RENEW_AT
        self._renew_by = self._heard + expires * _RENEW_BY
        self._items = deque(
            (begins, item)
            for begins, item in self._items
            if isinstance(item, Frame) or self._awaits(item)
        )
        now = asyncio.get_running_loop().time()
        for hearing in self._hearings.values():
            if hearing.due is not None:
                hearing.due = now + self._patience  # the session hears it from the beginning
        self._given = 0
        self._offset = self._items[0][0] if self._items else self._end
        self._asked.clear()
        self._words.restart(self._offset)
        self._wake_writer()
        self._start(self._give(session), "gives a recogniser audio")
        events = aiter(session.events())
        self._start(self._kept.follow(session, events, self._take), "hears words")

    def _lost(self, error: ServiceError) -> None:
        """Open another session; give up the utterances that have lost too many."""
        self._on_loss(error)
        for hearing in self._hearings.values():
            hearing.losses += 1
        self._give_up(error, losses=_LOSSES)
        # A session that does not last is not opened again and again while the caller is silent.
        waits = any(hearing.error is None for hearing in self._hearings.values())
        if waits or self._heard - self._opened_at > _LASTS:
            self._connect()

    def _give_up(self, error: ServiceError, *, losses: int = 0) -> None:
        for hearing in self._hearings.values():
            if hearing.losses >= losses and hearing.error is None:
                hearing.error = error
                hearing.wake()

    async def _give(self, session: RecognizerSession) -> None:
        while session is self._kept.current:
            if self._given == len(self._items):
                self._writer = asyncio.get_running_loop().create_future()
                await self._writer
                continue
            _, item = self._items[self._given]
            self._given += 1
            if isinstance(item, Frame):
                await self._kept.do(session, session.hear(item))
            else:
                self._asked.append(item)
                await self._kept.do(session, session.finish())

    def _wake_writer(self) -> None:
        self._waits = 0.0
        writer, self._writer = self._writer, None
        if writer is not None and not writer.done():
            writer.set_result(None)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None] | None:
        if self._kept.tasks is None:
            work.close()
            return None
        try:
            return self._kept.tasks.start(work, name)
        except StreamEndedError:
            return None

    # What the session tells.

    async def _take(self, event: RecognizerEvent) -> None:
        if isinstance(event, RecognizedWords):
            self._understand(event)
        elif isinstance(event, WordsComplete):
            self._complete(event)
        elif self._signs is not None:
            self._sign(event)

    def _understand(self, event: RecognizedWords) -> None:
        words = self._moved(event)
        self._words.take(words)
        for hearing in self._hearings.values():
            if hearing.span.overlaps(words.start, words.end):
                hearing.seconds += event.seconds
                break
        else:
            self._seconds += event.seconds
        for hearing in self._hearings.values():
            hearing.wake()
        if self.takes_turns and self._speaks is None:
            unclaimed = self._words.unclaimed()
            if unclaimed is not None:
                self._missed(self._end - unclaimed)
        if words.final:
            self._forget_known()

    def _sign(self, event: TurnSign) -> None:
        hearing = self._speaks
        if isinstance(event, CallerFinished) and hearing is not None:
            hearing.complete = True
        assert self._signs is not None
        self._signs(event)
        if hearing is not None and not hearing.utterance.ended:
            hearing.complete = False  # it was no turn after all

    def _complete(self, event: WordsComplete) -> None:
        self._words.through = max(self._words.through, self._offset + event.through)
        if self._asked:
            hearing = self._asked.popleft()
            hearing.complete = True
            hearing.error = hearing.error or event.error
            hearing.wake()
        self._forget_known()

    def _moved(self, event: RecognizedWords) -> RecognizedWords:
        """Return an event with positions in place of the session's times."""
        offset = self._offset
        return RecognizedWords(
            event.text,
            event.start + offset,
            event.end + offset,
            event.final,
            tuple(
                RecognizedWord(word.text, word.start + offset, word.end + offset)
                for word in event.words
            ),
            event.seconds,
        )
