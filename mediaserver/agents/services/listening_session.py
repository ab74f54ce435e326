"""What the sessions of recognisers with a WebSocket have in common."""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from itertools import pairwise
from typing import Final

from audiocodecs import AudioFormat, Resampler
from mediaserver.agents.services.errors import ServiceError
from mediaserver.agents.services.recognizer import RecognizerEvent, WordsComplete
from mediaserver.agents.services.service_socket import ServiceSocket
from mediaserver.call import Frame


_SHORT_OF: Final = 0.5
"""Seconds of audio that an answer may lack, and still be the answer."""


class ListeningSession(ABC):
    """A connection of one call to a recogniser.

    Audio is sent in pieces, and the rest of it when the caller has finished. A service that has
    nothing left to tell may not answer `finish`: after `answers_within` seconds, the session does.

    Args:
        service: the service's name, for errors.
        socket: the connection.
        format: the format of the frames.
        wire: the format that the service hears; the same object if it takes the frames as they are.

    """

    takes_turns = False
    continuous = True
    expires_after: float | None = None

    piece = 0.08
    """Seconds of audio in a message."""

    shortest = 0.0
    """Seconds that a message must have at least. What is shorter waits for the next audio."""

    longest = 1.0
    """Seconds that a message may have at most."""

    answers_within = 0.5
    """Seconds after which words that were asked for are taken to be complete."""

    silent_at_most: float | None = None
    """Seconds, of audio and of time, after which a service that says nothing of it has stalled.
    None: it may say nothing."""

    unanswered_at_most = 3
    """How many `finish` in a row a service may leave without an answer, while it says nothing else
    either; with more, it has stalled. A service that says nothing of a cough may do so a few times;
    one that answers each `finish` may not."""

    finish_message: str
    """The message that has all words told."""

    close_message: str | None
    """The message that ends the session; None if closing the connection does."""

    def __init__(
        self, service: str, socket: ServiceSocket, format: AudioFormat, wire: AudioFormat
    ) -> None:
        self._service = service
        self._socket = socket
        self._format = format
        self._wire = wire
        self._resampler = Resampler(format.rate, wire.rate) if format.rate != wire.rate else None
        self._piece = round(self.piece * wire.bytes_per_second)
        self._shortest = max(1, round(self.shortest * wire.bytes_per_second))
        self._longest = round(self.longest * wire.bytes_per_second)
        self._unsent = bytearray()
        self._sent = 0  # bytes
        self._finishing: deque[tuple[float, float]] = deque()
        """What was asked to be finished: seconds of audio, and when it was asked for."""
        self._waiting = asyncio.timeout(None)
        # Since the service has said something: when audio was sent first, and what had been before.
        self._unheeded: tuple[float, float] | None = None
        self._stalled = False
        self._unanswered = 0  # `finish` after audio, since the service has said something
        self._known_to = 0.0  # seconds of audio whose words are told, or taken to be
        self._receiving = False
        self._closed = False

    @property
    def heard(self) -> float:
        """Seconds of audio that were sent."""
        return self._sent / self._wire.bytes_per_second

    async def hear(self, frame: Frame) -> None:
        """Take the next audio, and send it as soon as it is enough for a message."""
        if self._wire is self._format:
            self._unsent += frame.payload
        elif self._resampler is None:
            self._unsent += self._wire.encode(frame.samples)
        else:
            self._unsent += self._wire.encode(self._resampler.process(frame.samples))
        if len(self._unsent) >= self._piece:
            await self._send_audio()

    async def finish(self) -> None:
        """Have all words of the audio so far told now."""
        if len(self._unsent) >= self._shortest:
            await self._send_audio()
        self._expect_answer()
        await self._socket.send(self.finish_message)

    async def events(self) -> AsyncGenerator[RecognizerEvent, None]:
        """Yield what is understood until the session is closed.

        Raises:
            ServiceError: the connection was lost, or the service refused something.

        """
        while True:
            try:
                async with asyncio.timeout_at(self._until()) as self._waiting:
                    self._receiving = True
                    try:
                        received = await self._socket.receive()
                    finally:
                        self._receiving = False
            except TimeoutError:
                if self._stalled:
                    reason = f"it has said nothing of {self.silent_at_most:g} s of audio"
                    raise ServiceError(self._service, reason) from None
                through = self._finishing.popleft()[0]
                self._count_unanswered(through)
                for event in self.unanswered():
                    yield event
                yield WordsComplete(through)
                continue
            except ServiceError:
                if self._closed:
                    return
                raise
            self._unheeded = None
            self._unanswered = 0
            for event in self.understood(received):
                yield event

    async def close(self) -> None:
        """Close the connection. Does nothing if it is closed."""
        if not self._closed:
            self._closed = True
            if self.close_message is not None:
                await self._socket.send(self.close_message)
            await self._socket.close()

    @abstractmethod
    def understood(self, received: bytes | str) -> Iterator[RecognizerEvent]:
        """Yield what a message of the service means.

        Raises:
            ServiceError: it cannot be read, or says that the service refuses or ends something.

        """

    def unanswered(self) -> Iterator[RecognizerEvent]:
        """Yield what is still to be told when the service has not answered `finish`."""
        return iter(())

    def completed(self, end: float) -> Iterator[RecognizerEvent]:
        """Yield `WordsComplete` if `finish` asked only for words before `end` seconds."""
        if self._finishing and end >= self._finishing[0][0] - _SHORT_OF:
            self._known_to = self._finishing.popleft()[0]
            yield WordsComplete(self._known_to)

    def audio_message(self, audio: bytes) -> bytes | str:
        """Return the message with a piece of audio: the audio itself, if it is sent as binary."""
        return audio

    def _expect_answer(self) -> None:
        """Wait for the answer to `finish`, from now on."""
        self._finishing.append((self.heard, asyncio.get_running_loop().time()))
        if len(self._finishing) == 1:
            self._reschedule()

    def _reschedule(self) -> None:
        if self._receiving and not self._waiting.expired():
            self._waiting.reschedule(self._until())

    def _until(self) -> float | None:
        if self._stalled:
            return -math.inf
        return self._finishing[0][1] + self.answers_within if self._finishing else None

    def _count_unanswered(self, through: float) -> None:
        if through - self._known_to > _SHORT_OF:
            self._unanswered += 1
        self._known_to = through
        if self._unanswered > self.unanswered_at_most:
            reason = f"it has told no words when asked {self._unanswered} times, and nothing else"
            raise ServiceError(self._service, reason)

    def _notice_stall(self, longest: float) -> None:
        now = asyncio.get_running_loop().time()
        if self._unheeded is None:
            self._unheeded = now, self.heard
            return
        since, before = self._unheeded
        # Both: a session that replaces another is given much audio at once, and one that hears
        # only speech is given none for long.
        if not self._stalled and now - since > longest and self.heard - before > longest:
            self._stalled = True
            self._reschedule()

    async def _send_audio(self) -> None:
        if self.silent_at_most is not None:
            self._notice_stall(self.silent_at_most)
        audio = bytes(self._unsent)
        self._unsent.clear()
        self._sent += len(audio)
        if len(audio) <= self._longest:
            await self._socket.send(self.audio_message(audio))
            return
        # Parts of equal size, so that none is too short.
        samples = len(audio) // self._wire.sample_bytes
        count = -(-len(audio) // self._longest)
        ends = [samples * n // count * self._wire.sample_bytes for n in range(count + 1)]
        for begin, end in pairwise(ends):
            await self._socket.send(self.audio_message(audio[begin:end]))
