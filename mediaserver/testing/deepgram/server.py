"""Deepgram's WebSockets on this machine.

The server says what a test tells it to say, when the audio of the connection is there::

    async with DeepgramServer("I want to book a table.").running() as deepgram:
        recognizer = DeepgramRecognizer(base_url=deepgram.base_url, api_key=deepgram.api_key)
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import cycle
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request

from audiocodecs import AudioFormat
from mediaserver.testing.deepgram.schema import AURA, FLUX, NOVA, read_message, read_query
from mediaserver.testing.heard_speech import HeardSpeech, TimedWord
from mediaserver.testing.http_server import RefusedError
from mediaserver.testing.services import tones
from mediaserver.testing.socket_server import ServedSocket, SocketFault, SocketServer


_IDLE: Final = 10.0
"""Seconds without a message after which Nova ends a connection. Pings keep Flux's open."""
_INTERIM: Final = 0.25
_EAGER: Final = 0.3
_END_OF_TURN: Final = 0.6
_FLUSHES: Final = 20
_FORMATS: Final[dict[str, Literal["mulaw", "alaw", "l16"]]] = {
    "mulaw": "mulaw",
    "alaw": "alaw",
    "linear16": "l16",
}


DeepgramFault: TypeAlias = SocketFault


class DeepgramServer(SocketServer):
    """Nova, Flux and Aura on 127.0.0.1.

    Args:
        *texts: what callers say, one text for each time that they speak.
        faults: how connections fail, one for each; those after them do not.
        chunks: the sizes of the pieces of a voice's audio, in bytes, over and over.

    Attributes:
        queries: the path and the parameters of each accepted connection.

    """

    def __init__(
        self,
        *texts: str,
        faults: tuple[SocketFault, ...] = (),
        chunks: tuple[int, ...] = (800, 1, 333),
    ) -> None:
        super().__init__(faults=faults)
        self.queries: list[tuple[str, dict[str, list[str]]]] = []
        self.texts = deque(texts)
        self.chunks = chunks

    def admit(self, request: Request) -> str | None:
        """Check the key and the parameters."""
        url = urlsplit(request.path)
        if request.headers.get("authorization") != f"Token {self.api_key}":
            raise RefusedError(401, "Invalid credentials.", "INVALID_AUTH")
        if url.path == "/v1/auth/token":
            return "{}"
        read_query(url.path, url.query)
        return None

    def refusal(self, refused: RefusedError) -> dict[str, Any]:
        """Return Deepgram's answer to a request that it refuses."""
        return {"err_code": refused.code or "Bad Request", "err_msg": refused.message}

    def serving(self, connection: ServerConnection, fault: SocketFault) -> ServedSocket:
        """Return the service that the path names."""
        assert connection.request is not None, "the handshake is over"
        url = urlsplit(connection.request.path)
        query = read_query(url.path, url.query)
        self.queries.append((url.path, query))
        kind = {NOVA: _Nova, FLUX: _Flux, AURA: _Aura}[url.path]
        served: _Served = kind(self, connection, url.path, query, fault)
        return served

    async def refuse(self, connection: ServerConnection, refused: RefusedError) -> None:
        """Close a connection as Deepgram does."""
        await connection.close(1008, f"DATA-0000: {refused.message}"[:120])


