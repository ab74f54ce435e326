"""Speech in, words out, for the length of a call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from audiocodecs import AudioFormat
from mediaserver.agents.services.errors import ServiceError
from mediaserver.agents.services.realtime import CallerFinished, CallerSpeaks
from mediaserver.call import Frame


@dataclass(frozen=True, slots=True)
class RecognizedWord:
    """A word, and when it was said.

    Attributes:
        text: the word, with its punctuation.
        start: seconds of the session's audio before it.
        end: seconds of the session's audio to its end.

    """

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class RecognizedWords:
    """What was understood since the last final words.

    Attributes:
        text: all words since the last final ones; empty if there were none after all.
        start: seconds of the session's audio before the first of them.
        end: seconds of the session's audio that they cover.
        final: whether they will not change any more. The next event begins after them.
        words: the words with their times, if the service tells them.
        seconds: seconds of audio that are charged for, since the last event that had any.

    """

    text: str
    start: float
    end: float
    final: bool = False
    words: tuple[RecognizedWord, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class WordsComplete:
    """All words that were said before `through` have been told. Answers `RecognizerSession.finish`.

    Attributes:
        through: seconds of the session's audio.
        error: why some of them could not be understood, although the session goes on; or None.

    """

    through: float
    error: ServiceError | None = None


@dataclass(frozen=True, slots=True)
class CallerMayHaveFinished:
    """The caller has likely finished; `CallerFinished` or `CallerGoesOn` follows."""


@dataclass(frozen=True, slots=True)
class CallerGoesOn:
    """The caller had not finished, after a `CallerMayHaveFinished`."""


RecognizerEvent: TypeAlias = (
    RecognizedWords
    | WordsComplete
    | CallerSpeaks
    | CallerMayHaveFinished
    | CallerGoesOn
    | CallerFinished
)


class RecognizerSession(Protocol):
    """A connection to a recogniser, for one call.

    Times are seconds of the audio that the session was given, since its first frame. If the
    connection is lost, `events` raises that, and no other method does.
    """

    takes_turns: bool
    """Whether the service tells when the caller begins and has finished: `CallerSpeaks`,
    `CallerMayHaveFinished`, `CallerGoesOn` and `CallerFinished` come from such a session only."""

    continuous: bool
    """Whether it is given all of the call's audio, without gaps. If not, it is given what the
    caller says, from shortly before the first word until `finish`, and then what they say next."""

    expires_after: float | None
    """Seconds after which the service ends the session by itself, or None. It is replaced before,
    while the caller is silent."""

    async def hear(self, frame: Frame) -> None:
        """Take the next audio, in the format that the session was opened for."""

    async def finish(self) -> None:
        """Have all words of the audio so far told now: the caller has finished.

        `WordsComplete` answers each call of this, in their order.
        """

    def events(self) -> AsyncIterator[RecognizerEvent]:
        """Yield what is understood until the session is closed.

        Raises:
            ServiceError: the connection was lost, or the service refused something.

        """
        ...

    async def close(self) -> None:
        """Close the connection. Does nothing if it is closed."""


@runtime_checkable
class SendsPieces(Protocol):
    """A session that sends audio in pieces. An agent gives it one at a time, which costs less."""

    piece: float
    """Seconds of audio in a piece."""


class Recognizer(Protocol):
    """Recognises speech while it is spoken. One object serves all calls of a process.

    `SpeechToText` is the protocol for a service that takes one utterance at a time.
    """

    async def listen(self, format: AudioFormat) -> RecognizerSession:
        """Open a session for a call.

        Args:
            format: the format of the frames that will come. The session converts them if the
                service does not take it.

        Raises:
            ServiceError: the service cannot be reached, or refuses the session.

        """
        ...
