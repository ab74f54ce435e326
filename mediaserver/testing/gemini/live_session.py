"""One connection to the local Live API."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec
import pybase64
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from audiocodecs import L16_16K, L16_24K
from mediaserver.testing.gemini.schema import (
    LiveClientMessage,
    LiveInput,
    LiveSetup,
    LiveToolResponse,
    WireBlob,
    WireContent,
    read_closed,
)
from mediaserver.testing.http_server import RefusedError
from mediaserver.testing.loudness import LoudnessTurns
from mediaserver.testing.realtime_answers import RealtimeAnswer


INVALID = 1007
"""The code with which the API closes a connection at a message that it does not take."""


LiveTurns: TypeAlias = list[tuple[str, str]]
"""A conversation as the model knows it: roles and texts."""


class LiveScript(Protocol):
    """What a connection needs of its server: see `GeminiLiveServer`."""

    refusals: list[str]
    states: dict[str, LiveTurns]
    playback: bool
    resumable: bool
    quiet: bool
    setup_seconds: float

    def next_answer(self) -> RealtimeAnswer:
        """Return the next answer."""

    def next_transcript(self) -> str:
        """Return what the caller is understood to have said."""

    def chunks(self) -> Iterator[int]:
        """Return the sizes of the pieces of an answer's audio."""

    def keep(self, turns: LiveTurns) -> str:
        """Keep what the model knows, and return the handle to resume it with."""

    async def accepted(self, message: LiveClientMessage) -> None:
        """Note a message of a client."""


