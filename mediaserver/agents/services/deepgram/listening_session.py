"""What the sessions of Deepgram's recognisers have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Final

from audiocodecs import AudioFormat
from mediaserver.agents.services.deepgram.messages import (
    CLOSE_STREAM,
    DeepgramFailure,
    DeepgramMessage,
    DeepgramWarning,
    decode_deepgram,
)
from mediaserver.agents.services.errors import ServiceError
from mediaserver.agents.services.listening_session import ListeningSession
from mediaserver.agents.services.recognizer import RecognizerEvent
from mediaserver.agents.services.service_socket import ServiceSocket


_RATES: Final = (8000, 16000, 24000, 44100, 48000)


def listened_format(format: AudioFormat) -> AudioFormat:
    """Return the format in which Deepgram hears a stream: its own, if Deepgram takes it."""
    return format if format.rate in _RATES else AudioFormat("l16", 16000)


class DeepgramSession(ListeningSession):
    """A connection of one call to a recogniser of Deepgram's.

    Deepgram does not answer `finish` if nothing was left to tell:
    https://developers.deepgram.com/docs/finalize. A piece of audio has 80 ms, as Flux asks for
    (https://developers.deepgram.com/docs/flux/quickstart) and Nova takes: 20 to 250 ms
    (https://developers.deepgram.com/docs/measuring-streaming-latency).

    Args:
        service: the service's name, for errors.
        socket: the connection.
        format: the format of the frames.

    """

    close_message = CLOSE_STREAM

    def __init__(self, service: str, socket: ServiceSocket, format: AudioFormat) -> None:
        super().__init__(service, socket, format, listened_format(format))

    def understood(self, received: bytes | str) -> Iterator[RecognizerEvent]:
        """Yield what a message means."""
        with self._socket.decoding(received):
            message = decode_deepgram(received)
        if isinstance(message, DeepgramFailure):
            reason = f"{message.description or 'it failed'} ({message.code or 'no code'})"
            raise ServiceError(self._service, reason)
        if message is not None and not isinstance(message, DeepgramWarning):
            yield from self.told(message)

    @abstractmethod
    def told(self, message: DeepgramMessage) -> Iterator[RecognizerEvent]:
        """Yield what a message about the caller's speech means."""
