"""AssemblyAI's streaming recognition, which takes the turns.

https://www.assemblyai.com/docs/streaming/message-sequence.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, Unpack

from audiocodecs import AudioFormat
from mediaserver.agents.services.assemblyai.account import (
    AssemblyAIAccount,
    AssemblyAIConnection,
)
from mediaserver.agents.services.assemblyai.messages import (
    FORCE_ENDPOINT,
    TERMINATE,
    AssemblyAIFailure,
    AssemblyAISpeechStarted,
    AssemblyAITermination,
    AssemblyAITurn,
    configuration_message,
    decode_assemblyai,
)
from mediaserver.agents.services.assemblyai.settings import (
    AssemblyAILiveSettings,
    is_universal_3,
    live_settings,
    query_parameters,
)
from mediaserver.agents.services.errors import ServiceError
from mediaserver.agents.services.listening_session import ListeningSession
from mediaserver.agents.services.realtime import CallerFinished, CallerSpeaks
from mediaserver.agents.services.recognizer import (
    CallerGoesOn,
    CallerMayHaveFinished,
    RecognizedWords,
    RecognizerEvent,
)
from mediaserver.agents.services.service_socket import ServiceSocket
from mediaserver.agents.services.setting_values import require_name, require_within


_LONGEST: Final = 3 * 3600.0
"""Seconds that a session may last.
https://www.assemblyai.com/docs/streaming/common-session-errors-and-closures."""

_TURN_ENDS_WITHIN: Final = 3.0
"""Seconds in which the end of a turn is waited for. Without a turn, there is nothing to end."""

_RATES: Final = range(8000, 48001)


def assemblyai_format(format: AudioFormat) -> AudioFormat:
    """Return the format in which AssemblyAI hears a stream: its own, or linear PCM."""
    if format.rate not in _RATES:
        return AudioFormat("l16", 16000)
    return AudioFormat("l16", format.rate) if format.encoding == "alaw" else format


class AssemblyAISession(ListeningSession):
    """A connection of one call to AssemblyAI.

    Args:
        account: names the service, for errors.
        socket: the connection, on which the session has begun.
        format: the format of the frames.
        model: the model that hears.
        formatted: whether a turn is told once more after its end, with punctuation.
        expires_after: seconds after which AssemblyAI ends the session.

    """

    takes_turns = True
    shortest = 0.05
    finish_message = FORCE_ENDPOINT
    close_message = TERMINATE

    def __init__(
        self,
        account: AssemblyAIAccount,
        socket: ServiceSocket,
        format: AudioFormat,
        *,
        model: str,
        formatted: bool,
        expires_after: float,
    ) -> None:
        super().__init__(account.service, socket, format, assemblyai_format(format))
        self.expires_after = expires_after
        self._account = account
        self._model = model
        self._formatted = formatted
        self._ended = -1  # the order of the last turn that has ended
        self._open = False  # whether another has begun
        self._may_have_finished = False
        self._told = ""  # its interim words
        self._unformatted: AssemblyAITurn | None = None  # its end, which will be told once more
        self._through = 0.0  # the end of the last final words
        self._charged = 0.0  # seconds of audio

    async def update(self, **settings: Unpack[AssemblyAILiveSettings]) -> None:
        """Change settings while the caller speaks, such as `keyterms` or `agent_context`.

        Raises:
            ValueError: AssemblyAI does not take a value, or the model does not have the setting.

        """
        if fields := live_settings(self._model, settings):
            await self._socket.send(configuration_message(fields))

    def understood(self, received: bytes | str) -> Iterator[RecognizerEvent]:
        """Yield what a message means.

        Raises:
            ServiceError: it cannot be read, or says that the session is over.

        """
        with self._socket.decoding(received):
            message = decode_assemblyai(received)
        if isinstance(message, AssemblyAITurn):
            yield from self._take(message)
        elif isinstance(message, AssemblyAISpeechStarted):
            yield from self._begin()
        elif isinstance(message, AssemblyAIFailure):
            raise self._account.failure(message)
        elif isinstance(message, AssemblyAITermination) and not self._closed:
            raise ServiceError(self._service, "it ended the session")

    def unanswered(self) -> Iterator[RecognizerEvent]:
        """Yield the end of a turn that was not told once more, as it should have been."""
        if self._unformatted is not None:
            yield from self._end(self._unformatted)

    def _take(self, turn: AssemblyAITurn) -> Iterator[RecognizerEvent]:
        unformatted = self._unformatted
        if unformatted is not None and unformatted.turn_order != turn.turn_order:
            yield from self._end(unformatted)
            yield from self.completed(self.heard)
        if turn.turn_order <= self._ended:
            return  # told once more, although nobody asked for that
        if turn.text:
            yield from self._begin()
        if turn.end_of_turn and (turn.turn_is_formatted or not self._formatted):
            yield from self._end(turn)
            # AssemblyAI does not say how much silence it has heard after the last word.
            yield from self.completed(self.heard)
            return
        if turn.end_of_turn:
            self._unformatted = turn
        if turn.text != self._told:
            if self._may_have_finished:
                self._may_have_finished = False
                yield CallerGoesOn()
            self._told = turn.text
            yield self._words(turn)
        if turn.utterance and not self._may_have_finished and self._open:
            self._may_have_finished = True
            yield CallerMayHaveFinished()

    def _begin(self) -> Iterator[RecognizerEvent]:
        if not self._open:
            self._open = True
            self.answers_within = _TURN_ENDS_WITHIN
            yield CallerSpeaks()

    def _end(self, turn: AssemblyAITurn) -> Iterator[RecognizerEvent]:
        self._ended = turn.turn_order
        self._unformatted = None
        if self._open:
            self._open = False
            self.answers_within = ListeningSession.answers_within
            self._may_have_finished = False
            self._told = ""
            seconds, self._charged = self.heard - self._charged, self.heard
            words = self._words(turn, final=True, seconds=seconds)
            self._through = words.end
            yield words
            yield CallerFinished()

    def _words(
        self, turn: AssemblyAITurn, *, final: bool = False, seconds: float = 0.0
    ) -> RecognizedWords:
        words = turn.timed_words
        start = words[0].start if words else self._through
        end = max(start, words[-1].end) if words else start
        return RecognizedWords(turn.text, start, end, final=final, words=words, seconds=seconds)