class ServedLive:
    """A connection: what the model knows over it, and what it does.

    Attributes:
        turns: the conversation as the model knows it: roles and texts.
        setup: the settings.
        heard: bytes of the caller's audio.

    """

    def __init__(self, server: LiveScript, connection: ServerConnection) -> None:
        self.turns: LiveTurns = []
        self.heard = 0
        self._server = server
        self._connection = connection
        self._loudness = LoudnessTurns()
        self._answering: asyncio.Task[None] | None = None
        self._in_activity = False
        self._typed: list[str] = []
        self._began = False
        self._calls: dict[str, str] = {}

    async def run(self) -> None:
        """Serve the client until it goes."""
        try:
            await self._begin()
            while True:
                await self._take(await self._next())
        except RefusedError as refused:
            self._server.refusals.append(refused.message)
            await self._connection.close(INVALID, refused.message[:120])
        except ConnectionClosed:
            pass
        finally:
            await self._stop()

    async def drop(self) -> None:
        """Break the connection."""
        self._connection.transport.abort()
        await self._connection.wait_closed()

    async def go_away(self, seconds: float) -> None:
        """Say that the connection will be closed."""
        await self._send(goAway={"timeLeft": f"{seconds:g}s"})

    async def send_raw(self, message: str) -> None:
        """Send anything."""
        await self._connection.send(message, text=False)

    async def _next(self) -> LiveClientMessage:
        message = read_closed(await self._connection.recv(), LiveClientMessage)
        if len(msgspec.to_builtins(message)) != 1:
            raise RefusedError(400, "a message must have exactly one field")
        await self._server.accepted(message)
        return message

    async def _begin(self) -> None:
        setup = (await self._next()).setup
        if setup is None:
            raise RefusedError(400, "the first message must be setup")
        self.setup: LiveSetup = setup
        if not setup.model.startswith("models/"):
            raise RefusedError(400, f"models/{setup.model} is not found")
        if setup.generation_config.response_modalities != ["AUDIO"]:
            raise RefusedError(400, "this model speaks: responseModalities must be AUDIO")
        resumption = setup.session_resumption
        if resumption is not None and resumption.handle is not None:
            if resumption.handle not in self._server.states:
                raise RefusedError(400, "the session to resume is not found")
            self.turns = [*self._server.states[resumption.handle]]
        await self._set_up()
        history = setup.history_config
        while history is not None and history.initial_history_in_client_content:
            content = (await self._next()).client_content
            if content is None:
                raise RefusedError(400, "the history must come first, in clientContent")
            self._learn(content.turns)
            if content.turn_complete:
                break

    async def _set_up(self) -> None:
        """Agree to the settings. Nothing may come before that."""
        early = asyncio.create_task(self._connection.recv())
        await asyncio.wait([early], timeout=self._server.setup_seconds)
        if not early.cancel():
            raise RefusedError(400, "nothing may be sent before setupComplete has come")
        await asyncio.wait([early])
        await self._send(setupComplete={})

    async def _take(self, message: LiveClientMessage) -> None:
        if message.setup is not None:
            raise RefusedError(400, "setup must be the first message only")
        if message.realtime_input is not None:
            await self._hear(message.realtime_input)
        elif message.client_content is not None:
            await self._interrupt()
            self._learn(message.client_content.turns)
            if message.client_content.turn_complete:
                self._answer()
        elif message.tool_response is not None:
            self._returned(message.tool_response)
        elif message.context_update is not None:
            update = message.context_update
            if update.system_instruction is not None:
                self.setup.system_instruction = update.system_instruction
            if update.tools is not None:
                self.setup.tools = update.tools.tools

    @property
    def _listens(self) -> bool:
        """Whether the server takes the turns."""
        return not self.setup.realtime_input_config.automatic_activity_detection.disabled

    async def _hear(self, heard: LiveInput) -> None:
        if len(msgspec.to_builtins(heard)) != 1:
            raise RefusedError(400, "realtimeInput must have exactly one field")
        if heard.audio is not None:
            await self._hear_audio(heard.audio)
        elif heard.text is not None:
            await self._read(heard.text)
        elif heard.audio_stream_end is not None:
            if not self._listens or not heard.audio_stream_end:
                raise RefusedError(400, "audioStreamEnd needs automatic activity detection")
            await self._finished()
        elif self._listens:
            raise RefusedError(
                400,
                "Explicit activity control is not supported when automatic activity detection is "
                "enabled.",
            )
        elif self._in_activity is (heard.activity_start is not None):
            raise RefusedError(400, "activityStart and activityEnd must alternate")
        elif heard.activity_start is not None:
            self._in_activity = True
            await self._interrupt()
        else:
            self._in_activity = False
            await self._finished()

    async def _read(self, text: str) -> None:
        """Take a typed text, which is activity like speech."""
        if not text:
            raise RefusedError(400, "a text must not be empty")
        if self._in_activity:
            self._typed.append(text)
        elif self._listens:
            await self._interrupt()
            self.turns.append(("user", text))
            self._answer()
        else:
            raise RefusedError(400, "text outside of an activity")

    async def _hear_audio(self, audio: WireBlob) -> None:
        if audio.mime_type != "audio/pcm;rate=16000" or len(audio.data) % 2 or not audio.data:
            raise RefusedError(400, f"not PCM of 16 kHz: {audio.mime_type}")
        self.heard += len(audio.data)
        if not self._listens:
            if not self._in_activity:
                raise RefusedError(400, "audio outside of an activity")
            return
        silence = self.setup.realtime_input_config.automatic_activity_detection.silence_duration_ms
        changed = self._loudness.hear(
            audio.data, L16_16K, 0.5 if silence is None else silence / 1000
        )
        if changed == "started":
            await self._interrupt()
        elif changed == "stopped":
            await self._finished()

    async def _finished(self) -> None:
        """Transcribe the caller's turn, and answer it."""
        text = self._server.next_transcript()
        if self.setup.input_audio_transcription is not None:
            for word in text.split():
                await self._content(inputTranscription={"text": f" {word}"})
        self.turns.append(("user", " ".join([text, *self._typed]).strip()))
        self._typed.clear()
        self._answer()

    def _learn(self, turns: Sequence[WireContent]) -> None:
        for turn in turns:
            if turn.role is None:
                raise RefusedError(400, "a turn must have a role")
            self.turns.append((turn.role, " ".join(part.text or "" for part in turn.parts)))

    def _returned(self, response: LiveToolResponse) -> None:
        if not response.function_responses:
            raise RefusedError(400, "toolResponse has no functionResponses")
        for result in response.function_responses:
            if self._calls.pop(str(result.id), None) != result.name:
                raise RefusedError(400, f"there is no open call {result.id} of {result.name}")
            self.turns.append(("user", f"{result.name}: {result.response}"))
        if not self._calls:
            self._answer()

    # What the model does.

    def _answer(self) -> None:
        self._began = False
        self._answering = asyncio.create_task(self._say(self._server.next_answer()))

    async def _stop(self) -> bool:
        task, self._answering = self._answering, None
        if task is None or task.done():
            return False
        task.cancel()
        await asyncio.wait([task])
        return True

    async def _interrupt(self) -> None:
        if await self._stop() and (self._began or not self._server.quiet):
            await self._content(interrupted=True)
            await self._content(turnComplete=True)
        if self._calls:
            await self._send(toolCallCancellation={"ids": [*self._calls]})
            self._calls.clear()

    async def _say(self, answer: RealtimeAnswer) -> None:
        with contextlib.suppress(ConnectionClosed):
            await self._update(resumable=False)
            if answer.speaks:
                await self._speak(answer)
            read, cached, written = answer.tokens
            usage = {
                "promptTokenCount": read,
                "cachedContentTokenCount": cached,
                "responseTokenCount": written,
                "totalTokenCount": read + written,
            }
            if answer.calls:
                calls = [
                    {"id": f"call-{len(self.turns)}-{i}", "name": c.name, "args": {**c.arguments}}
                    for i, c in enumerate(answer.calls)
                ]
                self._calls = {str(call["id"]): str(call["name"]) for call in calls}
                await self._send(toolCall={"functionCalls": calls}, usageMetadata=usage)
                return
            await self._content(generationComplete=True)
            if self._server.playback:
                await asyncio.sleep(L16_24K.seconds(answer.sound(L16_24K)))
            self.turns.append(("model", answer.text))
            if answer.unended:
                return
            done: dict[str, Any] = {"turnComplete": True}
            if answer.incomplete is not None:
                done["turnCompleteReason"] = answer.incomplete
            self._answering = None
            await self._send(serverContent=done, usageMetadata=usage)
            await self._update(resumable=True)

    async def _speak(self, answer: RealtimeAnswer) -> None:
        if answer.wait_at == 0:
            await answer.go.wait()
        audio, words = answer.sound(L16_24K), answer.words
        start = said = 0
        for count, size in enumerate(self._server.chunks()):
            if start >= len(audio):
                return
            piece = audio[start : start + size]
            start += len(piece)
            self._began = True
            # Words come ahead of their sound, as they do from the API.
            while said < len(words) and said * len(audio) <= start * len(words):
                await self._content(outputTranscription={"text": words[said]})
                said += 1
            if answer.insert_at == count:
                await self._connection.send(answer.insert, text=False)
            if answer.drop_at == count:
                self._connection.transport.abort()
                await self._connection.wait_closed()
                raise ConnectionClosed(None, None)
            if answer.wait_at == count:
                await answer.go.wait()
            data = pybase64.b64encode(piece).decode()
            blob = {"mimeType": "audio/pcm;rate=24000", "data": data}
            await self._content(modelTurn={"parts": [{"inlineData": blob}]})
            # Let the client's own messages be read meanwhile.
            await asyncio.sleep(0)

    async def _update(self, *, resumable: bool) -> None:
        if self.setup.session_resumption is None or not self._server.resumable:
            return
        handle = self._server.keep(self.turns) if resumable else ""
        await self._send(sessionResumptionUpdate={"newHandle": handle, "resumable": resumable})

    async def _content(self, **content: Any) -> None:
        await self._send(serverContent=content)

    async def _send(self, **message: Any) -> None:
        # The API sends JSON in binary messages.
        await self._connection.send(msgspec.json.encode(message))
