"""AssemblyAI's streaming WebSocket on this machine.

The server says what a test tells it to say, when the audio of the connection is there::

    async with AssemblyAIServer("I want a table.").running() as assemblyai:
        recognizer = AssemblyAIRecognizer(base_url=assemblyai.base_url, api_key=assemblyai.api_key)
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request

from audiocodecs import AudioFormat
from mediaserver.testing.assemblyai.schema import (
    read_assemblyai_message,
    read_assemblyai_query,
    read_token_query,
)
from mediaserver.testing.heard_speech import PAUSE, HeardSpeech, TimedWord
from mediaserver.testing.http_server import RefusedError
from mediaserver.testing.socket_server import ServedSocket, SocketFault, SocketServer


_FORMATS: Final[dict[str, Literal["mulaw", "l16"]]] = {"pcm_mulaw": "mulaw", "pcm_s16le": "l16"}
_SHORTEST, _LONGEST = 0.05, 1.0
"""Seconds of audio in a message."""
_INTERIM: Final = 0.25
_FIRST_INTERIM: Final = 0.5
_SILENCES: Final = {True: (0.4, 1.28), False: (0.1, 1.0)}
"""Seconds of silence that end a turn of Universal-Streaming, and of the others: at the least, and
at the most."""


class AssemblyAIServer(SocketServer):
    """AssemblyAI's streaming recognition on 127.0.0.1.

    Args:
        *texts: what callers say, one text for each time that they speak.
        faults: how connections fail, one for each; those after them do not.
        session_seconds: seconds after which a session ends.
        sessions: the number of sessions that may be open at a time.

    Attributes:
        queries: the parameters of each session, oldest first.
        tokens: temporary tokens that were given out and not used.

    """

    def __init__(
        self,
        *texts: str,
        faults: tuple[SocketFault, ...] = (),
        session_seconds: float = 10800.0,
        sessions: int = 100,
    ) -> None:
        super().__init__(faults=faults)
        self.texts = deque(texts)
        self.session_seconds = session_seconds
        self.sessions = sessions
        self.queries: list[dict[str, str]] = []
        self.tokens: set[str] = set()
        self._given = 0

    def admit(self, request: Request) -> str | None:
        """Give out a token. What is wrong with a session is told over its connection."""
        url = urlsplit(request.path)
        if url.path == "/v3/token":
            if request.headers.get("authorization") != self.api_key:
                raise RefusedError(401, "Unauthorized")
            seconds = int(read_token_query(url.query)["expires_in_seconds"])
            self._given += 1
            token = f"token-{self._given}"
            self.tokens.add(token)
            return json.dumps({"token": token, "expires_in_seconds": seconds})
        if url.path != "/v3/ws":
            raise RefusedError(404, "Not Found")
        return None

    def refusal(self, refused: RefusedError) -> dict[str, Any]:
        """Return AssemblyAI's answer to a request that it refuses."""
        return {"error": refused.message}

    def serving(self, connection: ServerConnection, fault: SocketFault) -> ServedSocket:
        """Begin a session."""
        assert connection.request is not None, "the handshake is over"
        query = urlsplit(connection.request.path).query
        token = parse_qs(query).get("token", [""])[0]
        if token in self.tokens:
            self.tokens.remove(token)
        elif connection.request.headers.get("authorization") != self.api_key:
            raise RefusedError(401, "Unauthorized Connection: Missing Authorization header", "1008")
        if self.open > self.sessions:
            reason = "Unauthorized Connection: Too many concurrent sessions"
            raise RefusedError(429, reason, "3009")
        given = read_assemblyai_query(query)
        given.pop("token", None)
        self.queries.append(given)
        return _Session(self, connection, given, fault)

    async def refuse(self, connection: ServerConnection, refused: RefusedError) -> None:
        """Say what is wrong, and close the connection."""
        code = int(refused.code or 3006)
        failure = {"type": "Error", "error_code": code, "error": refused.message}
        await connection.send(json.dumps(failure))
        await connection.close(code, refused.message[:120])


