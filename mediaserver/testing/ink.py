"""A local Cartesia that recognises: its two WebSockets. It needs no key, no network.

The server says what a test tells it to say, when the audio of the connection is there. Parameters,
messages and values that the published protocols do not have are refused:
https://docs.cartesia.ai/api-reference/stt/websocket and
https://docs.cartesia.ai/api-reference/stt/turns/websocket
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request

from audiocodecs import AudioFormat, Encoding
from mediaserver.testing.heard_speech import HeardSpeech
from mediaserver.testing.http_server import RefusedError
from mediaserver.testing.socket_server import ServedSocket, SocketFault, SocketServer
from mediaserver.testing.voice_server import POLICY_VIOLATION, decode_closed


_MANUAL: Final = "/stt/websocket"
_TURNS: Final = "/stt/turns/websocket"
_VERSIONS: Final = ("2026-03-01", "2026-08-14")
_ENCODINGS: Final[dict[str, Encoding]] = {
    "pcm_s16le": "l16",
    "pcm_mulaw": "mulaw",
    "pcm_alaw": "alaw",
}
_INTERIM: Final = 0.25
_EAGER: Final = 0.3
_END_OF_TURN: Final = 0.6


def _between(least: float, most: float) -> Callable[[str], object]:
    def check(value: str) -> bool:
        try:
            return least <= float(value) <= most
        except ValueError:
            return False

    return check


_EVERY: Final[dict[str, Callable[[str], object]]] = {
    "cartesia_version": _VERSIONS.__contains__,
    "encoding": re.compile("pcm_(s16le|s32le|f16le|f32le|mulaw|alaw)").fullmatch,
    "sample_rate": _between(8000, 48000),
    "keyterm": str.strip,
}
_PARAMETERS: Final[dict[str, dict[str, Callable[[str], object]]]] = {
    _MANUAL: {
        **_EVERY,
        "model": re.compile("ink-2|ink-whisper(-2025-06-04)?").fullmatch,
        "language": re.compile("[a-z]{2,3}").fullmatch,
        "max_silence_duration_secs": _between(0, 60),
        "min_volume": _between(0, 1),
    },
    _TURNS: {
        **_EVERY,
        "model": re.compile("ink-2").fullmatch,
        "turn_start_threshold": _between(0.5, 0.9),
        "turn_eager_end_threshold": _between(0.3, 0.6),
        "turn_end_threshold": _between(0.05, 0.5),
        "turn_end_timeout_ms": _between(640, 11200),
    },
}


class _Closed(msgspec.Struct, forbid_unknown_fields=True):
    pass


class WireInkTurn(_Closed):
    """How turns are detected."""

    start_threshold: float | None = None
    eager_end_threshold: float | None = None
    end_threshold: float | None = None
    end_timeout_ms: float | None = None


class WireInkCommand(_Closed):
    """A message of text to the endpoint that takes the turns."""

    type: Literal["close", "config"]
    turn: WireInkTurn | None = None


class InkServer(SocketServer):
    """Ink on 127.0.0.1.

    Args:
        *texts: what callers say, one text for each time that they speak.
        faults: how connections fail, one for each; those after them do not.

    Attributes:
        queries: the path and the parameters of each connection, oldest first.
        texts: what will be said.

    """

    def __init__(self, *texts: str, faults: tuple[SocketFault, ...] = ()) -> None:
        super().__init__(faults=faults)
        self.texts = deque(texts)
        self.queries: list[tuple[str, dict[str, list[str]]]] = []

    def admit(self, request: Request) -> None:
        """Check a request."""
        url = urlsplit(request.path)
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.api_key not in (bearer, request.headers.get("x-api-key")):
            raise RefusedError(401, "invalid API key")
        query = _read_query(url.path, url.query)
        version = request.headers.get("cartesia-version", query.get("cartesia_version", [""])[0])
        if version not in _VERSIONS:
            raise RefusedError(400, f"Cartesia-Version must be one of {_VERSIONS}, not {version!r}")

    def refusal(self, refused: RefusedError) -> dict[str, Any]:
        """Return Cartesia's answer to a request that it refuses."""
        return {"title": "Invalid request", "message": refused.message}

    def serving(self, connection: ServerConnection, fault: SocketFault) -> ServedSocket:
        """Begin a session."""
        assert connection.request is not None, "the handshake is over"
        url = urlsplit(connection.request.path)
        query = _read_query(url.path, url.query)
        if query["encoding"][0] not in _ENCODINGS:
            raise RefusedError(400, f"this server does not hear {query['encoding'][0]}")
        self.queries.append((url.path, query))
        format = AudioFormat(_ENCODINGS[query["encoding"][0]], int(query["sample_rate"][0]))
        serving = _Manual if url.path == _MANUAL else _Turns
        return serving(self, connection, fault, format)

    async def refuse(self, connection: ServerConnection, refused: RefusedError) -> None:
        """Say what is wrong, and close the connection."""
        error = {
            "type": "error",
            "title": "Invalid request",
            "message": refused.message,
            "status_code": refused.status,
        }
        await connection.send(msgspec.json.encode(error).decode())
        await connection.close(POLICY_VIOLATION, refused.message[:100])


