"""What the sessions of Deepgram's recognisers have in common."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from typing import Final

from audiocodecs import AudioFormat, Resampler
from mediaserver.agents.services.deepgram.messages import (
    CLOSE_STREAM,
    DeepgramFailure,
    DeepgramMessage,
    DeepgramWarning,
    decode_deepgram,
)
from mediaserver.agents.services.errors import ServiceError
from mediaserver.agents.services.recognizer import RecognizerEvent, WordsComplete
from mediaserver.agents.services.service_socket import ServiceSocket
from mediaserver.call import Frame


_PIECE: Final = 0.08
"""Seconds of audio in a message: Flux asks for 80 ms, and Nova takes 20 to 250.
https://developers.deepgram.com/docs/flux/quickstart."""

_FINISHED_WITHIN: Final = 0.5
"""Seconds after which words that were asked for are taken to be complete: Deepgram does not answer
if nothing was left to tell. https://developers.deepgram.com/docs/finalize."""

_SHORT_OF: Final = 0.5
"""Seconds of audio that an answer may lack, and still be the answer."""

_RATES: Final = (8000, 16000, 24000, 44100, 48000)


def listened_format(format: AudioFormat) -> AudioFormat:
    """Return the format in which Deepgram hears a stream: its own, if Deepgram takes it."""
    return format if format.rate in _RATES else AudioFormat("l16", 16000)


class ListeningSession(ABC):
    """A connection of one call to a recogniser of Deepgram's.

    Args:
        service: the service's name, for errors.
        socket: the connection.
        format: the format of the frames.

    """

    takes_turns = False
    continuous = True
    expires_after: float | None = None
    finish_message: str
    """The message that has all words told."""

    def __init__(self, service: str, socket: ServiceSocket, format: AudioFormat) -> None:
        self._service = service
        self._socket = socket
        self._wire = listened_format(format)
        self._resampler = None if self._wire is format else Resampler(format.rate, self._wire.rate)
        self._piece = round(_PIECE * self._wire.bytes_per_second)
        self._unsent = bytearray()
        self._sent = 0  # bytes
        self._finishing: deque[tuple[float, float]] = deque()
        """What was asked to be finished: seconds of audio, and until when it is waited for."""
        self._waiting = asyncio.timeout(None)
        self._receiving = False
        self._closed = False

    async def hear(self, frame: Frame) -> None:
        """Take the next audio, and send it as soon as it is enough for a message."""
        if self._resampler is None:
            self._unsent += frame.payload
        else:
            self._unsent += self._wire.encode(self._resampler.process(frame.samples))
        if len(self._unsent) >= self._piece:
            await self._send_audio()

    async def finish(self) -> None:
        """Have all words of the audio so far told now."""
        if self._unsent:
            await self._send_audio()
        until = asyncio.get_running_loop().time() + _FINISHED_WITHIN
        self._finishing.append((self._sent / self._wire.bytes_per_second, until))
        if len(self._finishing) == 1 and self._receiving and not self._waiting.expired():
            self._waiting.reschedule(until)
        await self._socket.send(self.finish_message)

    async def events(self) -> AsyncGenerator[RecognizerEvent, None]:
        """Yield what is understood until the session is closed.

        Raises:
            ServiceError: the connection was lost, or Deepgram refused something.

        """
        while True:
            try:
                async with asyncio.timeout_at(
                    self._finishing[0][1] if self._finishing else None
                ) as self._waiting:
                    self._receiving = True
                    try:
                        received = await self._socket.receive()
                    finally:
                        self._receiving = False
            except TimeoutError:
                yield WordsComplete(self._finishing.popleft()[0])
                continue
            except ServiceError:
                if self._closed:
                    return
                raise
            with self._socket.decoding(received):
                message = decode_deepgram(received)
            if message is None or isinstance(message, DeepgramWarning):
                continue
            if isinstance(message, DeepgramFailure):
                reason = f"{message.description or 'it failed'} ({message.code or 'no code'})"
                raise ServiceError(self._service, reason)
            for event in self.understood(message):
                yield event

    async def close(self) -> None:
        """Close the connection. Does nothing if it is closed."""
        if not self._closed:
            self._closed = True
            await self._socket.send(CLOSE_STREAM)
            await self._socket.close()

    @abstractmethod
    def understood(self, message: DeepgramMessage) -> Iterator[RecognizerEvent]:
        """Yield what a message means."""

    def completed(self, end: float) -> Iterator[RecognizerEvent]:
        """Yield the answer to `finish`, if all words before `end` seconds are it."""
        if self._finishing and end >= self._finishing[0][0] - _SHORT_OF:
            yield WordsComplete(self._finishing.popleft()[0])

    async def _send_audio(self) -> None:
        piece = bytes(self._unsent)
        self._unsent.clear()
        self._sent += len(piece)
        await self._socket.send(piece)
