"""Sarvam's WebSocket for recognition on this machine. It needs no key, no network.

The server says what a test tells it to say, when the audio of the connection is there::

    async with SaarasServer("I want to book a table.").running() as sarvam:
        recognizer = SarvamRecognizer("en-IN", base_url=sarvam.base_url, api_key=sarvam.api_key)
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections import deque
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request

from audiocodecs import AudioFormat, Encoding
from mediaserver.testing.heard_speech import HeardSpeech
from mediaserver.testing.http_server import RefusedError
from mediaserver.testing.sarvam.saaras_schema import SaarasRequest, read_saaras_query
from mediaserver.testing.socket_server import ServedSocket, SocketFault, SocketServer
from mediaserver.testing.voice_server import decode_closed


_ENCODINGS: Final[dict[str, Encoding]] = {"linear16": "l16", "mulaw": "mulaw", "alaw": "alaw"}
_REQUEST: Final[Any] = SaarasRequest
_IDLE: Final = 60.0
_INACTIVE: Final = 1008
_UNSUPPORTED: Final = 1003
_REJECTED: Final = 4000
_INTERIM: Final = 0.25


class SaarasServer(SocketServer):
    """Sarvam's recognition on 127.0.0.1.

    Args:
        *texts: what callers say, one text for each time that they speak.
        faults: how connections fail, one for each; those after them do not.
        final_after: seconds from the end of an utterance to its final words.
        answers_silence: whether an utterance without words is answered.

    Attributes:
        sessions: the connections that were accepted, oldest first.
        texts: what will be said.

    """

    def __init__(
        self,
        *texts: str,
        faults: tuple[SocketFault, ...] = (),
        final_after: float = 0.1,
        answers_silence: bool = True,
    ) -> None:
        super().__init__(faults=faults)
        self.texts = deque(texts)
        self.final_after = final_after
        self.answers_silence = answers_silence
        self.sessions: list[ServedUtterances] = []

    def admit(self, request: Request) -> None:
        """Check the path. What else is wrong with a session is told over its connection."""
        if urlsplit(request.path).path != "/speech-to-text-realtime/ws":
            raise RefusedError(404, "Not Found")

    def refusal(self, refused: RefusedError) -> dict[str, Any]:
        """Return Sarvam's answer to a request that it refuses."""
        return {"error": {"message": refused.message, "code": refused.code}}

    def serving(self, connection: ServerConnection, fault: SocketFault) -> ServedUtterances:
        """Begin a session."""
        request = connection.request
        assert request is not None, "the handshake is over"
        if request.headers.get("api-subscription-key") != self.api_key:
            raise RefusedError(403, "Invalid API key", "invalid_api_key_error")
        query = read_saaras_query(urlsplit(request.path).query)
        session = ServedUtterances(self, connection, query, fault)
        self.sessions.append(session)
        return session

    async def refuse(self, connection: ServerConnection, refused: RefusedError) -> None:
        """Say what is wrong, and close the connection."""
        error = {
            "event": "error",
            "code": refused.code or "invalid_request",
            "is_fatal": True,
            "message": refused.message,
            "status_code": refused.status,
        }
        with suppress(ConnectionClosed):
            await connection.send(msgspec.json.encode(error).decode())
        code = _UNSUPPORTED if refused.status == 403 else _REJECTED
        await connection.close(code, refused.message[:100])


class ServedUtterances(ServedSocket):
    """A session.

    Attributes:
        query: the parameters of the address.
        key: the key that came.

    """

    server: SaarasServer
    malformed = '{"event":"transcript.final","text":'

    def __init__(
        self,
        server: SaarasServer,
        connection: ServerConnection,
        query: dict[str, str],
        fault: SocketFault,
    ) -> None:
        super().__init__(server, connection, fault)
        encoding = query.get("encoding", "linear16")
        if encoding not in _ENCODINGS:
            raise RefusedError(400, f"this server does not hear {encoding}")
        if query.get("endpointing", "vad") != "manual":
            raise RefusedError(400, "this server takes only manual endpointing")
        self.query = query
        rate = int(query.get("sample_rate", "16000"))
        self._speech = HeardSpeech(AudioFormat(_ENCODINGS[encoding], rate), server.texts)
        self._speaking = False
        self._utterance = 0
        self._interim_at = 0.0

    @property
    def seconds(self) -> float:
        """Seconds of audio."""
        return self._speech.seconds

    async def run(self) -> None:
        """Serve it until it closes."""
        rate = int(self.query.get("sample_rate", "16000"))
        config = {**self.query, "turn_detection": "manual", "sample_rate": rate}
        await self.send({"event": "session.begin", "request_id": "request-1", "config": config})
        await super().run()

    async def stop(self) -> None:
        """Have what was not told said again on another connection."""
        await super().stop()
        self._speech.give_back()

    async def next_message(self) -> bytes | str | None:
        """Return the next message, or end a session on which nothing comes for a minute."""
        try:
            async with asyncio.timeout(_IDLE):
                return await super().next_message()
        except TimeoutError:
            await self._end(_INACTIVE, "Inactivity timeout")
            return None

    def read(self, message: str) -> dict[str, Any]:
        """Return an event of the client's."""
        read: dict[str, Any] = msgspec.to_builtins(decode_closed(message, _REQUEST))
        return read

    async def hear(self, audio: bytes) -> None:
        """Refuse a binary message."""
        raise RefusedError(400, "a binary message; text is expected")

    async def take(self, message: dict[str, Any]) -> None:
        """Do what an event asks for."""
        match message["event"]:
            case "audio_input":
                await self._listen(b64decode(message["audio"]))
            case "speech_start":
                self._within_utterance(speaking=False)
                self._speaking = True
            case "speech_end" | "flush" as event:
                self._within_utterance(speaking=True)
                self._speaking = event == "flush"
                await self._finalize()
            case "ping":
                # A client that has gone may have sent more, which is read.
                with suppress(ConnectionClosed):
                    await self.send({"event": "pong"})
            case "config.update":
                applied = [name for name, value in message.items() if value is not None]
                await self.send({"event": "config.updated", "applied": applied[1:]})
            case _:
                await self.expire()

    async def expire(self) -> None:
        """End the session, as Sarvam does."""
        await self._end(1000, "")

    def _within_utterance(self, *, speaking: bool) -> None:
        if self._speaking is not speaking:
            raise RefusedError(400, "speech_start and speech_end must take turns")

    async def _listen(self, audio: bytes) -> None:
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
        if not self.failed:
            self._speech.take()
        self._utterance += 1

    async def _tell(self, kind: str, text: str) -> None:
        await self.send(
            {"event": f"transcript.{kind}", "utterance_idx": self._utterance, "text": text}
        )

    async def _end(self, code: int, reason: str) -> None:
        self.ended = True
        ended = {
            "event": "session.end",
            "request_id": "request-1",
            "total_utterances": self._utterance,
            "audio_duration_s": self.seconds,
        }
        with suppress(ConnectionClosed):
            await self.connection.send(msgspec.json.encode(ended).decode())
        await self.connection.close(code, reason)


__all__ = ["SaarasServer", "ServedUtterances"]