class _Session(ServedSocket):
    server: InkServer

    def __init__(
        self,
        server: InkServer,
        connection: ServerConnection,
        fault: SocketFault,
        format: AudioFormat,
    ) -> None:
        super().__init__(server, connection, fault)
        self._speech = HeardSpeech(format, server.texts)
        self._interim_at = 0.0

    async def stop(self) -> None:
        await super().stop()
        self._speech.give_back()

    def _said(self) -> str:
        return " ".join(word.text for word in self._speech.words()) if self._speech.speaking else ""

    def _is_due(self) -> bool:
        if not self._speech.speaking or self._speech.seconds < self._interim_at:
            return False
        self._interim_at = self._speech.seconds + _INTERIM
        return True

    async def _tell(self, kind: str, **more: Any) -> None:
        await self.send({"type": kind, "request_id": "request-1", **more})


class _Manual(_Session):
    malformed = '{"type":"transcript","text":'

    def read(self, message: str) -> dict[str, Any]:
        if message not in ("finalize", "close"):
            raise RefusedError(400, f"a message must be finalize or close, not {message!r}")
        return {"type": message}

    async def hear(self, audio: bytes) -> None:
        self._speech.add(audio)
        if self._is_due():
            await self._tell("transcript", text=self._said(), is_final=False)

    async def take(self, message: dict[str, Any]) -> None:
        text = self._said()
        if text:
            # Two deltas, of which the second begins with the space between them.
            first, space, rest = text.partition(" ")
            for delta in filter(None, (first, space + rest)):
                await self._tell("transcript", text=delta, is_final=True, language="en")
        if message["type"] == "finalize":
            await self._tell("flush_done")
        if not self.failed:
            self._speech.take()
        if message["type"] == "close":
            await self._tell("done")
            await self.close()


class _Turns(_Session):
    malformed = '{"type":"turn.update","transcript":'
    _state: Literal["silent", "speaking", "ending"] = "silent"

    async def run(self) -> None:
        await self._tell("connected")
        await super().run()

    def read(self, message: str) -> dict[str, Any]:
        command = decode_closed(message, WireInkCommand)
        if command.type == "close" and command.turn is not None:
            raise RefusedError(400, "close has no turn")
        read: dict[str, Any] = msgspec.to_builtins(command)
        return {name: value for name, value in read.items() if value is not None}

    async def hear(self, audio: bytes) -> None:
        speech = self._speech
        speech.add(audio)
        if self._state == "silent" and speech.speaking:
            self._state = "speaking"
            await self._tell("turn.start")
        elif self._state == "ending" and speech.quiet < _EAGER:
            self._state = "speaking"
            await self._tell("turn.resume")
        elif self._state != "silent" and speech.quiet >= _END_OF_TURN:
            await self._end()
        elif self._state == "speaking" and speech.quiet >= _EAGER:
            self._state = "ending"
            await self._tell("turn.eager_end", transcript=self._said())
        elif self._state == "speaking" and self._is_due():
            await self._tell("turn.update", transcript=self._said())

    async def take(self, message: dict[str, Any]) -> None:
        if message["type"] == "close":
            if self._state != "silent":
                await self._end()
            await self.close()

    async def _end(self) -> None:
        self._state = "silent"
        await self._tell("turn.end", transcript=self._said())
        if not self.failed:
            self._speech.take()


def _read_query(path: str, query: str) -> dict[str, list[str]]:
    if path not in _PARAMETERS:
        raise RefusedError(404, f"there is no {path}")
    known = _PARAMETERS[path]
    given = parse_qs(query, keep_blank_values=True)
    for name, values in given.items():
        if name not in known:
            raise RefusedError(400, f"unknown parameter {name!r}")
        if len(values) > 1 and name != "keyterm":
            raise RefusedError(400, f"the parameter {name!r} is given {len(values)} times")
        for value in values:
            if not known[name](value):
                raise RefusedError(400, f"the parameter {name!r} cannot be {value!r}")
    for name in ("model", "encoding", "sample_rate"):
        if name not in given:
            raise RefusedError(400, f"the parameter {name!r} is missing")
    if len(given.get("keyterm", [])) > 100 or sum(map(len, given.get("keyterm", []))) > 1200:
        raise RefusedError(400, "too many keyterms")
    end, eager, start = (
        float(given.get(f"turn_{name}_threshold", [default])[0])
        for name, default in (("end", "0.2"), ("eager_end", "0.4"), ("start", "0.8"))
    )
    if not end < eager < start:
        raise RefusedError(400, "the thresholds of turns must be end < eager_end < start")
    return given


__all__ = ["InkServer"]
