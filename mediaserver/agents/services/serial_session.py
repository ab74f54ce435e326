"""A connection of one call to a voice that speaks one text at a time."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import deque

from audiocodecs import AudioFormat
from mediaserver.agents.services.errors import ServiceError
from mediaserver.agents.services.serial_text import SerialText
from mediaserver.agents.services.voice import VoiceSession
from mediaserver.call import Frame


class SerialSession(VoiceSession):
    """The texts of a call, and the audio of the first of them.

    Args:
        format: the format of the audio.

    """

    def __init__(self, format: AudioFormat) -> None:
        self._format = format
        self._texts: deque[SerialText] = deque()
        self._odd = b""
        self._lost: ServiceError | None = None
        self._closed = False
        self._sending = asyncio.Lock()

    def begin(self) -> SerialText:
        """Begin a text."""
        text = SerialText(self)
        if self._lost is not None:
            text.frames.put_nowait(self._lost)
        else:
            self._texts.append(text)
        return text

    # For the texts.

    @abstractmethod
    async def go_on(self) -> None:
        """Send what there is of the present text, and begin with the next when it is spoken."""

    @abstractmethod
    async def forget(self, text: SerialText, *, sent: bool) -> None:
        """Have no more of a text spoken; `sent` says whether the service has some of it."""

    # For the session of a service.

    def _over(self, text: SerialText) -> None:
        """End a text that was spoken."""
        if self._texts and self._texts[0] is text:
            self._texts.popleft()
        text.frames.put_nowait(None)

    def _play(self, audio: bytes) -> None:
        """Take audio of the present text. A sample that is not whole waits for its rest."""
        if not self._texts:
            return
        audio = self._odd + audio
        whole = len(audio) - len(audio) % self._format.sample_bytes
        self._odd = audio[whole:]
        if whole:
            self._texts[0].frames.put_nowait(Frame(audio[:whole], self._format, "outbound"))

    async def _one_flushed(self) -> None:
        """Note that a flush was answered, and go on."""
        if self._texts and self._texts[0].flushing:
            self._odd = b""
            self._texts[0].flushed()
            await self.go_on()

    def _lose(self, error: ServiceError) -> None:
        """Have every text raise an error, unless they do already."""
        if self._lost is None:
            self._lost = error
            for text in self._texts:
                text.frames.put_nowait(error)
            self._texts.clear()
