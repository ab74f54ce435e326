"""What is sent: what a server takes, changed at random. The same seed makes the same inputs."""

from __future__ import annotations

import base64
import json
import random
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from tools.fuzz.target_settings import signed


CORPUS: Final = Path(__file__).parents[2] / "tests/fuzz/corpus"
"""Inputs that are tried first: those that found something, and those that reached new code."""

_PAYLOAD: Final = base64.b64encode(bytes(range(160))).decode()
_IDS: Final = {"streamId": "20170ada-f610-433b-8758-c02a2aab3662"}
_FORM: Final = "CallUUID=fuzz-%d&From=14155550111&To=14155550100&Event=StartApp&Direction=inbound"

UPGRADE: Final = (
    b"GET /stream HTTP/1.1\r\nHost: voice.example.com\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
MESSAGES: Final[tuple[dict[str, Any], ...]] = (
    {
        "event": "start",
        "sequenceNumber": 0,
        "start": {
            **_IDS,
            "callId": "fuzz",
            "accountId": "1",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000},
        },
        "extra_headers": "{}",
    },
    {
        "event": "media",
        "sequenceNumber": 2,
        **_IDS,
        "media": {"track": "inbound", "timestamp": "20", "chunk": 1, "payload": _PAYLOAD},
        "extra_headers": "{}",
    },
    {"event": "dtmf", "sequenceNumber": 3, **_IDS, "dtmf": {"track": "inbound", "digit": "5"}},
    {"event": "playedStream", "sequenceNumber": 4, **_IDS, "name": "1"},
    {"event": "clearedAudio", "sequenceNumber": 5, **_IDS},
    {"event": "stop", "sequenceNumber": 6, **_IDS, "stop": {"callId": "fuzz"}},
)
_EDGES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 0.1, 1e308, 2**63, -(2**63), [], {}, [[]] * 9, {"streamId": {}}),
    *("", "\0", "é\ud83d", "A" * 300, "1" * 400, "audio/x-l16;rate=16000"),
)
_BYTES: Final = (
    *(b"\0", b"\x80", b"\xff\xff\xff\xff", b"\xed\xa0\x80", b"%00", b"9" * 30),
    *(b"\r\n", b"\r\n\r\n", b" ", b"\t", b":", b"&", b"=", b"[", b"{"),
    *(b"Content-Length: 5\r\n", b"Expect: 100-continue\r\n", b"Host: a\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n"),
)


def seeds() -> list[bytes]:
    """Return requests that the server takes, each whole."""
    requests = [UPGRADE]
    for path in ("/answer", "/fallback", "/hangup", "/status", "/resume"):
        body = (_FORM % 1).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: voice.example.com\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        requests.append(head.encode() + body)
        requests.append(f"GET {path}?{_FORM % 2} HTTP/1.1\r\nHost: a.example\r\n\r\n".encode())
    others = ("/healthz", "/readyz", "/metrics", "/nowhere", "/stream")
    return requests + [
        f"GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n".encode() for path in others
    ]


def frame(payload: bytes, opcode: int = 1, *, fin: bool = True, key: bytes = b"\1\2\3\4") -> bytes:
    """Return a masked WebSocket frame (RFC 6455, section 5.2)."""
    head = bytes([(0x80 if fin else 0) | opcode])
    size = len(payload)
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 1 << 16:
        head += b"\xfe" + struct.pack("!H", size)
    else:
        head += b"\xff" + struct.pack("!Q", size)
    mask = (key * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")
    return head + key + masked.to_bytes(size, "big")


class Mutator:
    """Makes inputs: lists of pieces, which go to one connection one after the other.

    Args:
        number: The seed; the same one makes the same inputs.
        corpus: Further inputs to begin with.
        signs: Whether most requests are signed as Plivo signs them, before they are changed.

    """

    def __init__(self, number: int, corpus: Sequence[bytes] = (), *, signs: bool = False) -> None:
        self._random = random.Random(number)
        self._whole = seeds()
        self._requests = [*self._whole, *corpus]
        self._signs = signs
        self._scenarios: tuple[Callable[[], list[bytes]], ...] = (
            self._garbage,
            self._of_requests,
            self._of_requests,
            self._upgrade,
            self._of_messages,
            self._of_messages,
            self._of_frames,
        )

    def pieces(self) -> list[bytes]:
        """Return the next input."""
        return self._random.choice(self._scenarios)()

    def _garbage(self) -> list[bytes]:
        return [self._random.randbytes(self._random.randint(1, 300))]

    def _of_requests(self) -> list[bytes]:
        chosen = self._random.choices(self._requests, k=self._random.randint(1, 6))
        return [
            self._cut(self._changed(self._asked(each) if each in self._whole else each))
            for each in chosen
        ]

    def _upgrade(self) -> list[bytes]:
        return [self._changed(self._asked(UPGRADE)), self._changed(frame(self._message()))]

    def _of_messages(self) -> list[bytes]:
        start = frame(json.dumps(MESSAGES[0]).encode())
        count = self._random.randint(1, 30)
        return [self._asked(UPGRADE), start, *(frame(self._message()) for _ in range(count))]

    def _of_frames(self) -> list[bytes]:
        pieces = [self._asked(UPGRADE)]
        for _ in range(self._random.randint(1, 12)):
            opcode = self._random.choice((0, 1, 1, 2, 8, 9, 10, 3, 11))
            whole = frame(self._message(), opcode, fin=self._random.random() < 0.7)
            pieces.append(self._changed(whole) if self._random.random() < 0.5 else whole)
        return pieces

    def _asked(self, request: bytes) -> bytes:
        """Return a whole request, signed or not."""
        if not self._signs or self._random.random() < 0.1:
            return request
        return signed(request, f"{self._random.randrange(10**20):020}")

    def _message(self) -> bytes:
        chance = self._random.random()
        document = self._random.choice(MESSAGES)
        if chance < 0.3:
            return json.dumps(document).encode()
        if chance < 0.7:
            return json.dumps(self._altered(document)).encode("utf-8", "surrogatepass")
        return self._changed(json.dumps(document).encode())

    def _altered(self, document: dict[str, Any]) -> dict[str, Any]:
        copy: dict[str, Any] = json.loads(json.dumps(document))
        for _ in range(self._random.randint(1, 3)):
            inside = copy
            key = self._random.choice([*inside, "event"])
            while isinstance(inside.get(key), dict) and inside[key] and self._random.random() < 0.7:
                inside = inside[key]
                key = self._random.choice([*inside])
            if self._random.random() < 0.3:
                inside.pop(key, None)
            else:
                inside[key] = self._random.choice(_EDGES)
        return copy

    def _changed(self, data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in range(self._random.choice((0, 1, 1, 2, 4))):
            at = self._random.randint(0, len(changed))
            length = self._random.randint(1, 16)
            match self._random.randint(0, 4):
                case 0:
                    changed[at : at + 1] = self._random.randbytes(1)
                case 1:
                    del changed[at : at + length]
                case 2:
                    changed[at:at] = self._random.choice(_BYTES)
                case 3:
                    changed[at:at] = changed[at : at + length] * self._random.randint(1, 20)
                case _:
                    changed[at : at + length] = self._random.randbytes(length)
        return bytes(changed)

    def _cut(self, data: bytes) -> bytes:
        return data[: self._random.randint(0, len(data))] if self._random.random() < 0.1 else data


def kept_inputs() -> list[bytes]:
    """Return the inputs of the corpus."""
    return [path.read_bytes() for path in sorted(CORPUS.iterdir())]
