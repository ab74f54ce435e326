"""A voice of one's own: a service that speaks over a WebSocket, for agents to use.

The service takes JSON and answers with audio. A text has an id of ours:

    → {"text": "Good ", "id": "1"}   {"flush": "1"}   {"end": "1"}   {"clear": "1"}
    ← {"id": "1", "audio": "base64 of mu-law at 8 kHz"}   {"id": "1", "done": true}

docs/writing-services.md explains it, and tests/test_own_voice.py hands it to the contract.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import suppress

import msgspec

from audiocodecs import MULAW_8K, AudioFormat
from mediaserver import Frame
from mediaserver.agents.services import ServiceError, WordMark
from mediaserver.agents.services.service_socket import ServiceKey, ServiceSocket


NAME = "own voice"


class Answer(msgspec.Struct):
    """A message of the service. Fields that are not named here are ignored."""

    id: str
    audio: bytes = b""  # base64 in JSON
    done: bool = False
    error: str | None = None


class OwnVoice:
    """A `Voice`. One object serves all calls; it holds no connection of its own.

    Args:
        api_key: the key; None takes it from ``OWN_VOICE_API_KEY``.
        base_url: where the service is.

    """

    def __init__(
        self, *, api_key: str | None = None, base_url: str = "wss://voice.example.com"
    ) -> None:
        self._key = ServiceKey(NAME, api_key, "OWN_VOICE_API_KEY")
        self._base_url = base_url

    async def check(self) -> None:
        """Find out when the server starts whether the key is accepted; a session costs nothing."""
        await (await self.connect(MULAW_8K)).close()

    async def connect(self, format: AudioFormat) -> OwnVoiceSession:
        """Open a session. The service has one format, which agents convert if need be."""
        key = self._key.get()
        socket = await ServiceSocket.connect(
            NAME,
            f"{self._base_url}/speak",
            headers={"Authorization": f"Bearer {key}"},
            within=5.0,
            secret=key,
        )
        return OwnVoiceSession(socket)


class OwnVoiceSession:
    """A connection for one call. A task takes what comes, and gives it to the texts."""

    expires_after: float | None = 600.0

    def __init__(self, socket: ServiceSocket) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._texts: dict[str, OwnVoiceText] = {}
        self._lost: ServiceError | None = None
        self._task = asyncio.create_task(self._take(), name="own voice")

    def begin(self) -> OwnVoiceText:
        """Begin a text."""
        text = OwnVoiceText(self, str(next(self._ids)))
        if self._lost is not None:
            text.put(self._lost)
        else:
            self._texts[text.id] = text
        return text

    async def send(self, message: dict[str, str]) -> None:
        """Send a message; if the connection is lost, the speech tells of it."""
        await self._socket.send(msgspec.json.encode(message).decode())

    def forget(self, text: OwnVoiceText) -> None:
        """Give a text nothing more of what comes."""
        self._texts.pop(text.id, None)

    async def close(self) -> None:
        """Close the connection, which ends all speech."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._end(ServiceError(NAME, "the session was closed"))
        await self._socket.close()

    async def _take(self) -> None:
        try:
            while True:
                message = await self._socket.receive()
                with self._socket.decoding(message):
                    answer = msgspec.json.decode(message, type=Answer)
                if text := self._texts.get(answer.id):
                    text.put(answer)
        except ServiceError as error:
            self._end(error)

    def _end(self, error: ServiceError) -> None:
        self._lost = error
        for text in self._texts.values():
            text.put(error)
        self._texts.clear()


class OwnVoiceText:
    """A `VoiceContext`: a text, and the speech that comes of it."""

    def __init__(self, session: OwnVoiceSession, name: str) -> None:
        self.id = name
        self._session = session
        self._is_empty = True
        self._is_over = False
        self._came: asyncio.Queue[Answer | ServiceError] = asyncio.Queue()

    def put(self, item: Answer | ServiceError) -> None:
        """Take what came for this text."""
        self._came.put_nowait(item)

    async def say(self, text: str) -> None:
        """Send a piece as it is."""
        if not self._is_over:
            self._is_empty = False
            await self._session.send({"text": text, "id": self.id})

    async def flush(self) -> None:
        """Have it spoken now."""
        if not (self._is_over or self._is_empty):
            await self._session.send({"flush": self.id})

    async def end(self) -> None:
        """Note that it is complete; the service does not know a text without a piece."""
        if self._is_empty:
            await self.clear()
        elif not self._is_over:
            self._is_over = True
            await self._session.send({"end": self.id})

    async def clear(self) -> None:
        """Drop what came and what will come, and end the speech."""
        self._session.forget(self)
        while not self._came.empty():
            self._came.get_nowait()
        self.put(Answer(self.id, done=True))
        if not self._is_empty:
            await self._session.send({"clear": self.id})
        self._is_over = self._is_empty = True

    async def speech(self) -> AsyncIterator[Frame | WordMark]:
        """Yield the audio; without marks, agents estimate the places of words."""
        while True:
            item = await self._came.get()
            if isinstance(item, ServiceError):
                raise item
            if item.error is not None:
                raise ServiceError(NAME, item.error)
            if item.audio:
                yield Frame(item.audio, MULAW_8K, "outbound")
            if item.done:
                self._session.forget(self)
                return