class _Session(ServedSocket):
    server: AssemblyAIServer
    malformed = '{"type":"Turn","words":['

    def __init__(
        self,
        server: AssemblyAIServer,
        connection: ServerConnection,
        query: dict[str, str],
        fault: SocketFault,
    ) -> None:
        super().__init__(server, connection, fault)
        self._query = query
        encoding = _FORMATS[query.get("encoding", "pcm_s16le")]
        self._format = AudioFormat(encoding, int(query.get("sample_rate", "16000")))
        self._speech = HeardSpeech(self._format, server.texts)
        model = query.get("speech_model", "universal-3-5-pro")
        self._streaming = model.startswith(("universal-streaming", "whisper"))
        self._formats = query.get("format_turns", "").lower() == "true"
        self._settings: dict[str, Any] = dict(query)
        self._turn = 0
        self._open = self._paused = False
        self._told = 0  # words
        self._next_at = 0.0
        self._began = asyncio.get_running_loop().time()

    async def run(self) -> None:
        lasts = self.server.session_seconds
        await self.send(
            {
                "type": "Begin",
                "id": "3207b601-2054-48df-ba77-8784dfcf9fb8",
                "expires_at": int(time.time() + lasts),
                "configuration": {
                    "model": self._query.get("speech_model", "universal-3-5-pro"),
                    "api_version": "2025-05-12",
                },
            }
        )
        try:
            async with asyncio.timeout(lasts):
                await super().run()
        except TimeoutError:
            await self.expire()

    async def stop(self) -> None:
        self._speech.give_back()

    async def expire(self) -> None:
        reason = "Session Expired: Maximum session duration exceeded"
        await self.server.refuse(self.connection, RefusedError(408, reason, "3008"))

    def read(self, message: str) -> dict[str, Any]:
        return read_assemblyai_message(message)

    async def hear(self, audio: bytes) -> None:
        seconds = len(audio) / self._format.bytes_per_second
        if not _SHORTEST <= seconds <= _LONGEST:
            said = f"Input duration violation: {seconds * 1000:g} ms."
            raise RefusedError(400, f"{said} Expected between 50 and 1000 ms", "3007")
        speech = self._speech
        speech.add(audio)
        words = speech.words() if speech.speaking else []
        if not words:
            return
        if not self._open:
            self._open = True
            self._told = 0
            self._next_at = speech.seconds + (_INTERIM if self._streaming else _FIRST_INTERIM)
            if not self._streaming:
                started = {"timestamp": round(speech.seconds * 1000), "confidence": 0.99}
                await self.send({"type": "SpeechStarted", **started})
        if speech.quiet >= self._ends_after(words):
            await self._end(words)
        elif speech.quiet >= PAUSE:
            if not self._paused:
                self._paused = True
                await self._tell(words, utterance=self._streaming)
        else:
            self._paused = False
            if speech.seconds >= self._next_at and len(words) > self._told:
                # Universal-3 models tell one interim of words that are said without a pause.
                self._next_at = speech.seconds + (_INTERIM if self._streaming else 60.0)
                await self._tell(words)

    async def take(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "UpdateConfiguration":
            self._settings |= message
        elif kind == "ForceEndpoint" and self._open:
            await self._end(self._speech.words())
        elif kind == "Terminate":
            if self._open:
                await self._end(self._speech.words())
            heard = round(self._speech.seconds)
            lasted = round(asyncio.get_running_loop().time() - self._began)
            durations = {"audio_duration_seconds": heard, "session_duration_seconds": lasted}
            await self.send({"type": "Termination", **durations})
            await self.close()

    def _ends_after(self, words: list[TimedWord]) -> float:
        """Return the seconds of silence that end the turn: fewer if a sentence seems complete."""
        shortest, longest = _SILENCES[self._streaming]
        settings = self._settings
        threshold = float(settings.get("end_of_turn_confidence_threshold", 0.4))
        if words[-1].text.endswith((".", "?", "!")) and threshold < 1:
            silence = int(settings.get("min_turn_silence", shortest * 1000))
        else:
            silence = int(settings.get("max_turn_silence", longest * 1000))
        return max(PAUSE, silence / 1000)

    async def _end(self, words: list[TimedWord]) -> None:
        self._open = self._paused = False
        if self._formats:
            await self._tell(words, end=True, formatted=False)
        await self._tell(words, end=True, formatted=self._formats or not self._streaming)
        # What could not be sent is said again on the next connection.
        if not self.failed:
            self._speech.take()
        self._turn += 1

    async def _tell(
        self,
        words: list[TimedWord],
        *,
        end: bool = False,
        utterance: bool = False,
        formatted: bool = False,
    ) -> None:
        self._told = len(words)
        raw = self._streaming and not formatted
        texts = [w.text.strip(".,?!").lower() if raw else w.text for w in words]
        # Universal-Streaming is sure of all words but the last; the others of none before the end.
        final = len(words) if end else max(0, len(words) - 1) if self._streaming else 0
        said = texts if end or not self._streaming else texts[:final]
        await self.send(
            {
                "type": "Turn",
                "turn_order": self._turn,
                "turn_is_formatted": formatted,
                "end_of_turn": end,
                "transcript": " ".join(said),
                "utterance": " ".join(texts) if utterance else "",
                "end_of_turn_confidence": 1.0 if end else 0.1,
                "words": [
                    {
                        "text": text,
                        "start": round(word.start * 1000),
                        "end": round(word.end * 1000),
                        "confidence": 0.99,
                        "word_is_final": n < final,
                    }
                    for n, (text, word) in enumerate(zip(texts, words, strict=True))
                ],
            }
        )
