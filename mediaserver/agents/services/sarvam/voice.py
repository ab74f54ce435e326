"""Bulbul, Sarvam's voices.

https://docs.sarvam.ai/api-reference-docs/api-guides-tutorials/text-to-speech/streaming-api/web-socket.
A connection speaks one text at a time and tells no times of words. No message takes back what
Sarvam has been asked to speak: at an interruption the connection is replaced by another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Unpack

from audiocodecs import AudioFormat
from mediaserver.agents.services.errors import ServiceError, refused_with
from mediaserver.agents.services.keep_alive import KeepAlives
from mediaserver.agents.services.sarvam.account import (
    SARVAM,
    require_indian_language,
    sarvam_account,
)
from mediaserver.agents.services.sarvam.bulbul_messages import (
    BULBUL_FLUSH,
    BULBUL_PING,
    BulbulAudio,
    BulbulEvent,
    BulbulFailure,
    bulbul_config,
    bulbul_text,
    decode_bulbul,
)
from mediaserver.agents.services.serial_session import SerialSession
from mediaserver.agents.services.serial_text import SerialText
from mediaserver.agents.services.service_socket import ServiceSocket
from mediaserver.agents.services.setting_values import require_name, require_within
from mediaserver.agents.services.socket_account import SocketAccountOptions


_PATH: Final = "/text-to-speech/ws"
_CODECS: Final = {"mulaw": "mulaw", "alaw": "alaw", "l16": "linear16"}
_RATES: Final = (8000, 16000, 22050, 24000)
_CHECKED_WITH: Final = AudioFormat("mulaw", 8000)

_LONGEST: Final = 2500
"""Characters that a message may have."""

_KEEP_ALIVE_EVERY: Final = 15.0
"""Seconds. Sarvam closes a connection after a minute without a message."""

_V2: Final = "bulbul:v2"


class BulbulSession(SerialSession):
    """The connection of one call to Bulbul, and those that replace it.

    Sarvam says ``final`` when it has spoken what a flush asked for, and does not say which flush
    that was. So one flush is under way at a time, and the text after it waits until it is answered.

    Args:
        socket: the connection.
        reopen: opens another one.
        format: the format of the audio.
        keep_alives: what keeps connections open.

    """

    expires_after = None

    def __init__(
        self,
        socket: ServiceSocket,
        reopen: Callable[[], Awaitable[ServiceSocket]],
        format: AudioFormat,
        keep_alives: KeepAlives,
    ) -> None:
        super().__init__(format)
        self._socket: ServiceSocket | None = socket
        self._reopen = reopen
        self._closing: set[asyncio.Task[None]] = set()
        self._sent = 0  # messages
        self._kept = -1  # messages that had been sent when it was kept alive last
        self._task = asyncio.create_task(self._receive(socket), name="sarvam-voice")
        self._keep_alives = keep_alives
        keep_alives.add(self)

    async def close(self) -> None:
        """Close the connection. Does nothing if it is closed."""
        if self._closed:
            return
        self._closed = True
        self._keep_alives.remove(self)
        self._lose(ServiceError(SARVAM, "the session was closed"))
        self._task.cancel()
        await asyncio.wait((self._task, *self._closing))
        if self._socket is not None:
            await self._socket.close()

    async def keep_alive(self) -> None:
        """Send something, if nothing was sent since this was called last."""
        if self._kept == self._sent and self._socket is not None:
            await self._socket.send(BULBUL_PING)
        self._kept = self._sent

    # For the texts.

    async def go_on(self) -> None:
        """Send what there is of the present text, and begin with the next when it is spoken."""
        async with self._sending:
            while self._texts and self._socket is not None and not self._texts[0].flushing:
                text = self._texts[0]
                pieces, flushes = text.take(longest=_LONGEST)
                for piece in pieces:
                    await self._send(bulbul_text(piece))
                if flushes:
                    await self._send(BULBUL_FLUSH)
                if not text.done:
                    return
                self._over(text)

    async def forget(self, text: SerialText, *, sent: bool) -> None:
        """Have no more of a text spoken; `sent` says whether Sarvam has some of it."""
        if text not in self._texts:
            return
        self._texts.remove(text)
        if sent and self._socket is not None:
            old, self._socket = self._socket, None
            self._task.cancel()
            self._task = asyncio.create_task(self._replace(old), name="sarvam-voice")
        await self.go_on()

    async def _send(self, message: str) -> None:
        self._sent += 1
        if self._socket is not None:
            await self._socket.send(message)

    async def _replace(self, old: ServiceSocket) -> None:
        """Open another connection, and go on with the texts that wait for it."""
        closing = asyncio.create_task(old.close(), name="closes a connection")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        try:
            socket = await self._reopen()
        except ServiceError as error:
            self._lose(error)
            return
        self._odd = b""
        self._socket = socket
        await self.go_on()
        await self._receive(socket)

    async def _receive(self, socket: ServiceSocket) -> None:
        try:
            while True:
                received = await socket.receive()
                with socket.decoding(received):
                    message = decode_bulbul(received)
                if isinstance(message, BulbulAudio):
                    self._play(message.data.audio)
                elif isinstance(message, BulbulEvent) and message.final:
                    await self._one_flushed()
                elif isinstance(message, BulbulFailure):
                    raise _failure(message)
        except ServiceError as error:
            self._lose(error)


class SarvamVoice:
    """Speaks Indian languages, and English, with Sarvam's Bulbul. One object serves all calls.

    Args:
        language: the language of the text, such as ``hi-IN``.
        speaker: the voice, which has to be one of the model's.
        model: ``bulbul:v3``, ``bulbul:v4-flash`` or ``bulbul:v2``.
        pace: how fast it speaks: from 0.5 to 2 times as usual; with ``bulbul:v2``, from 0.3 to 3.
        temperature: how much it varies, from 0.01 to 1; not for ``bulbul:v2``.
        pronunciation_dict_id: a dictionary of pronunciations; not for ``bulbul:v2``.
        pitch: from -0.75, deep, to 0.75; for ``bulbul:v2``, as the next two.
        loudness: from 0.3 to 3 times as usual.
        enable_preprocessing: whether numbers, dates and English words are written out first. Later
            models always do that.
        connection: ``base_url``, ``api_key`` and ``connect_timeout``: see `SocketAccount`.

    Raises:
        ValueError: a setting is none that Sarvam takes.

    """

    name = SARVAM

    def __init__(
        self,
        language: str,
        *,
        speaker: str = "shubh",
        model: str = "bulbul:v3",
        pace: float | None = None,
        temperature: float | None = None,
        pronunciation_dict_id: str | None = None,
        pitch: float | None = None,
        loudness: float | None = None,
        enable_preprocessing: bool | None = None,
        **connection: Unpack[SocketAccountOptions],
    ) -> None:
        require_name(speaker=speaker, model=model, pronunciation_dict_id=pronunciation_dict_id)
        if speaker != speaker.lower():
            raise ValueError(f"speaker must be in lower case, not {speaker!r}")
        slowest, fastest = (0.3, 3) if model == _V2 else (0.5, 2)
        require_within(slowest, fastest, pace=pace)
        require_within(0.01, 1, temperature=temperature)
        require_within(-0.75, 0.75, pitch=pitch)
        require_within(0.3, 3, loudness=loudness)
        later = {"temperature": temperature, "dict_id": pronunciation_dict_id}
        older = {
            "pitch": pitch,
            "loudness": loudness,
            "enable_preprocessing": enable_preprocessing,
        }
        for name, value in (later if model == _V2 else older).items():
            if value is not None:
                name = "pronunciation_dict_id" if name == "dict_id" else name
                raise ValueError(f"{name} is not for {model!r}: leave it out, not {value!r}")
        given = {"pace": pace, **later, **older}
        self._model = model
        self._settings: dict[str, Any] = {
            "model": model,
            "language_code": require_indian_language(language, odia="od-IN"),
            "speaker": speaker,
            **{name: value for name, value in given.items() if value is not None},
        }
        self._account = sarvam_account(**connection)
        self._keep_alives = KeepAlives(_KEEP_ALIVE_EVERY)

    async def connect(self, format: AudioFormat) -> BulbulSession:
        """Open a session for a call.

        Args:
            format: the stream's format, in which Bulbul speaks if it can; if not, at 24 kHz.

        Raises:
            MisconfiguredServiceError: there is no key, or Sarvam refuses it.
            ServiceError: Sarvam cannot be reached, or refuses the connection.

        """
        spoken = format if format.rate in _RATES else AudioFormat("l16", 24000)
        settings = {
            **self._settings,
            "speech_sample_rate": spoken.rate,
            "output_audio_codec": _CODECS[spoken.encoding],
        }

        async def opened() -> ServiceSocket:
            query = {"model": self._model, "send_completion_event": "true"}
            socket = await self._account.connect(_PATH, query)
            await socket.send(bulbul_config(settings))
            return socket

        return BulbulSession(await opened(), opened, spoken, self._keep_alives)

    async def check(self) -> None:
        """Open a connection and close it: nothing is spoken, so nothing is charged.

        Raises:
            MisconfiguredServiceError: there is no key, or Sarvam refuses it.
            ServiceError: Sarvam cannot be reached.

        """
        await (await self.connect(_CHECKED_WITH)).close()


def _failure(failure: BulbulFailure) -> ServiceError:
    return refused_with(SARVAM, failure.data.message or "it failed", failure.status)
