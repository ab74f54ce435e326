"""Transcribes what callers say."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import structlog

from mediaserver.agents.conversing.call_tasks import CallTasks
from mediaserver.agents.conversing.ear import Ear
from mediaserver.agents.conversing.listening import Listener, Utterance
from mediaserver.agents.conversing.readiness import kept_ready, make_detector
from mediaserver.agents.conversing.setting_types import check_service
from mediaserver.agents.recording.paths import check_path, stream_path
from mediaserver.agents.services import Recognizer, ServiceError, SpeechToText, Transcript
from mediaserver.agents.turns import TurnSettings, TurnTaker, VoiceDetector, default_detector
from mediaserver.agents.turns.words import words_of
from mediaserver.call import Frame
from mediaserver.handler import Handler
from mediaserver.stream import Stream


log = structlog.get_logger("mediaserver.agents")


class Transcriber(Handler):
    """Transcribes everything the caller says, utterance by utterance, and says nothing.

    Subclass it for `on_transcript`, or let it write a file of JSON lines:
    ``{"track": "inbound", "start": 1.24, "end": 2.8, "text": "hello"}``, in seconds since the start
    of the stream. If the stream has an outbound track, the other party is listened to and
    transcribed apart from the caller.

    Args:
        speech_to_text: transcribes the caller, by a session for each track if it is a `Recognizer`.
            An utterance at which it fails is left out.
        path: the path of a file to which lines are added, such as ``"calls/{call_id}.jsonl"``, with
            the fields of `stream_path`. None writes no file.
        turn_taking: what counts as an utterance, and when it ends.
        voice_detector: makes the detector that tells speech from noise, one for each call.
        patience: seconds to wait for `speech_to_text` once an utterance has ended.
        recognizer_hears: what a `Recognizer` is given: everything, or only what is said.

    Raises:
        ValueError: `path` has an unknown field.

    """

    def __init__(
        self,
        speech_to_text: SpeechToText | Recognizer,
        path: str | os.PathLike[str] | None = None,
        *,
        turn_taking: TurnSettings | None = None,
        voice_detector: Callable[[], VoiceDetector] = default_detector,
        patience: float = 8.0,
        recognizer_hears: Literal["everything", "speech"] = "everything",
    ) -> None:
        if not patience > 0:
            raise ValueError(f"patience must be in seconds, above 0, not {patience!r}")
        if recognizer_hears not in ("everything", "speech"):
            raise ValueError(
                f"recognizer_hears must be 'everything' or 'speech', not {recognizer_hears!r}"
            )
        if path is not None:
            check_path(path)
        self.speech_to_text = speech_to_text
        self.path = path
        self.turn_taking = turn_taking if turn_taking is not None else TurnSettings()
        self.voice_detector = voice_detector
        self.patience = patience
        self.recognizer_hears = recognizer_hears
        self._ended = False
        self._parties: dict[str, _Party] = {}
        self._began = 0.0

    @classmethod
    @asynccontextmanager
    async def serving(cls, settings: Mapping[str, Any]) -> AsyncIterator[Mapping[str, str]]:
        """Load the voice detector, check and prewarm `speech_to_text`; close it in the end.

        Only those in the route's settings; not those that a subclass makes itself.

        Raises:
            HandlerError: the service cannot work as it is set up, such as without a key.
            DetectorUnavailableError: the detector's packages are missing.
            ImportError: the service's packages are missing.

        """
        detector = settings.get("voice_detector")
        if detector is None and cls.__init__ is Transcriber.__init__:
            detector = default_detector
        if detector is not None:
            await make_detector(detector)
        service = settings.get("speech_to_text")
        async with kept_ready([] if service is None else [service]) as unready:
            yield unready

    def check_at_start(self) -> None:
        """Check that the service can transcribe."""
        check_service("speech_to_text", self.speech_to_text, SpeechToText | Recognizer)

    async def on_transcript(self, transcript: Transcript) -> None:
        """Something was transcribed; it may be partial, and its `Transcript.track` says whose."""

    async def __call__(self, stream: Stream) -> None:
        """Transcribe until the stream has ended and all of it is transcribed."""
        self._path = None if self.path is None else stream_path(self.path, stream)
        self._began = stream.clock()
        self._parties = {
            track: _Party(
                stream,
                TurnTaker(self.turn_taking, await make_detector(self.voice_detector)),
                self.turn_taking.preroll,
                Ear(
                    self.speech_to_text,
                    patience=self.patience,
                    speech_only=self.recognizer_hears == "speech",
                    lost=self._count_failure,
                    ended=lambda: self._ended,
                ),
            )
            for track in stream.tracks
        }
        await super().__call__(stream)

    async def on_start(self) -> None:
        """Transcribe what each party says."""
        async with asyncio.TaskGroup() as group:
            tasks = CallTasks(group, f"call {self.stream.call_id}", lambda work: work)
            parties = list(self._parties.values())
            try:
                for party in parties:
                    party.ear.open(tasks, self.stream.format)
                await asyncio.wait(
                    [tasks.start(self._transcribe_all(track), track) for track in self._parties]
                )
            finally:
                self._ended = True
                tasks.end()
                await tasks.cancel()
                for party in parties:
                    await party.ear.close()

    async def on_audio(self, frame: Frame) -> None:
        """Listen to whoever speaks on this track."""
        party = self._parties.get(frame.track)
        if party is not None:
            party.ear.hear(frame)
            party.listener.hear(frame)

    async def on_stop(self, reason: str) -> None:
        """End the current utterances."""
        for party in self._parties.values():
            party.listener.end()
            party.utterances.put_nowait(None)

    async def _transcribe_all(self, track: str) -> None:
        utterances = self._parties[track].utterances
        while (utterance := await utterances.get()) is not None:
            try:
                await self._transcribe(track, utterance)
            except ServiceError as error:
                self._count_failure(error)
                log.warning("utterance not transcribed", error=str(error), call=self.stream.call_id)

    def _count_failure(self, error: ServiceError) -> None:
        self.stream.count_failure(error.service)

    async def _transcribe(self, track: str, utterance: Utterance) -> None:
        listener = self._parties[track].listener
        understood = self._parties[track].ear.transcripts(utterance)
        async with aclosing(understood):
            async for transcript in understood:
                listener.understood(utterance, transcript.text, final=transcript.final)
                if utterance.dropped or not words_of(transcript.text):
                    continue
                told = replace(transcript, track=track)
                if told.final and self._path is not None:
                    await self._write(self._path, self._line(utterance, told))
                await self.on_transcript(told)

    async def _write(self, path: Path, line: dict[str, Any]) -> None:
        try:
            await asyncio.to_thread(_add_line, path, line)
            self.stream.transcript = path
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
            "track": transcript.track,
            "start": round(utterance.started_at - self._began, 2),
            "end": None if ended is None else round(ended - self._began, 2),
            "text": transcript.text.strip(),
        }


class _Party:
    """One track. What is said on it is told one utterance after the other; None is the end."""

    def __init__(self, stream: Stream, taker: TurnTaker, preroll: float, ear: Ear) -> None:
        self.ear = ear
        self.utterances: asyncio.Queue[Utterance | None] = asyncio.Queue()
        self.listener = Listener(
            stream, taker, barge_in="notify", preroll=preroll, started=self._begin
        )

    def _begin(self, utterance: Utterance) -> None:
        self.ear.begin(utterance)
        self.utterances.put_nowait(utterance)


def _add_line(path: Path, line: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(msgspec.json.encode(line) + b"\n")
