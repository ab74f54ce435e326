"""An honest call beside the fuzzed connections, which must not be harmed by them."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any, Final

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from mediaserver.plivo.signatures import sign_upgrade
from tools.fuzz.inputs import MESSAGES
from tools.fuzz.target_settings import AUTH_TOKEN, PUBLIC_URL


_TICK: Final = 0.02
_FRAME: Final = 160
LONGEST_GAP: Final = 2.0
"""Seconds for which no audio may come back."""


class HonestCall:
    """Sends audio that is never twice the same, and compares what comes back with it.

    Args:
        port: the server's.
        longest_gap: seconds for which no audio may come back.

    """

    def __init__(self, port: int, longest_gap: float = LONGEST_GAP) -> None:
        self._longest_gap = longest_gap
        self._heard_at: float | None = None
        self.gap = 0.0
        """The longest time in which no audio came back, in seconds."""
        self._url = f"ws://127.0.0.1:{port}/stream"
        self._sent = bytearray()
        self._heard = bytearray()
        self._over = asyncio.Event()
        self.harm: str | None = None
        """What is wrong with it."""

    @property
    def seconds(self) -> float:
        """Seconds of audio that came back, right."""
        return len(self._heard) / 8000

    async def run(self) -> None:
        """Call until `end` is called."""
        clock = asyncio.get_running_loop().time
        # A server that checks no signatures takes a signed request as well.
        headers = sign_upgrade(f"{PUBLIC_URL}/stream", AUTH_TOKEN)
        try:
            async with connect(self._url, max_size=None, additional_headers=headers) as websocket:
                await websocket.send(json.dumps(self._of(MESSAGES[0])))
                listening = asyncio.create_task(self._listen(websocket))
                number, self._heard_at = 0, clock()
                while not self._over.is_set():
                    number += 1
                    audio = (number.to_bytes(8, "big") * (_FRAME // 8))[:_FRAME]
                    self._sent += audio
                    await websocket.send(json.dumps(self._of(MESSAGES[1], number, audio)))
                    await asyncio.sleep(_TICK)
                # What is on its way still comes, after the server has found time for it.
                try:
                    async with asyncio.timeout(30):
                        while len(self._heard) < len(self._sent):  # noqa: ASYNC110
                            await asyncio.sleep(_TICK)
                except TimeoutError:
                    missing = len(self._sent) - len(self._heard)
                    self.harm = self.harm or f"{missing} bytes of audio did not come back"
                listening.cancel()
        except (OSError, ConnectionClosed) as error:
            self.harm = self.harm or f"its connection broke: {error!r}"
        if self.harm is None and bytes(self._heard) != bytes(self._sent):
            self.harm = "the audio that came back is not what was sent"

    def hear(self, audio: bytes, at: float) -> None:
        """Take audio that came back, at a time in seconds."""
        self._heard += audio
        if self._heard_at is not None:
            self.gap = max(self.gap, at - self._heard_at)
        self._heard_at = at
        if self.gap > self._longest_gap:
            self.harm = self.harm or f"no audio came back for {self.gap:.1f} s"

    def end(self) -> None:
        """Hang up."""
        self._over.set()

    async def _listen(self, websocket: Any) -> None:
        async for message in websocket:
            command = json.loads(message)
            if command["event"] == "playAudio":
                payload = base64.b64decode(command["media"]["payload"])
                self.hear(payload, asyncio.get_running_loop().time())

    @staticmethod
    def _of(message: dict[str, Any], number: int = 0, audio: bytes = b"") -> dict[str, Any]:
        if "media" not in message:
            return message | {"start": message["start"] | {"callId": "honest"}}
        payload = base64.b64encode(audio).decode()
        media = message["media"] | {"chunk": number, "payload": payload}
        media["timestamp"] = str(round(number * _TICK * 1000))
        return message | {"media": media, "sequenceNumber": number + 1}