class _Served(ServedSocket):
    """One connection."""

    server: DeepgramServer
    malformed = '{"type":"Results","channel":'

    def __init__(
        self,
        server: DeepgramServer,
        connection: ServerConnection,
        path: str,
        query: dict[str, list[str]],
        fault: SocketFault,
    ) -> None:
        super().__init__(server, connection, fault)
        self.path = path
        self.query = query
        encoding = query.get("encoding", ["linear16"])[0]
        if encoding not in _FORMATS:
            raise RefusedError(400, f"this server does not hear {encoding}")
        self.format = AudioFormat(_FORMATS[encoding], int(query.get("sample_rate", ["24000"])[0]))

    def read(self, message: str) -> dict[str, Any]:
        """Return a message that Deepgram knows."""
        return read_message(self.path, message)

    async def hear(self, audio: bytes) -> None:
        """Refuse audio."""
        raise RefusedError(400, "a voice takes no audio")

    async def take(self, message: dict[str, Any]) -> None:
        """Close the connection if the message says so, and else do what it says."""
        if message["type"] in ("CloseStream", "Close"):
            await self.close()
        else:
            await self.do(message)

    async def do(self, message: dict[str, Any]) -> None:
        """Do what a message says."""

    async def next_message(self) -> bytes | str | None:
        """Return the next message, or close a connection over which none comes."""
        try:
            async with asyncio.timeout(_IDLE if self.path == NOVA else None):
                return await self.connection.recv()
        except TimeoutError:
            await self.connection.close(1011, "NET-0001: no audio or keep-alive within 10 s")
            return None


class _Nova(_Served):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._speech = HeardSpeech(self.format, self.server.texts)
        endpointing = self.query.get("endpointing", ["10"])[0]
        self._endpointing = None if endpointing == "false" else int(endpointing) / 1000
        self._begin = 0.0
        self._interim_at = _INTERIM

    async def stop(self) -> None:
        self._speech.give_back()

    async def hear(self, audio: bytes) -> None:
        speech = self._speech
        speech.add(audio)
        ended = self._endpointing is not None and speech.quiet >= self._endpointing
        if speech.speaking and ended:
            await self._tell(speech.words(), final=True, speech_final=True)
        elif speech.seconds >= self._interim_at and speech.speaking:
            self._interim_at = speech.seconds + _INTERIM
            if self.query.get("interim_results") == ["true"]:
                await self._tell(speech.words(), final=False)

    async def do(self, message: dict[str, Any]) -> None:
        # As Deepgram, it says nothing if there is no audio left.
        if message["type"] == "Finalize" and self._speech.seconds > self._begin:
            await self._tell(self._speech.words(), final=True, from_finalize=True)

    async def _tell(
        self,
        words: list[TimedWord],
        *,
        final: bool,
        speech_final: bool = False,
        from_finalize: bool = False,
    ) -> None:
        alternative = {
            "transcript": " ".join(word.text for word in words),
            "confidence": 0.99,
            "words": [
                {
                    "word": word.text.strip(".,?!").lower(),
                    "start": word.start,
                    "end": word.end,
                    "confidence": 0.99,
                    "punctuated_word": word.text,
                }
                for word in words
            ],
        }
        begin, end = self._begin, self._speech.seconds
        if final:
            self._begin = end
        await self.send(
            {
                "type": "Results",
                "channel_index": [0, 1],
                "start": begin,
                "duration": end - begin,
                "is_final": final,
                "speech_final": speech_final,
                "from_finalize": from_finalize,
                "channel": {"alternatives": [alternative]},
                "metadata": {
                    "request_id": "request-1",
                    "model_uuid": "model-1",
                    "model_info": {"name": "test", "version": "1", "arch": "nova-3"},
                },
            }
        )
        # What could not be sent is said again on the next connection.
        if final and not self.failed:
            self._speech.take()


