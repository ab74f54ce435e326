"""A local ElevenLabs that recognises: its WebSocket for Scribe. It needs no key and no network.

The server says what a test tells it to say, when the audio of the connection is there. Parameters,
fields and values that the published protocol does not have are refused:
https://elevenlabs.io/docs/api-reference/speech-to-text/v-1-speech-to-text-realtime
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request

from audiocodecs import AudioFormat
from mediaserver.testing.heard_speech import HeardSpeech
from mediaserver.testing.http_server import RefusedError
from mediaserver.testing.socket_server import ServedSocket, SocketFault, SocketServer
from mediaserver.testing.voice_server import POLICY_VIOLATION, decode_closed


_INTERIM: Final = 0.25
_SHORTEST: Final = 0.3
"""Seconds of audio that a commit needs."""

_FLAG: Final = re.compile("true|false").fullmatch
_LANGUAGE: Final = re.compile("[a-z]{2,3}").fullmatch
_SEVERAL: Final = frozenset(
    {"secondary_languages", "keyterms", "entity_detection", "entity_redaction"}
)


def _between(least: float, most: float) -> Callable[[str], object]:
    return lambda value: value.replace(".", "", 1).isdigit() and least <= float(value) <= most


_PARAMETERS: Final[dict[str, Callable[[str], object]]] = {
    "model_id": re.compile(r"scribe_v\d_realtime").fullmatch,
    "audio_format": re.compile("pcm_(8000|16000|22050|24000|44100|48000)|ulaw_8000").fullmatch,
    "commit_strategy": re.compile("manual|vad").fullmatch,
    "vad_silence_threshold_secs": _between(0.3, 3),
    "vad_threshold": _between(0.1, 0.9),
    "min_speech_duration_ms": _between(50, 2000),
    "min_silence_duration_ms": _between(50, 2000),
    "language_code": _LANGUAGE,
    "secondary_languages": _LANGUAGE,
    "include_timestamps": _FLAG,
    "include_language_detection": _FLAG,
    "keyterms": re.compile(r"\S.{0,19}").fullmatch,
    "no_verbatim": _FLAG,
    "entity_detection": str.strip,
    "entity_redaction": str.strip,
    "entity_redaction_mode": re.compile("redacted|(enumerated_)?entity_type").fullmatch,
    "transcript_edit": str.strip,
    "filter_background_audio": _FLAG,
    "enable_logging": _FLAG,
    "token": str.strip,
}


class WireScribeChunk(msgspec.Struct, forbid_unknown_fields=True):
    """A piece of audio."""

    message_type: Literal["input_audio_chunk"]
    audio_base_64: bytes
    commit: bool
    sample_rate: int
    previous_text: str | None = None


class ScribeServer(SocketServer):
    """Scribe on 127.0.0.1.

    Args:
        *texts: what callers say, one text for each time that they speak.
        faults: how connections fail, one for each; those after them do not.

    Attributes:
        queries: the parameters of each session, oldest first.
        texts: what will be said.

    """

    def __init__(self, *texts: str, faults: tuple[SocketFault, ...] = ()) -> None:
        super().__init__(faults=faults)
        self.texts = deque(texts)
        self.queries: list[dict[str, list[str]]] = []

    def admit(self, request: Request) -> None:
        """Check the path. What else is wrong with a session is told over its connection."""
        if urlsplit(request.path).path != "/v1/speech-to-text/realtime":
            raise RefusedError(404, "Not Found")

    def refusal(self, refused: RefusedError) -> dict[str, Any]:
        """Return ElevenLabs' answer to a request that it refuses."""
        return {"detail": {"status": refused.code, "message": refused.message}}

    def serving(self, connection: ServerConnection, fault: SocketFault) -> ServedSocket:
        """Begin a session."""
        request = connection.request
        assert request is not None, "the handshake is over"
        if request.headers.get("xi-api-key") != self.api_key:
            raise RefusedError(401, "Invalid API key", "auth_error")
        query = _read_query(urlsplit(request.path).query)
        self.queries.append(query)
        return _Session(self, connection, query, fault)

    async def refuse(self, connection: ServerConnection, refused: RefusedError) -> None:
        """Say what is wrong, and close the connection."""
        code = refused.code or "invalid_request"
        error = msgspec.json.encode({"message_type": code, "error": refused.message})
        with suppress(ConnectionClosed):
            await connection.send(error.decode())
        await connection.close(POLICY_VIOLATION, refused.message[:100])


