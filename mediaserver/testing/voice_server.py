"""A WebSocket server on this machine that speaks: tones for words, in the loop's time.

What it is asked in, and answers in, is what a subclass says: see `mediaserver.testing.elevenlabs`
and `mediaserver.testing.cartesia`.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Literal, Self, TypeVar
from urllib.parse import parse_qs, urlsplit

import msgspec
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from audiocodecs import AudioFormat
from mediaserver.testing.http_server import RefusedError
from mediaserver.testing.services import GAP_SECONDS, WORD_SECONDS, Timing, tones


T = TypeVar("T")

POLICY_VIOLATION: Final = 1008


@dataclass(frozen=True, slots=True)
class VoiceFault:
    """How a connection fails.

    Attributes:
        kind: ``stall``: nothing more comes; ``disconnect``: the connection breaks; ``malformed``:
            a message comes that is no JSON; ``limit``: the session has come to its limit.
        after: number of words that are spoken before it.
        connections: number of connections that fail, from the first on.

    """

    kind: Literal["stall", "disconnect", "malformed", "limit"]
    after: int = 0
    connections: int = 1


@dataclass(frozen=True, slots=True)
class ServedWord:
    """A word as the server speaks it.

    Attributes:
        text: the word as the service says it.
        audio: its audio.
        start: seconds from the first sample of its context.
        length: seconds of sound in it; the rest is silence.

    """

    text: str
    audio: bytes
    start: float
    length: float


class VoiceServer(ABC):
    """Speaks on 127.0.0.1, as an async context manager. A word sounds as with `TimedSpeech`.

    Args:
        port: where to listen; 0 is any free port.
        api_key: the only key that it takes.
        timing: of the words: the first after it was asked to speak, and each after the one before.
        spoken_as: words that it says otherwise, as services do with numbers.
        odd: whether audio comes in pieces that end within a sample.
        fault: how connections fail.

    Attributes:
        sessions: the connections, oldest first.
        refused: why requests and messages were refused, oldest first.

    """

    def __init__(
        self,
        *,
        port: int = 0,
        api_key: str = "key",
        timing: Timing | None = None,
        spoken_as: Mapping[str, str] | None = None,
        odd: bool = False,
        fault: VoiceFault | None = None,
    ) -> None:
        self.api_key = api_key
        self.timing = timing or Timing()
        self.spoken_as = spoken_as or {}
        self.odd = odd
        self.fault = fault
        self.sessions: list[ServedVoice] = []
        self.refused: list[str] = []
        self._port = port
        self._refusals: deque[RefusedError] = deque()

    @property
    def base_url(self) -> str:
        """The address, without a path."""
        return f"ws://127.0.0.1:{self._port}"

    def refuse(self, *statuses: int) -> None:
        """Refuse the next connections with these HTTP statuses."""
        self._refusals.extend(RefusedError(status, "refused by the test") for status in statuses)

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._serve, "127.0.0.1", self._port, process_request=self._admit, compression=None
        )
        self._port = next(iter(self._server.sockets)).getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    # What a service says.

    @abstractmethod
    def admit(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> None:
        """Check a request.

        Raises:
            RefusedError: the service would refuse it.

        """

    @abstractmethod
    async def take(self, session: ServedVoice, message: str) -> None:
        """Do what a message asks for.

        Raises:
            RefusedError: the service would refuse it.

        """

    @abstractmethod
    def spoken(self, text: ServedText, word: ServedWord) -> Sequence[dict[str, Any]]:
        """Return the messages with a word."""

    @abstractmethod
    def over(self, text: ServedText) -> dict[str, Any]:
        """Return the message that ends a context."""

    @abstractmethod
    def error(self, session: ServedVoice, refused: RefusedError) -> dict[str, Any]:
        """Return the message that refuses something."""

    # The connections.

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        parts = urlsplit(request.path)
        query = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        try:
            if self._refusals:
                raise self._refusals.popleft()
            for name, values in query.items():
                if len(values) > 1:
                    raise RefusedError(400, f"{name} is there {len(values)} times")
            single = {name: values[0] for name, values in query.items()}
            self.admit(parts.path, single, {k.lower(): v for k, v in request.headers.raw_items()})
        except RefusedError as refused:
            self.refused.append(refused.message)
            return connection.respond(HTTPStatus(refused.status), refused.message)
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        session = ServedVoice(self, connection, connection.request)
        self.sessions.append(session)
        try:
            async for message in connection:
                await session.take(message)
        except ConnectionClosed:
            pass
        finally:
            await session.stop()


class ServedVoice:
    """A connection.

    Attributes:
        query: the parameters of the address.
        headers: the headers of the request, by their names in lower case.
        received: the messages, oldest first.
        texts: the contexts that are open, by their ids.
        format: the format of the audio, as it was asked for.

    """

    def __init__(self, server: VoiceServer, connection: ServerConnection, request: Request) -> None:
        self.server = server
        self.query = {k: v[0] for k, v in parse_qs(urlsplit(request.path).query).items()}
        self.headers = {name.lower(): value for name, value in request.headers.raw_items()}
        self.received: list[dict[str, Any]] = []
        self.texts: dict[str, ServedText] = {}
        self.format = AudioFormat("l16", 16000)
        self.context: str | None = None
        """The context of the last message."""
        self._connection = connection
        self._words = 0
        self._stalled = asyncio.get_running_loop().create_future()
        fault = server.fault
        fails = fault is not None and len(server.sessions) < fault.connections
        self._fault = fault if fails else None

    async def take(self, message: str | bytes) -> None:
        """Do what a message asks for, or close the connection because of it."""
        try:
            if isinstance(message, bytes):
                raise RefusedError(400, "a binary message; text is expected")
            await self.server.take(self, message)
            self.received.append(msgspec.json.decode(message))
        except RefusedError as refused:
            self.server.refused.append(refused.message)
            await self.refuse(refused)

    async def refuse(self, refused: RefusedError) -> None:
        """Say what is wrong, and close the connection."""
        await self.send(self.server.error(self, refused))
        await self._connection.close(POLICY_VIOLATION, refused.message[:100])

    async def close(self) -> None:
        """Close the connection as it should be."""
        await self._connection.close()

    def drop(self) -> None:
        """Break the connection."""
        self._connection.transport.abort()

    def text(self, context: str) -> ServedText:
        """Return a context, which is opened if it is not there."""
        if context not in self.texts:
            self.texts[context] = ServedText(self, context)
        return self.texts[context]

    async def send(self, message: dict[str, Any]) -> None:
        """Send a message, unless the client has gone."""
        with suppress(ConnectionClosed):
            await self._connection.send(msgspec.json.encode(message).decode())

    async def say(self, text: ServedText, word: ServedWord) -> None:
        """Send a word, or fail as the test has asked."""
        if self._fault is not None and self._words >= self._fault.after:
            match self._fault.kind:
                case "stall":
                    await self._stalled
                case "disconnect":
                    self.drop()
                case "malformed":
                    await self._connection.send('{"audio": nothing')
                case "limit":
                    await self._connection.close(POLICY_VIOLATION, "the session is too long")
            return
        self._words += 1
        for message in self.server.spoken(text, word):
            await self.send(message)

    async def stop(self) -> None:
        """End all contexts."""
        for text in list(self.texts.values()):
            await text.stop()


class ServedText:
    """A context: the text of it that is not spoken yet, and what speaks it.

    Attributes:
        name: its id.
        pending: the text that waits for more, or for a flush.
        settings: what its first message says beside the text.
        timer: what ends it if nothing comes for it.

    """

    def __init__(self, session: ServedVoice, name: str) -> None:
        self.session = session
        self.name = name
        self.pending = ""
        self.settings: Any = None
        self.ended = False
        self.timer: asyncio.TimerHandle | None = None
        self._words: deque[str] = deque()
        self._woken = asyncio.Event()
        self._seconds = 0.0
        self._clock = asyncio.get_running_loop().time
        self._due = 0.0
        self._task = asyncio.create_task(self._speak())

    def flush(self) -> None:
        """Speak what is pending."""
        if not self._words:
            self._due = max(self._due, self._clock() + self.session.server.timing.first)
        self._words.extend(self.pending.split())
        self.pending = ""
        self._woken.set()

    def end(self) -> None:
        """Say that it is over when all that was flushed is spoken."""
        self.ended = True
        self.pending = ""
        self._woken.set()

    def cancel(self) -> None:
        """Speak nothing more."""
        self._words.clear()
        self.end()

    async def stop(self) -> None:
        """Speak nothing more, and say nothing."""
        if self.timer is not None:
            self.timer.cancel()
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _speak(self) -> None:
        server = self.session.server
        while not self.ended or self._words:
            if not self._words:
                await self._woken.wait()
                self._woken.clear()
                continue
            await asyncio.sleep(self._due - self._clock())
            self._due += server.timing.interval
            if self._words:
                await self.session.say(self, self._sound(self._words.popleft()))
        if self.timer is not None:
            self.timer.cancel()
        del self.session.texts[self.name]
        await self.session.send(server.over(self))

    def _sound(self, word: str) -> ServedWord:
        format = self.session.format
        start = self._seconds
        self._seconds += WORD_SECONDS
        audio = format.encode(tones(1, format.rate))
        text = self.session.server.spoken_as.get(word, word)
        return ServedWord(text, audio, start, WORD_SECONDS - GAP_SECONDS)


def pieces(audio: bytes, *, odd: bool) -> list[bytes]:
    """Return audio in one piece, or in two of which the first ends within a sample."""
    if not odd:
        return [audio]
    cut = len(audio) // 2 | 1
    return [audio[:cut], audio[cut:]]


def decode_closed(message: str, kind: type[T]) -> T:
    """Return a message of a closed type.

    Raises:
        RefusedError: it has unknown fields, or values that its type does not allow.

    """
    try:
        return msgspec.json.decode(message, type=kind)
    except msgspec.ValidationError as error:
        raise RefusedError(400, f"invalid message: {error}") from None
    except msgspec.DecodeError as error:
        raise RefusedError(400, f"not JSON: {error}") from None


__all__ = [
    "ServedText",
    "ServedVoice",
    "ServedWord",
    "VoiceFault",
    "VoiceServer",
    "decode_closed",
    "pieces",
]
