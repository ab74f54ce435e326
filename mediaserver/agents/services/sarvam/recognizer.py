"""Sarvam's recognition of speech as it comes.

https://docs.sarvam.ai/api/api-guides-tutorials/speech-to-text/realtime-api. Sarvam's older
endpoint, ``/speech-to-text/ws``, is not used: it tells no interim words and takes no mu-law.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Unpack, get_args

import msgspec
import structlog

from audiocodecs import AudioFormat
from mediaserver.agents.services.errors import ServiceError, refused_with
from mediaserver.agents.services.keep_alive import KeepAlives
from mediaserver.agents.services.listening_session import ListeningSession
from mediaserver.agents.services.recognizer import (
    RecognizedWords,
    RecognizerEvent,
    WordsComplete,
)
from mediaserver.agents.services.sarvam.account import (
    SARVAM,
    require_indian_language,
    sarvam_account,
)
from mediaserver.agents.services.sarvam.saaras_messages import (
    SAARAS_END,
    SAARAS_PING,
    SPEECH_END,
    SPEECH_START,
    SaarasBegan,
    SaarasEnded,
    SaarasFailure,
    SaarasFinal,
    SaarasPartial,
    audio_input,
    decode_saaras,
)
from mediaserver.agents.services.service_socket import ServiceSocket
from mediaserver.agents.services.setting_values import require_name, require_terms
from mediaserver.agents.services.socket_account import SocketAccountOptions


_PATH: Final = "/speech-to-text-realtime/ws"
_ENCODINGS: Final = {"mulaw": "mulaw", "alaw": "alaw", "l16": "linear16"}
_RATES: Final = (8000, 16000)
_CHECKED_WITH: Final = AudioFormat("mulaw", 8000)

_KEEP_ALIVE_EVERY: Final = 15.0
"""Seconds. Sarvam closes a connection that is inactive (close code 1008), without saying after how
long; on its older endpoint it is a minute."""

_ANSWERS_WITHIN: Final = 5.0
"""Seconds after which an utterance has its interim words if the final ones have not come."""

_SILENT_WITHIN: Final = 2.0
"""The same if there were no interim words: Sarvam does not say that it answers an utterance without
words."""

_MOST_KEYTERMS: Final = 50
_LONGEST_KEYTERM: Final = 64

StreamType = Literal["fast", "balanced", "simulated"]
RecognitionMode = Literal["transcribe", "translate", "verbatim", "translit", "codemix"]

_log = structlog.get_logger("mediaserver.agents.sarvam")


@dataclass(slots=True)
class _Spoken:
    """An utterance.

    Attributes:
        number: of the utterance, as Sarvam counts them: from 0.
        start: seconds of audio before it.
        end: seconds of audio to its end, once it has ended.
        text: the interim words.

    """

    number: int
    start: float
    end: float | None = None
    text: str = ""


class SarvamSession(ListeningSession):
    """A connection of one call to Saaras, Sarvam's recogniser.

    It is given what the caller says, and told when each utterance begins and ends.

    Args:
        socket: the connection, which has said that the session is open.
        format: the format of the frames.
        interim: whether interim words come.
        keep_alives: what keeps connections open.

    """

    continuous = False
    piece = 0.06
    finish_message = SPEECH_END
    close_message = SAARAS_END

    def __init__(
        self, socket: ServiceSocket, format: AudioFormat, *, interim: bool, keep_alives: KeepAlives
    ) -> None:
        super().__init__(SARVAM, socket, format, wire_format(format))
        self._interim = interim
        self._begun = 0  # utterances
        self._spoken: _Spoken | None = None
        self._asked: deque[_Spoken | None] = deque()
        """The utterances that `finish` has ended, for each call of it; None: there was no audio."""
        self._keep_alives = keep_alives
        self._kept = -1  # bytes that had been sent when it was kept alive last
        keep_alives.add(self)

    async def finish(self) -> None:
        """Have all words of the audio so far told now."""
        if self._unsent:
            await self._send_audio()
        spoken, self._spoken = self._spoken, None
        if spoken is not None:
            spoken.end = self.heard
        self._asked.append(spoken)
        self._expect_answer()
        if spoken is not None:
            await self._socket.send(self.finish_message)

    async def keep_alive(self) -> None:
        """Send something, if no audio was sent since this was called last."""
        if self._kept == self._sent:
            await self._socket.send(SAARAS_PING)
        self._kept = self._sent

    async def close(self) -> None:
        """Close the connection. Does nothing if it is closed."""
        self._keep_alives.remove(self)
        await super().close()

    def understood(self, received: bytes | str) -> Iterator[RecognizerEvent]:
        """Yield what a message means."""
        with self._socket.decoding(received):
            message = decode_saaras(received)
        if isinstance(message, SaarasPartial):
            yield from self._take_interim(message)
        elif isinstance(message, SaarasFinal):
            yield from self._take_final(message)
        elif isinstance(message, SaarasFailure):
            _take_failure(message)
        elif isinstance(message, SaarasEnded) and not self._closed:
            raise ServiceError(SARVAM, "it ended the session")

    def unanswered(self) -> Iterator[RecognizerEvent]:
        """Yield the interim words of an utterance whose final ones have not come."""
        spoken = self._asked.popleft()
        if spoken is not None and spoken.text:
            yield self._words(spoken, spoken.text, final=True)

    def audio_message(self, audio: bytes) -> str:
        """Return the message with a piece of audio."""
        return audio_input(audio)

    def _until(self) -> float | None:
        if not self._finishing:
            return None
        spoken, at = self._asked[0], self._finishing[0][1]
        if spoken is None:
            return at
        return at + (_ANSWERS_WITHIN if spoken.text or not self._interim else _SILENT_WITHIN)

    async def _send_audio(self) -> None:
        if self._spoken is None:
            self._begin()
            await self._socket.send(SPEECH_START)
        await super()._send_audio()

    def _take_interim(self, message: SaarasPartial) -> Iterator[RecognizerEvent]:
        pending = [*filter(None, self._asked), *filter(None, [self._spoken])]
        for spoken in pending:
            if spoken.number == message.utterance_idx and spoken.text != message.text:
                spoken.text = message.text
                # Words of an utterance follow the final ones of the utterance before it.
                if spoken is pending[0]:
                    yield self._words(spoken, spoken.text)

    def _take_final(self, message: SaarasFinal) -> list[RecognizerEvent]:
        number = message.utterance_idx
        events: list[RecognizerEvent] = []
        while self._asked and ((head := self._asked[0]) is None or head.number < number):
            events += [*self.unanswered(), self._complete()]
        head = self._asked[0] if self._asked else None
        if head is not None and head.number == number:
            self._asked.popleft()
            events += [self._words(head, message.text, final=True), self._complete()]
        elif self._spoken is not None and self._spoken.number == number:
            # Sarvam has cut an utterance that goes on: the rest of it is another one.
            events.append(self._words(self._spoken, message.text, final=True))
            self._begin()
        return events

    def _words(self, spoken: _Spoken, text: str, *, final: bool = False) -> RecognizedWords:
        end = self.heard if spoken.end is None else spoken.end
        seconds = end - spoken.start if final else 0.0
        return RecognizedWords(text, spoken.start, end, final=final, seconds=seconds)

    def _complete(self) -> WordsComplete:
        return WordsComplete(self._finishing.popleft()[0])

    def _begin(self) -> None:
        self._spoken = _Spoken(self._begun, self.heard)
        self._begun += 1


class SarvamRecognizer:
    """Recognises Indian languages, and English, with Sarvam's Saaras models.

    One object serves all calls of a process. The agent takes the turns: Sarvam is given only what
    the caller says, so silence costs nothing.

    Args:
        language: the language, such as ``hi-IN``, or ``auto``: Sarvam finds out which is spoken.
        model: ``saaras:v3-realtime`` or ``saaras:v4``.
        mode: what the final words are: ``transcribe`` them in their own script, ``translate`` them
            to English, write them ``verbatim``, in Latin letters (``translit``), or with English
            words in English (``codemix``). Interim words are always transcribed.
        stream_type: how interim words come: ``fast``, more accurate (``balanced``), or not at all
            (``simulated``). Final words are the same.
        prompt: what the call is about, which helps with the final words.
        keyterms: up to 50 names and terms that callers are likely to say; for ``saaras:v4``.
        connection: ``base_url``, ``api_key`` and ``connect_timeout``: see `SocketAccount`.

    Raises:
        ValueError: a setting is none that Sarvam takes.

    """

    name = SARVAM

    def __init__(
        self,
        language: str,
        *,
        model: str = "saaras:v3-realtime",
        mode: RecognitionMode = "transcribe",
        stream_type: StreamType = "fast",
        prompt: str | None = None,
        keyterms: Sequence[str] = (),
        **connection: Unpack[SocketAccountOptions],
    ) -> None:
        require_name(model=model)
        if language != "auto":
            language = require_indian_language(language, odia="or-IN")
        _require_one_of("mode", mode, get_args(RecognitionMode))
        _require_one_of("stream_type", stream_type, get_args(StreamType))
        self._query: dict[str, str | list[str]] = {
            "language_code": language,
            "model": model,
            "mode": mode,
            "stream_type": stream_type,
            "endpointing": "manual",
        }
        if prompt is not None:
            if not isinstance(prompt, str) or not prompt.strip():
                raise ValueError(f"prompt must be a text that is not empty, not {prompt!r}")
            self._query["prompt"] = prompt
        if keyterms:
            self._query["keyterms"] = _require_keyterms(keyterms, model)
        self._interim = stream_type != "simulated"
        self._account = sarvam_account(**connection)
        self._keep_alives = KeepAlives(_KEEP_ALIVE_EVERY)

    async def listen(self, format: AudioFormat) -> SarvamSession:
        """Open a session for a call.

        Raises:
            MisconfiguredServiceError: there is no key, or Sarvam refuses it.
            ServiceError: Sarvam cannot be reached, or refuses a setting.

        """
        wire = wire_format(format)
        query = {
            **self._query,
            "encoding": _ENCODINGS[wire.encoding],
            "sample_rate": str(wire.rate),
        }
        socket = await self._account.begin(_PATH, query, _has_begun)
        return SarvamSession(socket, format, interim=self._interim, keep_alives=self._keep_alives)

    async def check(self) -> None:
        """Open a session and end it, which costs nothing, as no audio is sent.

        Raises:
            MisconfiguredServiceError: there is no key, or Sarvam refuses it.
            ServiceError: Sarvam cannot be reached, or refuses a setting.

        """
        await (await self.listen(_CHECKED_WITH)).close()


def wire_format(format: AudioFormat) -> AudioFormat:
    """Return the format in which Sarvam hears a stream: its own, if Sarvam takes it."""
    return format if format.rate in _RATES else AudioFormat("l16", 16000)


def _has_begun(socket: ServiceSocket, received: bytes | str) -> bool:
    with socket.decoding(received):
        message = decode_saaras(received)
    if isinstance(message, SaarasFailure):
        _take_failure(message)
    return isinstance(message, SaarasBegan)


def _take_failure(failure: SaarasFailure) -> None:
    """Raise an error that is fatal, and log another."""
    reason = f"{failure.message or 'it failed'} ({failure.code or 'no code'})"
    if not failure.is_fatal:
        _log.warning("sarvam warns", service=SARVAM, warning=reason)
        return
    raise refused_with(SARVAM, reason, failure.status_code)


def _require_one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")


def _require_keyterms(keyterms: Sequence[str], model: str) -> str:
    if model != "saaras:v4":
        raise ValueError(f"keyterms are for saaras:v4, not for {model!r}")
    terms = require_terms(keyterms, most=_MOST_KEYTERMS, longest=_LONGEST_KEYTERM)
    return msgspec.json.encode(terms).decode()
