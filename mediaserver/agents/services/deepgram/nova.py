"""Nova, which recognises speech as it comes.

https://developers.deepgram.com/reference/speech-to-text/listen-streaming.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Unpack

from audiocodecs import AudioFormat
from mediaserver.agents.services.deepgram.account import (
    DeepgramConnection,
    DeepgramService,
    require_between,
    require_text,
    switches,
    text_lists,
)
from mediaserver.agents.services.deepgram.listening_session import (
    DeepgramSession,
    listened_format,
)
from mediaserver.agents.services.deepgram.messages import (
    FINALIZE,
    KEEP_ALIVE,
    DeepgramMessage,
    NovaResults,
)
from mediaserver.agents.services.keep_alive import KeepAlives
from mediaserver.agents.services.recognizer import RecognizedWords, RecognizerEvent
from mediaserver.agents.services.service_socket import ServiceSocket


_KEEP_ALIVE_EVERY: Final = 3.0
"""Seconds. Deepgram closes a connection after 10 s without a message, and asks for one every 3 to
5 s: https://developers.deepgram.com/docs/audio-keep-alive."""


class NovaSession(DeepgramSession):
    """A connection of one call to Nova.

    Nova may leave a `finish` unanswered if little audio is left. One that leaves two in a row
    unanswered, each after an utterance, and says nothing in between, has stalled.
    """

    finish_message = FINALIZE
    unanswered_at_most = 1

    def __init__(
        self,
        service: str,
        socket: ServiceSocket,
        format: AudioFormat,
        *,
        continuous: bool,
        keep_alives: KeepAlives,
    ) -> None:
        super().__init__(service, socket, format)
        self.continuous = continuous
        self._keep_alives = keep_alives
        self._kept = -1  # bytes that had been sent when it was kept alive last
        self._told = False  # whether there are interim words
        keep_alives.add(self)

    async def keep_alive(self) -> None:
        """Send something, if nothing was sent since this was called last."""
        if self._kept == self._sent:
            await self._socket.send(KEEP_ALIVE)
        self._kept = self._sent

    async def close(self) -> None:
        """Close the connection. Does nothing if it is closed."""
        self._keep_alives.remove(self)
        await super().close()

    def told(self, message: DeepgramMessage) -> Iterator[RecognizerEvent]:
        """Yield what a message means."""
        if not isinstance(message, NovaResults):
            return
        end = message.start + message.duration
        if message.is_final or message.text or self._told:
            self._told = bool(message.text) and not message.is_final
            yield RecognizedWords(
                message.text,
                message.start,
                end,
                final=message.is_final,
                words=message.words,
                seconds=message.duration if message.is_final else 0.0,
            )
        if message.from_finalize:
            yield from self.completed(end)


class DeepgramRecognizer(DeepgramService):
    """Recognises speech with Deepgram's Nova models. One object serves all calls of a process.

    Args:
        model: the model, such as ``nova-3`` or ``nova-2-phonecall``.
        language: the language, such as ``en-US``, or ``multi``; None is Deepgram's default.
        keyterms: names and terms that callers are likely to say; for Nova-3.
        smart_format: whether numbers, dates and the like are written as one writes them.
        punctuate: whether sentences have punctuation; None leaves it to `smart_format`.
        numerals: whether numbers are written with digits.
        profanity_filter: whether profanities are left out.
        redact: kinds of information that are left out, such as ``pci``.
        endpointing: seconds of silence after which Nova has its words final by itself. None
            switches that off: an agent asks for the words when the caller has finished.
        speech_only: whether Nova is given only what the caller says, so that silence costs nothing.
        mip_opt_out: whether the audio is kept out of Deepgram's model improvement program.
        tags: names under which Deepgram's usage report counts the requests.
        connection: ``base_url``, ``api_key`` and ``connect_timeout``: see `DeepgramAccount`.

    Raises:
        ValueError: a setting is none that Deepgram takes.

    """

    def __init__(
        self,
        model: str = "nova-3",
        *,
        language: str | None = None,
        keyterms: Sequence[str] = (),
        smart_format: bool = True,
        punctuate: bool | None = None,
        numerals: bool = False,
        profanity_filter: bool = False,
        redact: Sequence[str] = (),
        endpointing: float | None = None,
        speech_only: bool = False,
        mip_opt_out: bool = False,
        tags: Sequence[str] = (),
        **connection: Unpack[DeepgramConnection],
    ) -> None:
        if keyterms and not model.startswith("nova-3"):
            raise ValueError(f"keyterms are for nova-3, not for {model!r}")
        super().__init__(model, connection)
        self._query |= {"interim_results": "true", "endpointing": "false"}
        if language is not None:
            self._query["language"] = require_text("language", language)
        if endpointing is not None:
            require_between("endpointing (seconds)", endpointing, 0.01, 10)
            self._query["endpointing"] = str(round(endpointing * 1000))
        if punctuate is not None:
            self._query["punctuate"] = str(bool(punctuate)).lower()
        self._query |= switches(
            smart_format=smart_format,
            numerals=numerals,
            profanity_filter=profanity_filter,
            mip_opt_out=mip_opt_out,
        )
        self._query |= text_lists(keyterm=keyterms, redact=redact, tag=tags)
        self._speech_only = speech_only
        self._keep_alives = KeepAlives(_KEEP_ALIVE_EVERY)

    async def listen(self, format: AudioFormat) -> NovaSession:
        """Open a session for a call.

        Raises:
            ServiceError: Deepgram cannot be reached, or refuses the key or a setting.

        """
        socket = await self._account.connect("/v1/listen", self._query, listened_format(format))
        return NovaSession(
            self.name,
            socket,
            format,
            continuous=not self._speech_only,
            keep_alives=self._keep_alives,
        )
