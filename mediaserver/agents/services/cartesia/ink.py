"""Ink, Cartesia's recognition of speech as it comes, in which the agent or Ink takes the turns.

https://docs.cartesia.ai/use-the-api/compare-stt-endpoints. Neither endpoint tells when a word was
said in the whole of the audio, so words lie between the audio of the words before them and the
audio that was heard when they came.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Unpack

from audiocodecs import AudioFormat
from mediaserver.agents.services.cartesia.ink_messages import (
    CLOSE_INK,
    CLOSE_INK_TURNS,
    FINALIZE_INK,
    InkDone,
    InkFailure,
    InkFlushed,
    InkMessage,
    InkTranscript,
    InkTurnEnded,
    InkTurnMayEnd,
    InkTurnResumed,
    InkTurnStarted,
    InkTurnUpdated,
    decode_ink,
)
from mediaserver.agents.services.cartesia.messages import CARTESIA, CARTESIA_VERSION
from mediaserver.agents.services.errors import ServiceError, refused_with
from mediaserver.agents.services.listening_session import ListeningSession
from mediaserver.agents.services.realtime import CallerFinished, CallerSpeaks
from mediaserver.agents.services.recognizer import (
    CallerGoesOn,
    CallerMayHaveFinished,
    RecognizedWords,
    RecognizerEvent,
    WordsComplete,
)
from mediaserver.agents.services.service_socket import ServiceSocket
from mediaserver.agents.services.setting_values import require_name, require_terms, require_within
from mediaserver.agents.services.socket_account import SocketAccount, SocketAccountOptions


_ENCODINGS: Final = {"mulaw": "pcm_mulaw", "alaw": "pcm_alaw", "l16": "pcm_s16le"}
_RATES: Final = (8000, 16000, 22050, 24000, 44100, 48000)
_CHECKED_WITH: Final = AudioFormat("mulaw", 8000)

_MOST_KEYTERMS: Final = 100
_LONGEST_KEYTERMS: Final = 1200

_NOTICED_WITHIN: Final = 0.5
"""Seconds from the beginning of speech until a turn is told to have begun."""


class _Listening(ListeningSession):
    """A connection of one call to Ink."""

    def __init__(self, socket: ServiceSocket, format: AudioFormat) -> None:
        super().__init__(CARTESIA, socket, format, _heard_format(format))
        self._from = 0.0  # seconds of audio before the words that are not final

    def _read(self, received: bytes | str) -> InkMessage | None:
        with self._socket.decoding(received):
            message = decode_ink(received)
        if isinstance(message, InkFailure):
            said = ": ".join(part for part in (message.title, message.message) if part)
            raise refused_with(CARTESIA, said or "no reason was given", message.status_code)
        if isinstance(message, InkDone) and not self._closed:
            raise ServiceError(CARTESIA, "it ended the session")
        return message

    def _words(self, text: str, *, final: bool = False) -> RecognizedWords:
        end = max(self._from, self._finishing[0][0] if self._finishing else self.heard)
        words = RecognizedWords(text.strip(), self._from, end, final=final)
        if final:
            self._from = end
        return words


class InkSession(_Listening):
    """A connection of one call to Ink, which is told when the caller has finished.

    It is given what the caller says. Cartesia answers each ``finalize``, so a connection over which
    two in a row stay without an answer has stalled.
    """

    continuous = False
    answers_within = 5.0
    unanswered_at_most = 1
    finish_message = FINALIZE_INK
    close_message = CLOSE_INK

    def __init__(self, socket: ServiceSocket, format: AudioFormat) -> None:
        super().__init__(socket, format)
        self._text = ""  # final for Cartesia; the agent is told it whole

    def understood(self, received: bytes | str) -> Iterator[RecognizerEvent]:
        """Yield what a message means."""
        message = self._read(received)
        if isinstance(message, InkTranscript):
            text = self._text + message.text
            if message.is_final:
                self._text = text
            yield self._words(text)
        elif isinstance(message, InkFlushed) and self._finishing:
            yield from self.unanswered()
            yield WordsComplete(self._finishing.popleft()[0])

    def unanswered(self) -> Iterator[RecognizerEvent]:
        """Yield what is known of the utterance as final."""
        text, self._text = self._text, ""
        before = self._from
        words = self._words(text, final=True)
        yield RecognizedWords(words.text, before, words.end, final=True, seconds=words.end - before)


class InkTurnsSession(_Listening):
    """A connection of one call to Ink, which takes the turns.

    Ink appends to the text of a turn, and never changes it. It has no message that asks for the
    rest of the words: if the agent ends a turn, what comes within a second is used.
    """

    takes_turns = True
    answers_within = 1.0
    finish_message = ""
    close_message = CLOSE_INK_TURNS

    def __init__(self, socket: ServiceSocket, format: AudioFormat) -> None:
        super().__init__(socket, format)
        self._text = ""  # of the turn
        self._used = 0  # characters of it that were told as final
        self._charged = 0.0  # seconds

    async def finish(self) -> None:
        """Have all words of the audio so far told soon."""
        if self._unsent:
            await self._send_audio()
        self._expect_answer()

    def understood(self, received: bytes | str) -> Iterator[RecognizerEvent]:
        """Yield what a message means."""
        message = self._read(received)
        if isinstance(message, InkTurnStarted):
            self._text, self._used = "", 0
            self._from = max(self._from, self.heard - _NOTICED_WITHIN)
            yield CallerSpeaks()
        elif isinstance(message, InkTurnUpdated | InkTurnMayEnd):
            if message.transcript != self._text:
                self._text = message.transcript
                yield self._words(self._untold)
            if isinstance(message, InkTurnMayEnd):
                yield CallerMayHaveFinished()
        elif isinstance(message, InkTurnResumed):
            yield CallerGoesOn()
        elif isinstance(message, InkTurnEnded):
            self._text = message.transcript
            yield self._final()
            yield CallerFinished()
            while self._finishing:
                yield WordsComplete(self._finishing.popleft()[0])

    def unanswered(self) -> Iterator[RecognizerEvent]:
        """Yield what was understood of the turn as final; what comes later follows it."""
        yield self._final()

    @property
    def _untold(self) -> str:
        return self._text[self._used :]

    def _final(self) -> RecognizedWords:
        text, self._used = self._untold, len(self._text)
        before = self._from
        words = self._words(text, final=True)
        seconds, self._charged = words.end - self._charged, words.end
        return RecognizedWords(words.text, before, words.end, final=True, seconds=max(0.0, seconds))


class _Ink:
    """What both recognisers share: settings, key and address."""

    name = CARTESIA

    def __init__(
        self,
        path: str,
        query: Mapping[str, str | list[str]],
        keyterms: Sequence[str],
        **connection: Unpack[SocketAccountOptions],
    ) -> None:
        self._path = path
        self._query = dict(query)
        if keyterms:
            self._query["keyterm"] = _require_keyterms(keyterms)
        self._account = SocketAccount(
            CARTESIA, "CARTESIA_API_KEY", "wss://api.cartesia.ai", _headers, **connection
        )

    async def _connect(self, format: AudioFormat) -> ServiceSocket:
        wire = _heard_format(format)
        query = {
            **self._query,
            "encoding": _ENCODINGS[wire.encoding],
            "sample_rate": str(wire.rate),
        }
        return await self._account.connect(self._path, query)

    async def check(self) -> None:
        """Open a session and close it: no audio is sent, so nothing is charged.

        Raises:
            MisconfiguredServiceError: there is no key, or Cartesia refuses it.
            ServiceError: Cartesia cannot be reached, or refuses the connection.

        """
        await (await self._connect(_CHECKED_WITH)).close()


class CartesiaRecognizer(_Ink):
    """Recognises speech with Cartesia's Ink; the agent takes the turns.

    One object serves all calls of a process. Ink is given only what the caller says, and asked for
    its words when the caller has finished, so silence costs nothing.

    Args:
        model: ``ink-2``, for English, or ``ink-whisper``.
        language: the language, such as ``de``; None is English.
        keyterms: names and terms that callers are likely to say: 100 at most, of 1200 characters
            together.
        connection: ``base_url``, ``api_key`` and ``connect_timeout``: see `SocketAccount`.

    Raises:
        ValueError: a setting is none that Cartesia takes.

    """

    def __init__(
        self,
        model: str = "ink-2",
        *,
        language: str | None = None,
        keyterms: Sequence[str] = (),
        **connection: Unpack[SocketAccountOptions],
    ) -> None:
        require_name(model=model)
        query: dict[str, str | list[str]] = {"model": model}
        if language is not None:
            if not isinstance(language, str) or not re.fullmatch("[a-z]{2,3}", language):
                raise ValueError(f"language must be like 'en' or 'de', not {language!r}")
            query["language"] = language
        super().__init__("/stt/websocket", query, keyterms, **connection)

    async def listen(self, format: AudioFormat) -> InkSession:
        """Open a session for a call.

        Raises:
            ServiceError: Cartesia cannot be reached, or refuses the key or a setting.

        """
        return InkSession(await self._connect(format), format)


class InkTurnsRecognizer(_Ink):
    """Recognises English with Cartesia's Ink, which takes the turns.

    One object serves all calls of a process. Ink tells when the caller begins, has likely finished,
    goes on and has finished. It hears the whole call.

    Args:
        model: the model, such as ``ink-2``.
        start_threshold: how sure it must be that somebody speaks to begin a turn, from 0.5 to 0.9.
            None is Cartesia's default, 0.8.
        eager_end_threshold: it says that the caller may have finished when it is less sure than
            this that they speak, from 0.3 to 0.6, between the other two. None: 0.4.
        end_threshold: the same for the end of a turn, from 0.05 to 0.5. None: 0.2.
        end_timeout: seconds of silence that end a turn in any case, from 0.64 to 11.2. None: 5.6.
        keyterms: as of `CartesiaRecognizer`.
        connection: as of `CartesiaRecognizer`.

    Raises:
        ValueError: a setting is none that Cartesia takes.

    """

    def __init__(
        self,
        model: str = "ink-2",
        *,
        start_threshold: float | None = None,
        eager_end_threshold: float | None = None,
        end_threshold: float | None = None,
        end_timeout: float | None = None,
        keyterms: Sequence[str] = (),
        **connection: Unpack[SocketAccountOptions],
    ) -> None:
        require_name(model=model)
        require_within(0.5, 0.9, start_threshold=start_threshold)
        require_within(0.3, 0.6, eager_end_threshold=eager_end_threshold)
        require_within(0.05, 0.5, end_threshold=end_threshold)
        require_within(0.64, 11.2, end_timeout=end_timeout)
        eager = 0.4 if eager_end_threshold is None else eager_end_threshold
        start = 0.8 if start_threshold is None else start_threshold
        if not (0.2 if end_threshold is None else end_threshold) < eager < start:
            raise ValueError(
                "end_threshold must be below eager_end_threshold, and that below start_threshold,"
                f" not {end_threshold!r}, {eager_end_threshold!r} and {start_threshold!r}"
            )
        thresholds = {
            "turn_start_threshold": start_threshold,
            "turn_eager_end_threshold": eager_end_threshold,
            "turn_end_threshold": end_threshold,
            "turn_end_timeout_ms": None if end_timeout is None else end_timeout * 1000,
        }
        given = {name: f"{value:g}" for name, value in thresholds.items() if value is not None}
        super().__init__("/stt/turns/websocket", {"model": model, **given}, keyterms, **connection)

    async def listen(self, format: AudioFormat) -> InkTurnsSession:
        """Open a session for a call.

        Raises:
            ServiceError: Cartesia cannot be reached, or refuses the key or a setting.

        """
        return InkTurnsSession(await self._connect(format), format)


def _headers(key: str) -> Mapping[str, str]:
    return {"authorization": f"Bearer {key}", "cartesia-version": CARTESIA_VERSION}


def _heard_format(format: AudioFormat) -> AudioFormat:
    """Return the format in which Ink hears a stream: its own, if Ink takes it."""
    return format if format.rate in _RATES else AudioFormat("l16", 16000)


def _require_keyterms(keyterms: Sequence[str]) -> list[str]:
    terms = require_terms(keyterms, most=_MOST_KEYTERMS, longest=_LONGEST_KEYTERMS)
    if sum(map(len, terms)) > _LONGEST_KEYTERMS:
        raise ValueError(
            f"keyterms must not have more than {_LONGEST_KEYTERMS} characters together"
        )
    return terms