class AssemblyAIRecognizer:
    """Recognises speech with AssemblyAI. One object serves all calls of a process.

    AssemblyAI tells when the caller begins and has finished. It charges for the time that a
    connection is open.

    Args:
        model: a Universal-3 model, such as ``universal-3-5-pro`` or ``u3-rt-pro``; or
            ``universal-streaming-english``, ``universal-streaming-multilingual`` or ``whisper-rt``.
        language_codes: the languages that callers are likely to speak, such as ``es``; for
            Universal-3 models.
        keyterms: names and terms that callers are likely to say: up to 100, of up to 50 characters.
        prompt: in words, what to expect of the audio; for Universal-3 models.
        min_turn_silence: seconds of silence after which a turn that seems complete ends.
        max_turn_silence: seconds of silence that end a turn in any case.
        end_of_turn_confidence_threshold: how sure Universal-Streaming must be that a turn is over,
            from 0 to 1. At 1 only silence of `max_turn_silence` ends it.
        vad_threshold: how sure it must be that a sound is speech, from 0 to 1.
        interruption_delay: seconds of speech, up to 1, after which the first interim words come;
            for Universal-3 models.
        mode: whether to be quick or right; for Universal-3 models.
        format_turns: whether Universal-Streaming writes turns with punctuation and capitals, for
            which the end of a turn waits. Universal-3 models always do.
        filter_profanity: whether profanities are left out.
        extra: further parameters of the connection, by AssemblyAI's names.
        connection: ``base_url``, ``api_key``, ``token`` and ``connect_timeout``: see
            `AssemblyAIAccount`.

    A setting that is None is left to AssemblyAI.

    Raises:
        ValueError: AssemblyAI does not take a value, or the model does not have the setting.

    """

    name = "assemblyai"

    def __init__(
        self,
        model: str = "universal-3-5-pro",
        *,
        language_codes: Sequence[str] = (),
        keyterms: Sequence[str] = (),
        prompt: str | None = None,
        min_turn_silence: float | None = None,
        max_turn_silence: float | None = None,
        end_of_turn_confidence_threshold: float | None = None,
        vad_threshold: float | None = None,
        interruption_delay: float | None = None,
        mode: Literal["min_latency", "balanced", "max_accuracy"] | None = None,
        format_turns: bool = False,
        filter_profanity: bool = False,
        extra: Mapping[str, str] | None = None,
        **connection: Unpack[AssemblyAIConnection],
    ) -> None:
        require_name(model=model)
        require_within(0, 1, interruption_delay=interruption_delay)
        if isinstance(language_codes, str):
            raise ValueError(f"language_codes are a list, not the text {language_codes!r}")
        for code in language_codes:
            require_name(language_codes=code)
        if mode not in (None, "min_latency", "balanced", "max_accuracy"):
            raise ValueError(f"mode is min_latency, balanced or max_accuracy, not {mode!r}")
        given: dict[str, Any] = {
            "keyterms": keyterms or None,
            "prompt": prompt,
            "min_turn_silence": min_turn_silence,
            "max_turn_silence": max_turn_silence,
            "end_of_turn_confidence_threshold": end_of_turn_confidence_threshold,
            "vad_threshold": vad_threshold,
        }
        live: Any = {name: value for name, value in given.items() if value is not None}
        only_universal_3 = {
            "language_codes": list(language_codes) or None,
            "interruption_delay": None
            if interruption_delay is None
            else round(interruption_delay * 1000),
            "mode": mode,
        }
        fields: dict[str, object] = {
            "speech_model": model,
            **live_settings(model, live),
            **{name: value for name, value in only_universal_3.items() if value is not None},
        }
        wrong = fields.keys() & only_universal_3.keys()
        if wrong and not is_universal_3(model):
            raise ValueError(f"{min(wrong)} is for Universal-3 models, not for {model!r}")
        if format_turns and is_universal_3(model):
            raise ValueError(f"format_turns is not for {model!r}, which formats every turn")
        if format_turns:
            fields["format_turns"] = True
        if filter_profanity:
            fields["filter_profanity"] = True
        self._query = {**query_parameters(fields), **(extra or {})}
        self._model = model
        self._formatted = format_turns
        self._account = AssemblyAIAccount(self.name, **connection)

    async def listen(self, format: AudioFormat) -> AssemblyAISession:
        """Open a session for a call.

        Raises:
            MisconfiguredServiceError: AssemblyAI refuses the key or a setting.
            ServiceError: AssemblyAI cannot be reached, or takes no more sessions.

        """
        socket, begin = await self._account.connect(self._query, assemblyai_format(format))
        left = begin.expires_at - time.time()
        return AssemblyAISession(
            self._account,
            socket,
            format,
            model=self._model,
            formatted=self._formatted,
            # This machine's clock may be wrong.
            expires_after=left if 0 < left <= _LONGEST else _LONGEST,
        )

    async def check(self) -> None:
        """Find out whether AssemblyAI accepts the key, which costs nothing.

        Raises:
            MisconfiguredServiceError: there is no key, or AssemblyAI refuses it.
            ServiceError: AssemblyAI cannot be reached.

        """
        await self._account.check()
