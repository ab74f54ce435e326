"""One caller of the load: Plivo's end of a WebSocket, with numbered frames."""

import asyncio
import json
import math
import random
import ssl
import time
import uuid
from binascii import b2a_base64
from collections.abc import Sequence

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from pybase64 import b64decode


FRAME_BYTES = 160
FRAME_SECONDS = 0.02
BYTES_PER_SECOND = 8000

# Eight hexadecimal digits at the start of a frame's audio are its number. As mu-law codes they
# survive decoding to samples and encoding again; so must the codes after them.
_MARKER_BYTES = 8
_AMBIGUOUS = (0x7F, 0xFF)  # both decode to 0

# Base64 works on groups of three bytes: the marker is padded to nine, the rest prepared.
_MARKER_FILLER = b"\x5a"
_READY_TAILS = 256


def speech_like(size: int, rng: random.Random) -> bytes:
    """Return `size` mu-law codes with the spread of speech: many quiet, a few loud ones."""
    codes = bytearray()
    while len(codes) < size:
        # the 7 low bits of a mu-law code fall as the sample grows
        loudness = min(126, int(rng.expovariate(1 / 40)))
        code = rng.choice((0x00, 0x80)) | (126 - loudness)
        if code not in _AMBIGUOUS:
            codes.append(code)
    return bytes(codes)


def ready_tails(seed: int = 1) -> list[bytes]:
    """Return frames without their first nine bytes, in base64, each different."""
    rng = random.Random(seed)
    size = FRAME_BYTES - _MARKER_BYTES - len(_MARKER_FILLER)
    return [b2a_base64(speech_like(size, rng), newline=False) for _ in range(_READY_TAILS)]


class Ledger:
    """What was sent and what came back, for all callers.

    All frames share one numbering: frame `n` belongs to caller `n % calls`.
    """

    def __init__(self, calls: int, frames: int) -> None:
        self.calls = calls
        self.sent_at = [math.nan] * frames
        self.latency = [math.nan] * frames
        self.echoed = 0
        self.garbled = 0
        self.duplicates = 0
        self.disconnected = 0

    def answered(self, caller: int, number: int, now: float) -> None:
        """Record the reply to frame `number`, received by `caller`."""
        if not 0 <= number < len(self.sent_at) or number % self.calls != caller:
            self.garbled += 1
            return
        if not math.isnan(self.latency[number]):
            self.duplicates += 1
            return
        self.latency[number] = now - self.sent_at[number]
        self.echoed += 1


class Caller(WSListener):
    """One call: sends `start` and media, finds its frames in the replies, answers as Plivo would.

    Args:
        index: which caller this is.
        ledger: where frames are recorded.
        tails: prepared audio; see `ready_tails`.
        in_order: replies carry no marker; the n-th reply answers the n-th frame.

    """

    def __init__(
        self, index: int, ledger: Ledger, tails: Sequence[bytes], *, in_order: bool
    ) -> None:
        self.index = index
        self.transport: WSTransport | None = None
        self._ledger = ledger
        self._tails = tails
        self._in_order = in_order
        self._stream_id = str(uuid.uuid4())
        self._media = (
            b'{"event":"media","sequenceNumber":%d,"streamId":"' + self._stream_id.encode() + b'",'
            b'"media":{"track":"inbound","timestamp":"%d","chunk":%d,"payload":"%b%b"},'
            b'"extra_headers":"{}"}'
        )
        self._epoch_ms = time.time_ns() // 1_000_000
        self._sequence = 1
        self._chunk = 0
        self._answers = 0
        self._odd_bytes = b""
        self._plays_until = 0.0
        self._checkpoints: list[asyncio.TimerHandle] = []
        self._closing = False

    async def connect(self, url: str, context: ssl.SSLContext | None) -> None:
        """Open the WebSocket; `start` is sent as soon as it is open."""
        await ws_connect(lambda: self, url, ssl_context=context, websocket_handshake_timeout=20)

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Send `start`."""
        self.transport = transport
        start = {
            "event": "start",
            "sequenceNumber": self._sequence,
            "start": {
                "callId": str(uuid.uuid4()),
                "streamId": self._stream_id,
                "accountId": "MABENCHMARK000000000",
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": BYTES_PER_SECOND},
            },
            "extra_headers": "{}",
        }
        self._send(json.dumps(start, separators=(",", ":")).encode())

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Record the loss of the call, unless we ended it."""
        self.transport = None
        for timer in self._checkpoints:
            timer.cancel()
        if not self._closing:
            self._ledger.disconnected += 1

    def send_frame(self, number: int) -> None:
        """Send 20 ms of audio marked with `number`, and record when it was sent."""
        self._sequence += 1
        self._chunk += 1
        message = self._media % (
            self._sequence,
            self._epoch_ms + 20 * self._chunk,
            self._chunk,
            b2a_base64(b"%08x" % number + _MARKER_FILLER, newline=False),
            self._tails[number % _READY_TAILS],
        )
        self._ledger.sent_at[number] = time.perf_counter()
        if self.transport is not None:
            self.transport.send(WSMsgType.TEXT, message)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Record the frames in a reply; it may hold several, or parts of them."""
        now = time.perf_counter()
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()
            return
        if frame.msg_type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            return
        if self._in_order:
            number = self._answers * self._ledger.calls + self.index
            self._answers += 1
            self._ledger.answered(self.index, number, now)
            return
        message = frame.get_payload_as_bytes()
        key = message.find(b'"payload"')
        if key < 0:
            self._control(message, now)
            return
        opening = message.index(b'"', key + 9) + 1
        audio = b64decode(message[opening : message.index(b'"', opening)])
        self._plays_until = max(now, self._plays_until) + len(audio) / BYTES_PER_SECOND
        if self._odd_bytes:
            audio = self._odd_bytes + audio
        whole = len(audio) - len(audio) % FRAME_BYTES
        for offset in range(0, whole, FRAME_BYTES):
            try:
                number = int(audio[offset : offset + _MARKER_BYTES], 16)
            except ValueError:
                number = -1
            self._ledger.answered(self.index, number, now)
        self._odd_bytes = audio[whole:]

    async def close(self) -> None:
        """Close the connection properly, and stop waiting after two seconds."""
        transport, self._closing = self.transport, True
        if transport is None:
            return
        transport.send_close()
        try:
            await asyncio.wait_for(transport.wait_disconnected(), 2)
        except TimeoutError:
            transport.disconnect(graceful=False)

    def _send(self, message: bytes) -> None:
        if self.transport is not None:
            self.transport.send(WSMsgType.TEXT, message)

    def _control(self, message: bytes, now: float) -> None:
        """Answer a checkpoint when its audio would have been played, and a clear at once."""
        command = json.loads(message)
        if command.get("event") == "checkpoint":
            loop = asyncio.get_running_loop()
            wait = max(0.0, self._plays_until - now)
            self._checkpoints = [timer for timer in self._checkpoints if timer.when() > loop.time()]
            self._checkpoints.append(loop.call_later(wait, self._played, command.get("name")))
        elif command.get("event") == "clearAudio":
            self._plays_until = now
            for timer in self._checkpoints:
                timer.cancel()
            self._checkpoints.clear()
            self._event("clearedAudio")

    def _played(self, name: object) -> None:
        self._event("playedStream", name=name)

    def _event(self, event: str, **fields: object) -> None:
        self._sequence += 1
        body = {"event": event, "sequenceNumber": self._sequence, "streamId": self._stream_id}
        self._send(json.dumps(body | fields).encode())
