"""The least work of any Python server: read, find where a frame ends, write prepared bytes.

It reads only a frame's opcode and length (RFC 6455, section 5.2), not the mask, the JSON or the
audio. It answers every frame with one `playAudio` of the usual size.
"""

import asyncio
import base64
import hashlib
import json
import re
from typing import cast

import uvloop

from benchmarks.servers.options import Options, parse_options


_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile(rb"^sec-websocket-key:\s*(\S+)", re.IGNORECASE | re.MULTILINE)
_OPCODE = 0x0F
_TEXT = 0x1
_CLOSE = 0x8


def play_audio_frame() -> bytes:
    """Return a whole WebSocket frame with a `playAudio` of 160 mu-law bytes."""
    media = {
        "contentType": "audio/x-mulaw",
        "sampleRate": 8000,
        "payload": base64.b64encode(bytes(range(160))).decode(),
    }
    message = json.dumps({"event": "playAudio", "media": media}, separators=(",", ":")).encode()
    return bytes((0x80 | _TEXT, 126)) + len(message).to_bytes(2, "big") + message


class Floor(asyncio.Protocol):
    """Answers the upgrade, then every text frame after the first, which is `start`."""

    ready = play_audio_frame()

    def __init__(self) -> None:
        self._rest = b""
        self._upgraded = False
        self._started = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports are not registered as asyncio's subclasses
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer every frame that ends within `data`."""
        if self._rest:
            data = self._rest + data
        if not self._upgraded:
            request, blank, data = data.partition(b"\r\n\r\n")
            if not blank:
                self._rest = request
                return
            self._upgrade(request)
        offset, size = 0, len(data)
        while size - offset >= 2:
            length = data[offset + 1] & 0x7F
            head = 6
            if length == 126:
                head = 8
                length = int.from_bytes(data[offset + 2 : offset + 4], "big")
            if size - offset < head + length:
                break
            if data[offset] & _OPCODE == _CLOSE:
                self.transport.close()
                return
            offset += head + length
            if self._started:
                self.transport.write(self.ready)
            self._started = True
        self._rest = data[offset:]

    def _upgrade(self, request: bytes) -> None:
        key = _KEY.search(request)
        if key is None:
            self.transport.close()
            return
        accept = base64.b64encode(hashlib.sha1(key[1] + _GUID).digest())
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self._upgraded = True


async def serve(options: Options) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Floor, options.host, options.port, ssl=options.ssl)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(parse_options()))
