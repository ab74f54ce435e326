"""Sarvam's WebSocket for recognition on this machine. It needs no key, no network.

The server says what a test tells it to say, when the audio of the connection is there::

    async with SaarasServer("I want to book a table.") as sarvam:
        recognizer = SarvamRecognizer("en-IN", base_url=sarvam.base_url, api_key=sarvam.api_key)
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, Self
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from audiocodecs import AudioFormat, Encoding
from mediaserver.testing.heard_speech import HeardSpeech
from mediaserver.testing.http_server import RefusedError
from mediaserver.testing.sarvam.saaras_schema import (
    SaarasAudioInput,
    SaarasConfigUpdate,
    SaarasEnd,
    SaarasFlush,
    SaarasPing,
    SaarasRequest,
    SaarasSpeechEnd,
    SaarasSpeechStart,
    read_saaras_query,
)
from mediaserver.testing.voice_server import POLICY_VIOLATION, VoiceFault, decode_closed


_PATH: Final = "/speech-to-text-realtime/ws"
_ENCODINGS: Final[dict[str, Encoding]] = {"linear16": "l16", "mulaw": "mulaw", "alaw": "alaw"}
_REQUEST: Final[Any] = SaarasRequest
_IDLE: Final = 60.0
_UNSUPPORTED: Final = 1003
_REJECTED: Final = 4000
_INTERIM: Final = 0.25


class SaarasServer:
    """Recognises on 127.0.0.1, as an async context manager.

    Args:
        *texts: what callers say, one text for each time that they speak.
        api_key: the only key that it takes.
        final_after: seconds from the end of an utterance to its final words.
        answers_silence: whether an utterance without words is answered.
        fault: how connections fail; `after` counts messages with words.

    Attributes:
        base_url: the address, without a path.
        sessions: the connections, oldest first.
        refused: why connections and messages were refused, oldest first.
        texts: what will be said.

    """

    def __init__(
        self,
        *texts: str,
        api_key: str = "key",
        final_after: float = 0.1,
        answers_silence: bool = True,
        fault: VoiceFault | None = None,
    ) -> None:
        self.base_url = ""
        self.api_key = api_key
        self.final_after = final_after
        self.answers_silence = answers_silence
        self.fault = fault
        self.texts = deque(texts)
        self.sessions: list[ServedListener] = []
        self.refused: list[str] = []
        self._refusals: deque[int] = deque()

    def refuse(self, *statuses: int) -> None:
        """Refuse the next connections with these statuses, as Sarvam does: after the handshake."""
        self._refusals.extend(statuses)

    @property
    def open(self) -> int:
        """The number of connections that are open."""
        return sum(session.open for session in self.sessions)

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._serve, "127.0.0.1", 0, process_request=self._admit, compression=None
        )
        port = next(iter(self._server.sockets)).getsockname()[1]
        self.base_url = f"ws://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    def check(self, request: Request) -> dict[str, str]:
        """Return the parameters of a connection.

        Raises:
            RefusedError: the service would refuse it.

        """
        if self._refusals:
            raise RefusedError(self._refusals.popleft(), "refused by the test")
        if request.headers.get("api-subscription-key") != self.api_key:
            raise RefusedError(403, "Invalid API key", "invalid_api_key_error")
        return read_saaras_query(urlsplit(request.path).query)

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        if urlsplit(request.path).path == _PATH:
            return None
        self.refused.append(f"there is no {request.path}")
        return connection.respond(HTTPStatus.NOT_FOUND, self.refused[-1])

    async def _serve(self, connection: ServerConnection) -> None:
        session = ServedListener(self, connection)
        self.sessions.append(session)
        try:
            await session.run()
        except ConnectionClosed:
            pass
        except RefusedError as refused:
            self.refused.append(refused.message)
            await session.refuse(refused)
        finally:
            session.stop()


class ServedListener:
    """A connection.

    Attributes:
        query: the parameters of the address.
        headers: the headers of the request, by their names in lower case.
        received: the events, oldest first; of audio, only that it came.
        seconds: seconds of audio.
        open: whether it is open.

    """

    def __init__(self, server: SaarasServer, connection: ServerConnection) -> None:
        assert connection.request is not None, "the handshake is over"
        self.server = server
        self.query: dict[str, str] = {}
        self.headers = {k.lower(): v for k, v in connection.request.headers.raw_items()}
        self.received: list[dict[str, Any]] = []
        self.open = True
        self._connection = connection
        self._request = connection.request
        self._speech = HeardSpeech(AudioFormat("l16", 16000), server.texts)
        self._speaking = False
        self._utterance = 0
        self._interim_at = 0.0
        self._told = 0
        fault = server.fault
        fails = fault is not None and len(server.sessions) < fault.connections
        self._fault = fault if fails else None
        self._failed = False

    @property
    def seconds(self) -> float:
        """Seconds of audio."""
        return self._speech.seconds

    def drop(self) -> None:
        """Break the connection."""
        self._connection.transport.abort()

    def stop(self) -> None:
        """Note that it is over: what was not told is said again on another connection."""
        self.open = False
        self._speech.give_back()

    async def run(self) -> None:
        """Serve until it closes."""
        self.query = self.server.check(self._request)
        encoding = self.query.get("encoding", "linear16")
        if encoding not in _ENCODINGS:
            raise RefusedError(400, f"this server does not hear {encoding}")
        if self.query.get("endpointing", "vad") != "manual":
            raise RefusedError(400, "this server takes only manual endpointing")
        rate = int(self.query.get("sample_rate", "16000"))
        self._speech = HeardSpeech(AudioFormat(_ENCODINGS[encoding], rate), self.server.texts)
        config = {**self.query, "turn_detection": "manual", "sample_rate": rate}
        await self._send({"event": "session.begin", "request_id": "request-1", "config": config})
        while True:
            try:
                async with asyncio.timeout(_IDLE):
                    message = await self._connection.recv()
            except TimeoutError:
                await self._end(POLICY_VIOLATION, "Inactivity timeout")
                return
            if isinstance(message, bytes):
                raise RefusedError(400, "a binary message; text is expected")
            asked: SaarasRequest = decode_closed(message, _REQUEST)
            await self._take(asked)

    async def refuse(self, refused: RefusedError) -> None:
        """Say what is wrong, and close the connection."""
        await self._send(
            {
                "event": "error",
                "code": refused.code or "invalid_request",
                "is_fatal": True,
                "message": refused.message,
                "status_code": refused.status,
            }
        )
        code = _UNSUPPORTED if refused.status in (401, 403, 429) else _REJECTED
        await self._connection.close(code, refused.message[:100])

    async def _take(self, asked: SaarasRequest) -> None:
        if isinstance(asked, SaarasAudioInput):
            self.received.append({"event": "audio_input"})
            await self._hear(asked.audio)
            return
        self.received.append(msgspec.to_builtins(asked))
        if isinstance(asked, SaarasSpeechStart):
            self._within_utterance(speaking=False)
            self._speaking = True
        elif isinstance(asked, SaarasSpeechEnd | SaarasFlush):
            self._within_utterance(speaking=True)
            self._speaking = isinstance(asked, SaarasFlush)
            await self._finalize()
        elif isinstance(asked, SaarasPing):
            await self._send({"event": "pong"})
        elif isinstance(asked, SaarasConfigUpdate):
            fields = msgspec.structs.asdict(asked)
            applied = [name for name, value in fields.items() if value is not None]
            await self._send({"event": "config.updated", "applied": applied})
        elif isinstance(asked, SaarasEnd):
            await self._end(1000, "")

    def _within_utterance(self, *, speaking: bool) -> None:
        if self._speaking is not speaking:
            raise RefusedError(400, "speech_start and speech_end must take turns")

    async def _hear(self, audio: bytes) -> None:
        self._within_utterance(speaking=True)
        speech = self._speech
        speech.add(audio)
        interim = self.query.get("stream_type") != "simulated"
        if interim and speech.speaking and speech.seconds >= self._interim_at:
            self._interim_at = speech.seconds + _INTERIM
            await self._tell("partial", " ".join(word.text for word in speech.words()))

    async def _finalize(self) -> None:
        text = " ".join(word.text for word in self._speech.words()) if self._speech.speaking else ""
        if text or self.server.answers_silence:
            await asyncio.sleep(self.server.final_after)
            await self._tell("final", text)
        # What could not be sent is said again on the next connection.
        if not self._failed:
            self._speech.take()
        self._utterance += 1

    async def _tell(self, kind: str, text: str) -> None:
        if self._fault is not None and self._told >= self._fault.after:
            self._failed = True
            match self._fault.kind:
                case "stall":
                    await asyncio.get_running_loop().create_future()
                case "disconnect":
                    self.drop()
                case "malformed":
                    await self._connection.send('{"event":"transcript.final","text":')
                case "limit":
                    await self._end(1000, "the session is too long")
            return
        self._told += 1
        await self._send(
            {"event": f"transcript.{kind}", "utterance_idx": self._utterance, "text": text}
        )

    async def _end(self, code: int, reason: str) -> None:
        await self._send(
            {
                "event": "session.end",
                "request_id": "request-1",
                "total_utterances": self._utterance,
                "audio_duration_s": self.seconds,
            }
        )
        await self._connection.close(code, reason)

    async def _send(self, message: dict[str, Any]) -> None:
        # A client that has gone may have sent more, which is read.
        with suppress(ConnectionClosed):
            await self._connection.send(msgspec.json.encode(message).decode())


__all__ = ["SaarasServer", "ServedListener"]