class _Flux(_Served):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._speech = HeardSpeech(self.format, self.server.texts)
        self._sequence = 0
        self._turn = 0
        self._state: Literal["initial", "ongoing", "awaiting"] = "initial"
        self._update_at = _INTERIM
        self._eager = "eager_eot_threshold" in self.query
        never = self.query.get("eot_threshold") == ["1"]
        timeout = float(self.query.get("eot_timeout_ms", ["5000"])[0]) / 1000
        self._end_of_turn = timeout if never else min(_END_OF_TURN, timeout)

    async def run(self) -> None:
        await self._numbered({"type": "Connected"})
        await super().run()

    async def stop(self) -> None:
        self._speech.give_back()

    async def hear(self, audio: bytes) -> None:
        speech = self._speech
        speech.add(audio)
        if self._state == "initial" and speech.speaking:
            self._state = "ongoing"
            await self._tell("StartOfTurn", speech.words())
        elif self._state == "awaiting" and speech.quiet < _EAGER:
            self._state = "ongoing"
            await self._tell("TurnResumed", speech.words())
        elif self._state != "initial" and speech.quiet >= self._end_of_turn:
            await self._end("model")
        elif self._state == "ongoing" and self._eager and speech.quiet >= _EAGER:
            self._state = "awaiting"
            await self._tell("EagerEndOfTurn", speech.words())
        elif speech.seconds >= self._update_at:
            await self._tell("Update", speech.words() if speech.speaking else [])

    async def do(self, message: dict[str, Any]) -> None:
        if message["type"] == "ForceEndTurn" and self._state != "initial":
            await self._end("manual")

    async def _end(self, trigger: str) -> None:
        self._state = "initial"
        await self._tell("EndOfTurn", self._speech.words(), trigger=trigger)
        if not self.failed:
            self._speech.take()
        self._turn += 1

    async def _tell(self, event: str, words: list[TimedWord], **more: str) -> None:
        self._update_at = self._speech.seconds + _INTERIM
        await self._numbered(
            {
                "type": "TurnInfo",
                "event": event,
                "turn_index": self._turn,
                "audio_window_start": 0.0,
                "audio_window_end": self._speech.seconds,
                "transcript": " ".join(word.text for word in words),
                "words": [
                    {"word": w.text, "confidence": 0.99, "start": w.start, "end": w.end}
                    for w in words
                ],
                "end_of_turn_confidence": 0.9 if event == "EndOfTurn" else 0.1,
                **more,
            }
        )

    async def _numbered(self, message: dict[str, Any]) -> None:
        numbered = {**message, "request_id": "request-1", "sequence_id": self._sequence}
        self._sequence += 1
        await self.send(numbered)


class _Aura(_Served):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._text = ""
        self._sequence = 0
        self._flushes: list[float] = []
        self._chunks = cycle(self.server.chunks)
        self._work: asyncio.Queue[str | None] = asyncio.Queue()
        self._speaking = asyncio.create_task(self._speak())

    async def run(self) -> None:
        await self.send(
            {
                "type": "Metadata",
                "request_id": "request-1",
                "model_name": self.query.get("model", ["aura-asteria-en"])[0],
                "model_version": "1",
                "model_uuid": "model-1",
            }
        )
        await super().run()

    async def stop(self) -> None:
        self._speaking.cancel()
        await asyncio.wait((self._speaking,))

    async def do(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "Speak":
            self._text += message["text"]
            # A sentence is spoken when it is complete.
            if self._text.rstrip().endswith((".", "?", "!")):
                self._work.put_nowait(self._text)
                self._text = ""
        elif kind == "Flush":
            now = asyncio.get_running_loop().time()
            self._flushes = [at for at in self._flushes if at > now - 60]
            if len(self._flushes) >= _FLUSHES:
                described = "Too many Flush messages within 60 seconds."
                await self.send(
                    {"type": "Warning", "code": "EXCESSIVE_FLUSH", "description": described}
                )
                return
            self._flushes.append(now)
            if self._text:
                self._work.put_nowait(self._text)
            self._text = ""
            self._work.put_nowait(None)
        elif kind == "Clear":
            self._text = ""
            await self.stop()
            self._work = asyncio.Queue()
            await self._answer("Cleared")
            self._speaking = asyncio.create_task(self._speak())

    async def _speak(self) -> None:
        try:
            while True:
                text = await self._work.get()
                if text is None:
                    await self._answer("Flushed")
                    continue
                audio = self.format.encode(tones(len(text.split()), self.format.rate))
                at = 0
                while at < len(audio):
                    size = next(self._chunks)
                    await self.send(audio[at : at + size])
                    at += size
                    await asyncio.sleep(0)
        except ConnectionClosed:
            return

    async def _answer(self, kind: str) -> None:
        await self.send({"type": kind, "sequence_id": self._sequence})
        self._sequence += 1
