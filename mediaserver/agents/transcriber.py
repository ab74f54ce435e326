"""Transcribes what callers say."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import structlog

from mediaserver.agents.conversing.listening import Listener, Utterance
from mediaserver.agents.conversing.readiness import kept_ready, make_detector
from mediaserver.agents.conversing.transcribing import transcripts
from mediaserver.agents.recording.paths import check_path, stream_path
from mediaserver.agents.services import ServiceError, SpeechToText, Transcript
from mediaserver.agents.turns import TurnSettings, TurnTaker, VoiceDetector, default_detector
from mediaserver.agents.turns.words import words_of
from mediaserver.call import Frame
from mediaserver.handler import Handler
from mediaserver.stream import Stream


log = structlog.get_logger("mediaserver.agents")


class Transcriber(Handler):
    """Transcribes everything the caller says, utterance by utterance, and says nothing.

    Subclass it for `on_transcript`, or let it write a file of JSON lines:
    ``{"start": 1.24, "end": 2.8, "text": "hello"}``, in seconds since the start of the stream.

    Args:
        speech_to_text: transcribes the caller. An utterance at which it fails is left out.
        path: the path of a file to which lines are added, such as ``"calls/{call_id}.jsonl"``, with
            the fields of `stream_path`. None writes no file.
        turn_taking: what counts as an utterance, and when it ends.
        voice_detector: makes the detector that tells speech from noise, one for each call.
        patience: seconds to wait for `speech_to_text` once an utterance has ended.

    Raises:
        ValueError: `path` has an unknown field.

    """

    def __init__(
        self,
        speech_to_text: SpeechToText,
        path: str | os.PathLike[str] | None = None,
        *,
        turn_taking: TurnSettings | None = None,
        voice_detector: Callable[[], VoiceDetector] = default_detector,
        patience: float = 8.0,
    ) -> None:
        if not patience > 0:
            raise ValueError(f"patience must be in seconds, above 0, not {patience!r}")
        if path is not None:
            check_path(path)
        self.speech_to_text = speech_to_text
        self.path = path
        self.turn_taking = turn_taking if turn_taking is not None else TurnSettings()
        self.voice_detector = voice_detector
        self.patience = patience
        # Utterances wait here and are transcribed one at a time, in their order. None is the end.
        self._utterances: asyncio.Queue[Utterance | None] = asyncio.Queue()
        self._began = 0.0

    @classmethod
    @asynccontextmanager
    async def serving(cls, settings: Mapping[str, Any]) -> AsyncIterator[None]:
        """Load the voice detector and prewarm `speech_to_text`; close it when the worker stops.

        Only those in the route's settings; not those that a subclass makes itself.

        Raises:
            DetectorUnavailableError: the detector's packages are missing.
            ImportError: the service's packages are missing.

        """
        detector = settings.get("voice_detector")
        if detector is None and cls.__init__ is Transcriber.__init__:
            detector = default_detector
        if detector is not None:
            await make_detector(detector)
        service = settings.get("speech_to_text")
        async with kept_ready([] if service is None else [service]):
            yield

    async def on_transcript(self, transcript: Transcript) -> None:
        """Something was transcribed; the transcript may be partial."""

    async def __call__(self, stream: Stream) -> None:
        """Transcribe until the stream has ended and all of it is transcribed."""
        self._path = None if self.path is None else stream_path(self.path, stream)
        self._began = stream.clock()
        settings = self.turn_taking
        self.listener = Listener(
            stream,
            TurnTaker(settings, await make_detector(self.voice_detector)),
            barge_in="notify",
            preroll=settings.preroll,
            started=self._utterances.put_nowait,
        )
        await super().__call__(stream)

    async def on_start(self) -> None:
        """Transcribe what the caller says."""
        while (utterance := await self._utterances.get()) is not None:
            try:
                await self._transcribe(utterance)
            except ServiceError as error:
                self.stream.count_failure(error.service)
                log.warning("utterance not transcribed", error=str(error), call=self.stream.call_id)

    async def on_audio(self, frame: Frame) -> None:
        """Listen to the caller."""
        self.listener.hear(frame)

    async def on_stop(self, reason: str) -> None:
        """End the current utterance."""
        self.listener.end()
        self._utterances.put_nowait(None)

    async def _transcribe(self, utterance: Utterance) -> None:
        understood = transcripts(self.speech_to_text, utterance, patience=self.patience)
        async with aclosing(understood):
            async for transcript in understood:
                self.listener.understood(utterance, transcript.text, final=transcript.final)
                if utterance.dropped or not words_of(transcript.text):
                    continue
                if transcript.final and self._path is not None:
                    await self._write(self._path, self._line(utterance, transcript))
                await self.on_transcript(transcript)

    async def _write(self, path: Path, line: dict[str, Any]) -> None:
        try:
            await asyncio.to_thread(_add_line, path, line)
        except OSError as error:
            log.error(
                "transcript not written",
                path=str(path),
                error=str(error),
                call=self.stream.call_id,
            )

    def _line(self, utterance: Utterance, transcript: Transcript) -> dict[str, Any]:
        ended = utterance.ended_at
        return {
            "start": round(utterance.started_at - self._began, 2),
            "end": None if ended is None else round(ended - self._began, 2),
            "text": transcript.text.strip(),
        }


def _add_line(path: Path, line: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(msgspec.json.encode(line) + b"\n")
