"""Aura, Deepgram's voices.

https://developers.deepgram.com/reference/text-to-speech/speak-streaming. A connection speaks one
text at a time and tells no times of words. The next text is kept here until the one before it has
been spoken, so that ``Clear`` takes back no other text than that one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Unpack

import structlog

from audiocodecs import AudioFormat
from mediaserver.agents.services.deepgram.account import (
    DeepgramConnection,
    DeepgramService,
    require_between,
)
from mediaserver.agents.services.deepgram.messages import (
    CLEAR,
    CLOSE,
    FLUSH,
    AuraCleared,
    AuraFlushed,
    DeepgramFailure,
    DeepgramWarning,
    decode_deepgram,
    speak_message,
)
from mediaserver.agents.services.errors import ServiceError
from mediaserver.agents.services.serial_session import SerialSession
from mediaserver.agents.services.serial_text import SerialText
from mediaserver.agents.services.service_socket import ServiceSocket


_SESSION: Final = 3600.0
"""Seconds after which Deepgram ends a connection.
https://developers.deepgram.com/docs/streaming-text-to-speech."""

_LONGEST: Final = 2000
"""Characters that a message may have.
https://developers.deepgram.com/docs/streaming-text-to-speech."""

_FLUSHES: Final = 15
_FLUSHES_WITHIN: Final = 60.0
"""Deepgram takes 20 in a minute, and answers a further one with a warning and no audio; some are
kept for the ends of texts.
https://developers.deepgram.com/docs/tts-ws-flush."""

_CLEARED_WITHIN: Final = 2.0
"""Seconds in which a ``Clear`` must be answered, since nothing is heard before. Deepgram
publishes no limit; this one is our own."""

_RATES: Final = (8000, 16000, 24000, 32000, 48000)
"""Those of ``SpeakV1SampleRate`` in ``deepgram-sdk`` 7.17, which Deepgram generates from its
specification. An older reference had 44,100 Hz in place of 32,000."""

_log = structlog.get_logger("mediaserver.agents.deepgram")


class AuraSession(SerialSession):
    """A connection of one call to Aura.

    Args:
        service: the service's name, for errors.
        socket: the connection.
        format: the format of its audio.

    """

    expires_after: float | None = _SESSION

    def __init__(self, service: str, socket: ServiceSocket, format: AudioFormat) -> None:
        super().__init__(format)
        self._service = service
        self._socket = socket
        self._clears = 0  # that are not answered yet
        self._overdue: asyncio.TimerHandle | None = None
        self._flushed: deque[float] = deque(maxlen=_FLUSHES)
        self._loop = asyncio.get_running_loop()
        self._receiving = self._loop.create_task(self._receive(), name="deepgram-voice")

    async def close(self) -> None:
        """Close the connection. Does nothing if it is closed."""
        if self._closed:
            return
        self._closed = True
        self._expect_cleared(expected=False)
        self._receiving.cancel()
        await asyncio.wait((self._receiving,))
        for context in self._texts:
            context.frames.put_nowait(None)
        self._texts.clear()
        await self._socket.send(CLOSE)
        await self._socket.close()

    async def go_on(self) -> None:
        """Send what there is of the present text, and begin with the next when it is spoken."""
        async with self._sending:
            while self._texts:
                context = self._texts[0]
                pieces, flushes = context.take(longest=_LONGEST, may_flush=self._may_flush())
                for piece in pieces:
                    await self._socket.send(speak_message(piece))
                if flushes:
                    self._flushed.append(self._loop.time())
                    await self._socket.send(FLUSH)
                if not context.done:
                    return
                self._over(context)

    async def forget(self, context: SerialText, *, sent: bool) -> None:
        """Have no more of a text spoken; `sent` says whether Deepgram has some of it."""
        if context not in self._texts:
            return
        self._texts.remove(context)
        if sent:
            self._odd = b""
            self._clears += 1
            self._expect_cleared(expected=True)
            await self._socket.send(CLEAR)
        await self.go_on()

    def _may_flush(self) -> bool:
        full = len(self._flushed) == _FLUSHES
        return not full or self._loop.time() - self._flushed[0] > _FLUSHES_WITHIN

    async def _receive(self) -> None:
        try:
            while True:
                received = await self._socket.receive()
                if isinstance(received, bytes):
                    # What still comes after a Clear belongs to the text that was cleared.
                    if not self._clears:
                        self._play(received)
                    continue
                with self._socket.decoding(received):
                    message = decode_deepgram(received)
                if isinstance(message, AuraCleared):
                    self._clears = max(0, self._clears - 1)
                    self._expect_cleared(expected=self._clears > 0)
                elif isinstance(message, AuraFlushed):
                    if not self._clears:
                        await self._one_flushed()
                elif isinstance(message, DeepgramWarning):
                    self._warned(message)
                elif isinstance(message, DeepgramFailure):
                    reason = f"{message.description or 'it failed'} ({message.code or 'no code'})"
                    raise ServiceError(self._service, reason)
        except ServiceError as error:
            self._lose(error)

    def _lose(self, error: ServiceError) -> None:
        self._expect_cleared(expected=False)
        super()._lose(error)

    def _expect_cleared(self, *, expected: bool) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None
        if expected and self._lost is None and not self._closed:
            reason = f"it did not answer a Clear within {_CLEARED_WITHIN:g} s"
            error = ServiceError(self._service, reason)
            self._overdue = self._loop.call_later(_CLEARED_WITHIN, self._lose, error)

    def _warned(self, warning: DeepgramWarning) -> None:
        said = f"{warning.description or 'a warning'} ({warning.code or 'no code'})"
        # A flush that was not done is not answered. Another connection may flush again.
        if "flush" in said.lower() and self._texts and self._texts[0].flushing:
            raise ServiceError(self._service, said)
        _log.warning("deepgram warns", service=self._service, warning=said)


class DeepgramVoice(DeepgramService):
    """Speaks with Deepgram's Aura. One object serves all calls of a process.

    Args:
        model: the voice, such as ``aura-2-thalia-en``.
        speed: how fast it speaks, from 0.7 to 1.5 times as usual; None is as usual.
        mip_opt_out: whether the text is kept out of Deepgram's model improvement program.
        connection: ``base_url``, ``api_key`` and ``connect_timeout``: see `DeepgramAccount`.

    Raises:
        ValueError: a setting is none that Deepgram takes.

    """

    def __init__(
        self,
        model: str = "aura-2-thalia-en",
        *,
        speed: float | None = None,
        mip_opt_out: bool = False,
        **connection: Unpack[DeepgramConnection],
    ) -> None:
        super().__init__(model, connection)
        if speed is not None:
            self._query["speed"] = require_between("speed", speed, 0.7, 1.5)
        if mip_opt_out:
            self._query["mip_opt_out"] = "true"

    async def connect(self, format: AudioFormat) -> AuraSession:
        """Open a session for a call.

        Args:
            format: the stream's format, in which Aura speaks if it can; if not, at 24 kHz.

        Raises:
            ServiceError: Deepgram cannot be reached, or refuses the key or a setting.

        """
        spoken = format if format.rate in _RATES else AudioFormat("l16", 24000)
        socket = await self._account.connect("/v1/speak", self._query, spoken)
        return AuraSession(self.name, socket, spoken)
