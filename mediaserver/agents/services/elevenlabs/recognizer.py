"""Scribe, ElevenLabs' recognition of speech as it comes.

https://elevenlabs.io/docs/developer-guides/cookbooks/speech-to-text/realtime/transcripts-and-commit-strategies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, Unpack

import structlog

from audiocodecs import AudioFormat
from mediaserver.agents.services.elevenlabs.messages import ELEVENLABS
from mediaserver.agents.services.elevenlabs.scribe_messages import (
    ScribeCommitted,
    ScribeFailure,
    ScribeMessage,
    ScribePartial,
    ScribeStarted,
    ScribeThrottled,
    decode_scribe,
    scribe_chunk,
)
from mediaserver.agents.services.errors import refused_with
from mediaserver.agents.services.listening_session import ListeningSession
from mediaserver.agents.services.recognizer import (
    RecognizedWords,
    RecognizerEvent,
    WordsComplete,
)
from mediaserver.agents.services.service_socket import ServiceSocket
from mediaserver.agents.services.setting_values import (
    require_name,
    require_terms,
    require_text_list,
)
from mediaserver.agents.services.socket_account import SocketAccount, SocketAccountOptions


_PATH: Final = "/v1/speech-to-text/realtime"
_RATES: Final = (8000, 16000, 22050, 24000, 44100, 48000)
_CHECKED_WITH: Final = AudioFormat("mulaw", 8000)

_MOST_KEYTERMS: Final = 50
_LONGEST_KEYTERM: Final = 20

_log = structlog.get_logger("mediaserver.agents.elevenlabs")


class ScribeSession(ListeningSession):
    """A connection of one call to Scribe, which is told when the caller has finished.

    Args:
        socket: the connection, which has said that the session is open.
        format: the format of the frames.

    """

    answers_within = 3.0
    unanswered_at_most = 1
    close_message = None

    def __init__(self, socket: ServiceSocket, format: AudioFormat) -> None:
        super().__init__(ELEVENLABS, socket, format, _heard_format(format))
        self.finish_message = scribe_chunk(b"", self._wire.rate, commit=True)
        self._from = 0.0  # seconds of audio before the words that are not final
        self._text = ""  # the interim words

    def audio_message(self, audio: bytes) -> str:
        """Return the message with a piece of audio."""
        return scribe_chunk(audio, self._wire.rate)

    def understood(self, received: bytes | str) -> Iterator[RecognizerEvent]:
        """Yield what a message means."""
        with self._socket.decoding(received):
            message = decode_scribe(received)
        _raise_failure(message)
        if isinstance(message, ScribePartial) and message.text != self._text:
            self._text = message.text
            yield RecognizedWords(self._text.strip(), self._from, self._end)
        elif isinstance(message, ScribeCommitted):
            yield self._final(message.text)
            if self._finishing:
                yield WordsComplete(self._finishing.popleft()[0])
        elif isinstance(message, ScribeThrottled):
            _log.warning("elevenlabs warns", service=ELEVENLABS, warning=message.error)
            if self._finishing:
                yield from self.unanswered()
                yield WordsComplete(self._finishing.popleft()[0])

    def unanswered(self) -> Iterator[RecognizerEvent]:
        """Yield the interim words as final."""
        yield self._final(self._text)

    @property
    def _end(self) -> float:
        return self._finishing[0][0] if self._finishing else self.heard

    def _final(self, text: str) -> RecognizedWords:
        start, self._from, self._text = self._from, self._end, ""
        seconds = self._from - start
        return RecognizedWords(text.strip(), start, self._from, final=True, seconds=seconds)


class ElevenLabsRecognizer:
    """Recognises speech with ElevenLabs' Scribe; the agent takes the turns.

    One object serves all calls of a process. Scribe hears the whole call, and is asked for its
    words (``commit``) when the caller has finished.

    Args:
        model: the model, such as ``scribe_v2_realtime``.
        language: the language, such as ``en`` or ``deu``; None: Scribe finds out which is spoken.
        secondary_languages: further languages that may be spoken.
        keyterms: names and terms that callers are likely to say: 50 at most, each of at most 20
            characters.
        no_verbatim: whether fillers and false starts are left out.
        filter_background_audio: whether other people's voices and noise are filtered out.
        logging: whether ElevenLabs may keep what it hears; False is for enterprises.
        connection: ``base_url``, ``api_key`` and ``connect_timeout``: see `SocketAccount`.

    Raises:
        ValueError: a setting is none that ElevenLabs takes.

    """

    name = ELEVENLABS

    def __init__(
        self,
        model: str = "scribe_v2_realtime",
        *,
        language: str | None = None,
        secondary_languages: Sequence[str] = (),
        keyterms: Sequence[str] = (),
        no_verbatim: bool = False,
        filter_background_audio: bool = False,
        logging: bool = True,
        **connection: Unpack[SocketAccountOptions],
    ) -> None:
        require_name(model=model)
        self._query: dict[str, str | list[str]] = {"model_id": model, "commit_strategy": "manual"}
        if language is not None:
            self._query["language_code"] = _require_language("language", language)
        if secondary_languages:
            self._query["secondary_languages"] = [
                _require_language("each of secondary_languages", each)
                for each in require_text_list("secondary_languages", secondary_languages)
            ]
        if keyterms:
            self._query["keyterms"] = require_terms(
                keyterms, most=_MOST_KEYTERMS, longest=_LONGEST_KEYTERM
            )
        for name, switched in (
            ("no_verbatim", no_verbatim),
            ("filter_background_audio", filter_background_audio),
        ):
            if switched:
                self._query[name] = "true"
        if not logging:
            self._query["enable_logging"] = "false"
        self._account = SocketAccount(
            ELEVENLABS,
            "ELEVENLABS_API_KEY",
            "wss://api.elevenlabs.io",
            lambda key: {"xi-api-key": key},
            **connection,
        )

    async def listen(self, format: AudioFormat) -> ScribeSession:
        """Open a session for a call.

        Raises:
            MisconfiguredServiceError: there is no key, or ElevenLabs refuses it.
            ServiceError: ElevenLabs cannot be reached, or refuses a setting.

        """
        wire = _heard_format(format)
        encoding = "ulaw" if wire.encoding == "mulaw" else "pcm"
        query = {**self._query, "audio_format": f"{encoding}_{wire.rate}"}
        return ScribeSession(await self._account.begin(_PATH, query, _has_begun), format)

    async def check(self) -> None:
        """Open a session and close it, which costs nothing, as no audio is sent.

        Raises:
            MisconfiguredServiceError: there is no key, or ElevenLabs refuses it.
            ServiceError: ElevenLabs cannot be reached, or refuses a setting.

        """
        await (await self.listen(_CHECKED_WITH)).close()


def _heard_format(format: AudioFormat) -> AudioFormat:
    """Return the format in which Scribe hears a stream: its own, if Scribe takes it."""
    if format.encoding == "mulaw" and format.rate == 8000:
        return format
    rate = format.rate if format.rate in _RATES else 16000
    return format if (format.encoding, format.rate) == ("l16", rate) else AudioFormat("l16", rate)


def _has_begun(socket: ServiceSocket, received: bytes | str) -> bool:
    with socket.decoding(received):
        message = decode_scribe(received)
    _raise_failure(message)
    return isinstance(message, ScribeStarted)


def _raise_failure(message: ScribeMessage | None) -> None:
    if isinstance(message, ScribeFailure):
        reason = f"{message.error or 'no reason was given'} ({message.message_type})"
        raise refused_with(ELEVENLABS, reason, message.status)


def _require_language(name: str, language: str) -> str:
    if not isinstance(language, str) or not re.fullmatch("[a-z]{2,3}", language):
        raise ValueError(f"{name} must be like 'en' or 'deu', not {language!r}")
    return language
