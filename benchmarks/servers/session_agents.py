"""Voice agents whose services have sessions: handlers for `mediaserver serve`."""

import os
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from audiocodecs import AudioFormat
from benchmarks.servers.recognizer import Told
from benchmarks.servers.voice_agents import Answering, Talkative
from mediaserver.agents.services import (
    RecognizedWords,
    RecognizerEvent,
    Transcript,
    WordsComplete,
)
from mediaserver.agents.services.service_socket import ServiceSocket
from mediaserver.agents.turns import LevelDetector, TurnSettings
from mediaserver.call import Frame


RECOGNIZER_URL = "BENCHMARK_RECOGNIZER_URL"
"""The variable with the address of `benchmarks.servers.recognizer`."""


class LocalRecognizer:
    """Opens sessions of `benchmarks.servers.recognizer`."""

    async def listen(self, format: AudioFormat) -> "LocalSession":
        """Open a session."""
        socket = await ServiceSocket.connect("local", os.environ[RECOGNIZER_URL], within=5.0)
        return LocalSession(socket)


class LocalSession:
    """A session, which is given everything."""

    takes_turns = False
    continuous = True
    expires_after: float | None = None

    def __init__(self, socket: ServiceSocket) -> None:
        self._socket = socket
        self._final = 0.0

    async def hear(self, frame: Frame) -> None:
        """Send audio."""
        await self._socket.send(frame.payload)

    async def finish(self) -> None:
        """Ask for final words."""
        await self._socket.send("finish")

    async def events(self) -> AsyncIterator[RecognizerEvent]:
        """Yield what is told."""
        while True:
            told = msgspec.json.decode(await self._socket.receive(), type=Told)
            yield RecognizedWords(told.text, self._final, told.through, told.final)
            if told.final:
                self._final = told.through
                yield WordsComplete(told.through)

    async def close(self) -> None:
        """Close the connection."""
        await self._socket.close()


class Unhearing(Answering):
    """Answers at the pace of the mock services, of which none has a session."""

    voice_detector = LevelDetector


class Understanding(Unhearing):
    """The same with sessions; tells when it uses a final transcript, by a checkpoint's name."""

    speech_to_text = LocalRecognizer()

    async def on_transcript(self, transcript: Transcript) -> None:
        """Tell the time of a final one."""
        if transcript.final and transcript.text:
            self.stream.checkpoint(f"told:used:{time.monotonic()}")


class Interruptible(Talkative):
    """Is interrupted by words only, and tells how long after the first of them."""

    voice_detector = LevelDetector
    speech_to_text = LocalRecognizer()
    turn_taking = TurnSettings(confirm=10.0, decide_within=10.0)

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._told_at = 0.0

    async def on_transcript(self, transcript: Transcript) -> None:
        """Remember when the first words were told."""
        if transcript.text:
            self._told_at = int(transcript.text.split()[0]) / 1e9

    async def on_barge_in(self, confirmed: bool) -> None:
        """Tell how long after the words the agent was interrupted."""
        if confirmed:
            self.stream.checkpoint(f"told:interrupted:{time.monotonic() - self._told_at}")
