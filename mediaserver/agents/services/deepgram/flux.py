"""Flux, which recognises speech as it comes and takes the turns.

https://developers.deepgram.com/reference/speech-to-text/listen-flux and
https://developers.deepgram.com/docs/flux/state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Unpack

from audiocodecs import AudioFormat
from mediaserver.agents.services.deepgram.account import (
    DeepgramConnection,
    DeepgramService,
    require_between,
    switches,
    text_lists,
)
from mediaserver.agents.services.deepgram.listening_session import (
    DeepgramSession,
    listened_format,
)
from mediaserver.agents.services.deepgram.messages import (
    FORCE_END_TURN,
    DeepgramMessage,
    FluxTurn,
)
from mediaserver.agents.services.realtime import CallerFinished, CallerSpeaks
from mediaserver.agents.services.recognizer import (
    CallerGoesOn,
    CallerMayHaveFinished,
    RecognizedWords,
    RecognizerEvent,
)
from mediaserver.agents.services.service_socket import ServiceSocket


class FluxSession(DeepgramSession):
    """A connection of one call to Flux.

    Flux has no message that keeps a connection open. While no audio comes, such as while the phone
    rings, WebSocket pings do, at least one in 60 s; `ServiceSocket` sends one every 20 s.
    https://github.com/deepgram/deepgram-python-sdk/issues/618.

    Flux says something for each quarter of a second of audio, even if it is silence, so one that
    says nothing for seconds has stalled: https://developers.deepgram.com/docs/flux/state.
    """

    takes_turns = True
    silent_at_most = 4.0
    finish_message = FORCE_END_TURN

    def __init__(self, service: str, socket: ServiceSocket, format: AudioFormat) -> None:
        super().__init__(service, socket, format)
        self._told = ""  # the interim words
        self._charged = 0.0  # seconds of audio

    def told(self, message: DeepgramMessage) -> Iterator[RecognizerEvent]:
        """Yield what a message means."""
        if not isinstance(message, FluxTurn):
            return
        if message.event == "StartOfTurn":
            yield CallerSpeaks()
        elif message.event == "TurnResumed":
            yield CallerGoesOn()
        if message.event == "EndOfTurn":
            self._told = ""
            end = message.audio_window_end
            seconds, self._charged = end - self._charged, end
            yield self._words(message, final=True, seconds=seconds)
            yield CallerFinished()
            yield from self.completed(end)
        elif message.transcript != self._told:
            self._told = message.transcript
            yield self._words(message)
        if message.event == "EagerEndOfTurn":
            yield CallerMayHaveFinished()

    def _words(
        self, turn: FluxTurn, *, final: bool = False, seconds: float = 0.0
    ) -> RecognizedWords:
        words = turn.timed_words
        start = words[0].start if words else turn.audio_window_start
        return RecognizedWords(
            turn.transcript,
            start,
            turn.audio_window_end,
            final=final,
            words=words,
            seconds=max(0.0, seconds),
        )


class FluxRecognizer(DeepgramService):
    """Recognises speech with Deepgram's Flux. One object serves all calls of a process.

    Flux tells when the caller begins, has likely finished, goes on and has finished.

    Args:
        model: ``flux-general-en``, or ``flux-general-multi`` for ten languages.
        eot_threshold: how sure it must be that the caller has finished, from 0.5 to 1; at 1 only
            silence of `eot_timeout` ends a turn. None is Deepgram's default, 0.7.
        eager_eot_threshold: how sure it must be to say that the caller has likely finished, from
            0.3 to 0.9 and at most `eot_threshold`. None: it does not say so.
        eot_timeout: seconds of silence that end a turn in any case, from 0.5 to 60. None is
            Deepgram's default, 5 s.
        keyterms: names and terms that callers are likely to say.
        language_hints: the languages that callers are likely to speak; for ``flux-general-multi``.
        numerals: whether numbers are written with digits.
        profanity_filter: whether profanities are left out.
        mip_opt_out: whether the audio is kept out of Deepgram's model improvement program.
        tags: names under which Deepgram's usage report counts the requests.
        connection: ``base_url``, ``api_key`` and ``connect_timeout``: see `DeepgramAccount`.

    Raises:
        ValueError: a setting is none that Deepgram takes.

    """

    def __init__(
        self,
        model: str = "flux-general-en",
        *,
        eot_threshold: float | None = None,
        eager_eot_threshold: float | None = None,
        eot_timeout: float | None = None,
        keyterms: Sequence[str] = (),
        language_hints: Sequence[str] = (),
        numerals: bool = False,
        profanity_filter: bool = False,
        mip_opt_out: bool = False,
        tags: Sequence[str] = (),
        **connection: Unpack[DeepgramConnection],
    ) -> None:
        if language_hints and not model.endswith("-multi"):
            raise ValueError(f"language_hints are for flux-general-multi, not for {model!r}")
        super().__init__(model, connection)
        if eot_threshold is not None:
            self._query["eot_threshold"] = require_between("eot_threshold", eot_threshold, 0.5, 1)
        if eager_eot_threshold is not None:
            most = min(0.9, eot_threshold or 0.7)
            self._query["eager_eot_threshold"] = require_between(
                "eager_eot_threshold", eager_eot_threshold, 0.3, most
            )
        if eot_timeout is not None:
            require_between("eot_timeout (seconds)", eot_timeout, 0.5, 60)
            self._query["eot_timeout_ms"] = str(round(eot_timeout * 1000))
        self._query |= switches(
            numerals=numerals, profanity_filter=profanity_filter, mip_opt_out=mip_opt_out
        )
        self._query |= text_lists(keyterm=keyterms, language_hint=language_hints, tag=tags)

    async def listen(self, format: AudioFormat) -> FluxSession:
        """Open a session for a call.

        Raises:
            ServiceError: Deepgram cannot be reached, or refuses the key or a setting.

        """
        socket = await self._account.connect("/v2/listen", self._query, listened_format(format))
        return FluxSession(self.name, socket, format)
