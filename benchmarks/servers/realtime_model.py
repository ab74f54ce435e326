"""A speech-to-speech model with OpenAI's Realtime protocol that always gives the same answer.

Prints its address, and serves until its standard input ends.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any, cast

import msgspec
import pybase64
from websockets.asyncio.server import ServerConnection

from benchmarks.servers.mock_timings import ANSWER, marked
from benchmarks.servers.speech import speech
from mediaserver.testing.openai.realtime import (
    JsonDict,
    OpenAIRealtimeServer,
    RealtimeAnswer,
    ServedSession,
)


THINKING = 0.3
"""Seconds from the request for an answer to its first audio."""

SPEECH_SECONDS = 2.0

_DELTA = '{"type":"response.output_audio.delta"'


class _Stamping:
    """A connection on which the first audio of each answer encodes the time of its sending."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self._stamped = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def __aiter__(self) -> AsyncIterator[str | bytes]:
        return aiter(self._connection)

    async def send(self, message: str | bytes, **how: Any) -> None:
        if isinstance(message, str) and message.startswith(_DELTA):
            event = msgspec.json.decode(message)
            if event["item_id"] != self._stamped:
                self._stamped = event["item_id"]
                audio = pybase64.b64decode(event["delta"])
                event["delta"] = pybase64.b64encode(marked(audio)).decode()
                message = msgspec.json.encode(event).decode()
        await self._connection.send(message, **how)


class _Session(ServedSession):
    """Accepts the caller's audio without checks, which would take CPU from the phones."""

    def check(self, event: JsonDict) -> None:
        if event.get("type") != "input_audio_buffer.append":
            super().check(event)


class RealtimeModel(OpenAIRealtimeServer):
    """Thinks for a moment, and says the same sentence."""

    def next_answer(self) -> RealtimeAnswer:
        """Return an answer that begins a little later."""
        answer = RealtimeAnswer(text=ANSWER, samples=speech(SPEECH_SECONDS), wait_at=0)
        asyncio.get_running_loop().call_later(THINKING, answer.go.set)
        return answer

    def next_transcript(self) -> str:
        """Return the transcript of the caller's speech."""
        return "When will my order arrive?"

    async def accepted(self, event: JsonDict) -> None:
        """Forget what was accepted."""

    async def serve_connection(self, connection: ServerConnection) -> None:
        """Serve one client, and stamp its answers."""
        stamping = cast("ServerConnection", _Stamping(connection))
        await _Session(self, stamping).run()


async def main() -> None:
    """Serve until standard input ends."""
    async with RealtimeModel(chunks=(1600,)).running() as server:
        print(server.base_url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
