"""One session of OpenAI's Realtime API that only transcribes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from audiocodecs import L16_24K, AudioFormat
from mediaserver.agents.services.errors import ServiceError
from mediaserver.agents.services.input_audio import InputAudio
from mediaserver.agents.services.openai.client import OpenAIClient
from mediaserver.agents.services.openai.heard_items import HeardItems
from mediaserver.agents.services.openai.realtime_connection import RealtimeConnection
from mediaserver.agents.services.openai.realtime_events import (
    ErrorEvent,
    InputCommitted,
    InputSpeechStarted,
    InputSpeechStopped,
    InputTranscribed,
    InputTranscriptDelta,
    ServerEvent,
    TranscriptionFailed,
    read_server_event,
)
from mediaserver.agents.services.recognizer import RecognizerEvent
from mediaserver.call import Frame


_SHORTEST: Final = 0.1
"""Seconds: the API refuses to transcribe less."""

_EXPIRES: Final = 3600.0
"""Seconds: "Your session hit the maximum duration of 60 minutes", the API says then."""

_NOTHING: Final = "input_audio_buffer_commit_empty"


class OpenAIRecognizerSession:
    """A session of `OpenAIRecognizer`, for one call.

    Args:
        client: describes failures.
        connection: the connection to the API.
        format: the call's audio format.
        takes_turns: whether the API takes the turns. If not, it transcribes what it is given from
            one `finish` to the next.

    """

    expires_after: float | None = _EXPIRES

    def __init__(
        self,
        client: OpenAIClient,
        connection: RealtimeConnection,
        *,
        format: AudioFormat,
        takes_turns: bool,
    ) -> None:
        self.takes_turns = takes_turns
        self.continuous = takes_turns
        self._client = client
        self._connection = connection
        wire = format if format.encoding != "l16" else L16_24K
        # What is shorter is filled up only if the times of the API do not count.
        shortest = 0.0 if takes_turns else _SHORTEST
        self._input = InputAudio(format, wire, live=takes_turns, shortest=shortest)
        self.piece = self._input.piece
        self._items = HeardItems()
        self._commits = 0
        self._waiting: asyncio.Timeout | None = None
        self._closed = False

    async def configure(self, settings: Mapping[str, Any]) -> None:
        """Set the session up, and wait until the API has agreed.

        Raises:
            ServiceError: the API refuses, or the connection was lost.

        """
        await self._connection.send({"type": "session.update", "session": settings})
        await self._connection.agreed()

    async def hear(self, frame: Frame) -> None:
        """Take the next audio."""
        items = self._items
        if not self.takes_turns and items.open is None:
            items.begin(items.heard)
        items.heard += frame.seconds
        if self._input.add(frame):
            await self._connection.append(self._input.take())

    async def finish(self) -> None:
        """Have all words of the audio so far told now."""
        items = self._items
        self._commits += 1
        name = f"commit-{self._commits}"
        commits = items.commit(name)
        complete = items.finish()
        if complete and self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(asyncio.get_running_loop().time())
        if commits:
            await self._connection.append(self._input.end_turn())
            await self._connection.send({"type": "input_audio_buffer.commit", "event_id": name})

    async def events(self) -> AsyncGenerator[RecognizerEvent, None]:
        """Yield what is understood until the session is closed.

        Raises:
            ServiceError: the connection was lost, or the API refused something.

        """
        while True:
            for told in self._items.news():
                yield told
            try:
                message = await self._receive()
            except ServiceError:
                if self._closed:
                    return
                raise
            if message is None:
                continue
            try:
                event = read_server_event(message)
            except ValueError as error:
                raise self._client.failure(f"a malformed event: {error}") from error
            self._take(event)

    async def close(self) -> None:
        """Close the connection. Does nothing if it is closed."""
        if not self._closed:
            self._closed = True
            await self._connection.close()

    async def _receive(self) -> bytes | None:
        """Return the next message; None if there is something to tell without one."""
        try:
            async with asyncio.timeout(None) as self._waiting:
                return await self._connection.receive()
        except TimeoutError:
            return None
        finally:
            self._waiting = None

    def _take(self, event: ServerEvent | None) -> None:
        """Note an event of the API."""
        items = self._items
        match event:
            case InputTranscriptDelta():
                items.added(event.item_id, event.delta or "")
            case InputTranscribed():
                items.transcribed(event.item_id, event.transcript, event.usage.seconds or 0.0)
            case TranscriptionFailed():
                failure = self._client.failure(str(event.error))
                if self.takes_turns:
                    # Nobody may ask for the words of a turn that the API has taken.
                    raise failure
                items.failed(event.item_id, failure)
            case InputCommitted():
                items.committed(event.item_id)
            case InputSpeechStarted():
                items.begin(event.audio_start_ms / 1000, event.item_id)
            case InputSpeechStopped():
                items.end(event.item_id, event.audio_end_ms / 1000)
            case ErrorEvent():
                if event.error.code != _NOTHING or not items.refused(event.error.event_id):
                    raise self._client.failure(str(event.error))
            case _:
                pass