class _Session(ServedSocket):
    server: ScribeServer
    malformed = '{"message_type":"committed_transcript","text":'

    def __init__(
        self,
        server: ScribeServer,
        connection: ServerConnection,
        query: dict[str, list[str]],
        fault: SocketFault,
    ) -> None:
        super().__init__(server, connection, fault)
        if query.get("commit_strategy", ["manual"]) != ["manual"]:
            raise RefusedError(400, "this server takes only manual commits")
        encoding, _, rate = query.get("audio_format", ["pcm_16000"])[0].partition("_")
        self._rate = int(rate)
        self._speech = HeardSpeech(
            AudioFormat("mulaw" if encoding == "ulaw" else "l16", self._rate), server.texts
        )
        self._query = query
        self._committed = 0.0
        self._interim_at = 0.0

    async def run(self) -> None:
        config = {
            "sample_rate": self._rate,
            "audio_format": self._query.get("audio_format", ["pcm_16000"])[0],
            "commit_strategy": "manual",
            "model_id": self._query["model_id"][0],
        }
        await self._tell("session_started", session_id="session-1", config=config)
        await super().run()

    async def stop(self) -> None:
        await super().stop()
        self._speech.give_back()

    def read(self, message: str) -> dict[str, Any]:
        read: dict[str, Any] = msgspec.to_builtins(decode_closed(message, WireScribeChunk))
        return {name: value for name, value in read.items() if value is not None}

    async def hear(self, audio: bytes) -> None:
        raise RefusedError(400, "a binary message; text is expected")

    async def take(self, message: dict[str, Any]) -> None:
        if message["sample_rate"] != self._rate:
            raise RefusedError(400, f"sample_rate must be {self._rate}", "input_error")
        speech = self._speech
        speech.add(b64decode(message["audio_base_64"]))
        if message["commit"]:
            await self._commit()
        elif speech.speaking and speech.seconds >= self._interim_at:
            self._interim_at = speech.seconds + _INTERIM
            await self._tell("partial_transcript", text=self._said())

    async def _commit(self) -> None:
        if self._speech.seconds - self._committed < _SHORTEST:
            await self._tell("commit_throttled", error="at least 0.3 s of audio are needed")
            return
        self._committed = self._speech.seconds
        await self._tell("committed_transcript", text=self._said())
        if not self.failed:
            self._speech.take()

    def _said(self) -> str:
        return " ".join(word.text for word in self._speech.words()) if self._speech.speaking else ""

    async def _tell(self, kind: str, **more: Any) -> None:
        await self.send({"message_type": kind, **more})


def _read_query(query: str) -> dict[str, list[str]]:
    given = parse_qs(query, keep_blank_values=True)
    for name, values in given.items():
        if name not in _PARAMETERS:
            raise RefusedError(400, f"unknown parameter {name!r}")
        if len(values) > 1 and name not in _SEVERAL:
            raise RefusedError(400, f"the parameter {name!r} is given {len(values)} times")
        for value in values:
            if not _PARAMETERS[name](value):
                raise RefusedError(400, f"the parameter {name!r} cannot be {value!r}")
    if "model_id" not in given:
        raise RefusedError(400, "the parameter 'model_id' is missing")
    if len(given.get("keyterms", [])) > 50:
        raise RefusedError(400, "too many keyterms")
    return given


__all__ = ["ScribeServer"]
