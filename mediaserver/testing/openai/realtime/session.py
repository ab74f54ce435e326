"""One connection of a client: its events are taken, checked and answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, ClassVar, Protocol

import msgspec
import pybase64
from openai.types.realtime.realtime_server_event import RealtimeServerEvent
from pydantic import TypeAdapter
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from mediaserver.testing.loudness import LoudnessTurns
from mediaserver.testing.openai.realtime.client_events import (
    JsonDict,
    RealtimeRefusal,
    check_event,
    decoded_audio,
    read_event,
)
from mediaserver.testing.openai.realtime.conversation import RealtimeConversation, RealtimeItem
from mediaserver.testing.openai.realtime.session_settings import SessionSettings
from mediaserver.testing.realtime_answers import CallTool, RealtimeAnswer


_SHORTEST_TURN = 0.1
"""Seconds of audio below which a turn cannot be committed."""

_SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)


class _Prompter(Protocol):
    """What a session needs from its server."""

    refusals: list[tuple[str | None, str]]
    transcribe: Callable[[], Awaitable[None]] | None

    def next_answer(self) -> RealtimeAnswer: ...
    def next_transcript(self) -> str: ...
    def chunks(self) -> Iterator[int]: ...
    async def accepted(self, event: JsonDict) -> None: ...


class ServedSession:
    """One connection of a client."""

    settings_class: ClassVar[type[SessionSettings]] = SessionSettings

    def __init__(self, server: _Prompter, connection: ServerConnection) -> None:
        self._server = server
        self._connection = connection
        self._settings = self.settings_class()
        self._conversation = RealtimeConversation()
        self._turns = LoudnessTurns()
        self._buffer = bytearray()
        self._count = 0
        self._responding: asyncio.Task[None] | None = None
        self._response_id = ""
        # The item that is being said or used, and its index in the response.
        self._unfinished: tuple[JsonDict, int] | None = None
        self._spoke = False
        self._speech_item = ""

    @property
    def settings(self) -> JsonDict:
        """The settings, as the client has set them."""
        return self._settings.values

    @property
    def items(self) -> dict[str, RealtimeItem]:
        """The conversation, in its order."""
        return self._conversation.items

    async def run(self) -> None:
        """Serve until the client goes."""
        try:
            await self._send("session.created", session=self._shown_settings())
            async for message in self._connection:
                await self._take(message)
        except ConnectionClosed:
            pass
        finally:
            if self._responding is not None:
                self._responding.cancel()

    async def drop(self, reason: str | None = None) -> None:
        """Break the connection, or close it for a reason."""
        if reason is None:
            self._connection.transport.abort()
        else:
            await self._connection.close(1011, reason)

    async def stop(self, reason: str) -> None:
        """Cancel the response that is being made, if there is one."""
        if self._responding is None or self._responding.done():
            return
        self._responding.cancel()
        await asyncio.wait([self._responding])
        if self._unfinished is not None:
            await self._item_done(*self._unfinished, status="incomplete")
        details = {"type": "cancelled", "reason": reason}
        await self._response_done("cancelled", status_details=details, usage=_usage((100, 0, 10)))

    def check(self, event: JsonDict) -> None:
        """Check an event against its type.

        Raises:
            RealtimeRefusal: it does not fit.

        """
        check_event(event)

    # Events of the client.

    async def _take(self, message: str | bytes) -> None:
        event_id: str | None = None
        try:
            event = read_event(message)
            event_id = event.get("event_id")
            self.check(event)
            await getattr(self, "_on_" + event["type"].replace(".", "_"))(event)
        except RealtimeRefusal as refusal:
            self._server.refusals.append((refusal.code, str(refusal)))
            error = {
                "type": "invalid_request_error",
                "code": refusal.code,
                "message": str(refusal),
                "param": refusal.param,
                "event_id": event_id,
            }
            await self._send("error", error=error)
        else:
            await self._server.accepted(event)

    async def _on_session_update(self, event: JsonDict) -> None:
        self._settings.change(event["session"], spoke=self._spoke)
        await self._send("session.updated", session=self._shown_settings())

    async def _on_input_audio_buffer_append(self, event: JsonDict) -> None:
        audio = decoded_audio(event)
        self._buffer += audio
        if (detection := self._settings.turn_detection) is not None:
            await self._listen(audio, detection)

    async def _on_input_audio_buffer_commit(self, event: JsonDict) -> None:
        length = self._settings.seconds(len(self._buffer))
        if length < _SHORTEST_TURN:
            raise RealtimeRefusal(
                "input_audio_buffer_commit_empty",
                "Error committing input audio buffer: buffer too small. Expected at least 100ms "
                f"of audio, but buffer only has {length * 1000:.2f}ms of audio.",
            )
        await self._commit(self._new_id("item"))

    async def _on_input_audio_buffer_clear(self, event: JsonDict) -> None:
        self._buffer.clear()
        await self._send("input_audio_buffer.cleared")

    async def _on_conversation_item_create(self, event: JsonDict) -> None:
        self._conversation.check_new(event)
        await self._add(event["item"], event["item"].get("id") or self._new_id("item"))

    async def _on_conversation_item_truncate(self, event: JsonDict) -> None:
        self._conversation.truncate(event, self._settings)
        place = {name: event[name] for name in ("item_id", "content_index", "audio_end_ms")}
        await self._send("conversation.item.truncated", **place)

    async def _on_conversation_item_delete(self, event: JsonDict) -> None:
        self._conversation.find(event["item_id"], "delete")
        del self.items[event["item_id"]]
        await self._send("conversation.item.deleted", item_id=event["item_id"])

    async def _on_conversation_item_retrieve(self, event: JsonDict) -> None:
        item = self._conversation.find(event["item_id"], "retrieve")
        await self._send("conversation.item.retrieved", item=item.value)

    async def _on_output_audio_buffer_clear(self, event: JsonDict) -> None:
        raise RealtimeRefusal("invalid_value", "output_audio_buffer.clear is for WebRTC and SIP.")

    async def _on_response_create(self, event: JsonDict) -> None:
        if self._is_responding:
            raise RealtimeRefusal(
                "conversation_already_has_active_response",
                f"Conversation already has an active response in progress: {self._response_id}. "
                "Wait until the response is finished before creating a new one.",
            )
        await self._respond()

    async def _on_response_cancel(self, event: JsonDict) -> None:
        if not self._is_responding:
            text = "Cancellation failed: no active response found"
            raise RealtimeRefusal("response_cancel_not_active", text)
        await self.stop("client_cancelled")

    # The caller's turns.

    async def _listen(self, audio: bytes, detection: JsonDict) -> None:
        wire, silence = self._settings.wire("input"), detection["silence_duration_ms"] / 1000
        changed = self._turns.hear(audio, wire, silence)
        now = round(self._turns.heard * 1000)
        if changed == "started":
            item_id = self._speech_item = self._new_id("item")
            await self._send(
                "input_audio_buffer.speech_started", item_id=item_id, audio_start_ms=now
            )
            if detection["interrupt_response"]:
                await self.stop("turn_detected")
        elif changed == "stopped":
            item_id = self._speech_item
            await self._send("input_audio_buffer.speech_stopped", item_id=item_id, audio_end_ms=now)
            await self._commit(item_id)
            if detection["create_response"]:
                await self._respond()

    async def _commit(self, item_id: str) -> None:
        length = self._settings.seconds(len(self._buffer))
        self._buffer.clear()
        await self._send(
            "input_audio_buffer.committed",
            item_id=item_id,
            previous_item_id=self._conversation.last_id,
        )
        content = {"type": "input_audio", "transcript": None}
        await self._add({"type": "message", "role": "user", "content": [content]}, item_id)
        if self._server.transcribe is not None:
            await self._server.transcribe()
        if self._settings.transcribes:
            await self._send(
                "conversation.item.input_audio_transcription.completed",
                item_id=item_id,
                content_index=0,
                transcript=self._server.next_transcript(),
                usage={"type": "duration", "seconds": length},
            )

    # The model's answers.

    @property
    def _is_responding(self) -> bool:
        return self._responding is not None and not self._responding.done()

    async def _respond(self) -> None:
        if self._is_responding:
            return
        self._response_id = self._new_id("resp")
        answer = self._server.next_answer()
        await self._send("response.created", response=self._response("in_progress"))
        self._responding = asyncio.create_task(self._answer(answer))

    async def _answer(self, answer: RealtimeAnswer) -> None:
        try:
            if answer.speaks:
                await self._speak(answer)
            for index, call in enumerate(answer.calls, int(answer.speaks)):
                await self._use(call, index, answer)
            # The response is no longer active: a client that has read its end may ask for another.
            self._responding = None
            usage = _usage(answer.tokens)
            if answer.incomplete is not None:
                details: JsonDict = {"type": "incomplete", "reason": answer.incomplete}
                await self._response_done("incomplete", status_details=details, usage=usage)
            elif answer.failed is None:
                await self._response_done("completed", usage=usage)
            else:
                code, message = answer.failed
                error = {"type": "server_error", "code": code, "message": message}
                details = {"type": "failed", "error": error}
                await self._response_done("failed", status_details=details)
        except ConnectionClosed:
            pass

    async def _speak(self, answer: RealtimeAnswer) -> None:
        if answer.wait_at == 0:
            await answer.go.wait()
        started: JsonDict = {"type": "message", "role": "assistant", "content": []}
        item, place = await self._begin_item(started, 0, audio=0)
        place["content_index"] = 0
        part = {"type": "audio", "transcript": ""}
        await self._send("response.content_part.added", **place, part=part)
        item.value["content"] = [{"type": "output_audio", "transcript": answer.text}]
        async for audio in self._pieces(answer, place):
            assert item.audio is not None
            item.audio += len(audio)
            self._spoke = True
            await self._connection.send(
                f'{{"type":"response.output_audio.delta","event_id":"{self._new_id("event")}",'
                f'"response_id":"{self._response_id}","item_id":"{place["item_id"]}",'
                f'"output_index":0,"content_index":0,"delta":"{pybase64.b64encode(audio).decode()}"}}'
            )
            # Let the client's own messages be read meanwhile.
            await asyncio.sleep(0)
        await self._send("response.output_audio.done", **place)
        await self._send("response.output_audio_transcript.done", **place, transcript=answer.text)
        await self._item_done(item.value, 0, status=_status(answer))

    async def _pieces(self, answer: RealtimeAnswer, place: JsonDict) -> AsyncIterator[bytes]:
        """Yield an answer's audio, with its words and its failures sent in between."""
        audio, words = answer.sound(self._settings.wire("output")), answer.words
        start = said = 0
        for count, size in enumerate(self._server.chunks()):
            if start >= len(audio):
                return
            piece = audio[start : start + size]
            start += len(piece)
            # Words come ahead of their sound, as they do from the API.
            while said < len(words) and said * len(audio) <= start * len(words):
                await self._send(
                    "response.output_audio_transcript.delta", **place, delta=words[said]
                )
                said += 1
            if answer.insert_at == count:
                await self._connection.send(answer.insert, text=True)
            if answer.drop_at == count:
                await self.drop()
                await self._connection.wait_closed()
                raise ConnectionClosed(None, None)
            if answer.wait_at == count:
                await answer.go.wait()
            yield piece

    async def _use(self, call: CallTool, index: int, answer: RealtimeAnswer) -> None:
        call_id, arguments = self._new_id("call"), msgspec.json.encode(call.arguments).decode()
        started = {"type": "function_call", "call_id": call_id, "name": call.name, "arguments": ""}
        item, place = await self._begin_item(started, index)
        place["call_id"] = call_id
        kind = "response.function_call_arguments"
        await self._send(f"{kind}.delta", **place, delta=arguments)
        await self._send(f"{kind}.done", **place, arguments=arguments, name=call.name)
        item.value["arguments"] = arguments
        await self._item_done(item.value, index, status=_status(answer))

    async def _begin_item(
        self, started: JsonDict, index: int, audio: int | None = None
    ) -> tuple[RealtimeItem, JsonDict]:
        """Begin an item of the response, and return it and its place."""
        item_id, started = self._new_id("item"), {**started, "status": "in_progress"}
        place: JsonDict = {"response_id": self._response_id, "output_index": index}
        shown = {**started, "id": item_id, "object": "realtime.item"}
        await self._send("response.output_item.added", **place, item=shown)
        await self._add(started, item_id, audio)
        item = self.items[item_id]
        self._unfinished = (item.value, index)
        return item, {**place, "item_id": item_id}

    async def _item_done(self, value: JsonDict, index: int, *, status: str) -> None:
        self._unfinished = None
        value["status"] = status
        place = {"response_id": self._response_id, "output_index": index}
        await self._send("conversation.item.done", item=value)
        await self._send("response.output_item.done", **place, item=value)

    async def _response_done(self, status: str, **more: Any) -> None:
        await self._send("response.done", response=self._response(status, **more))

    def _response(self, status: str, **more: Any) -> JsonDict:
        known = {"id": self._response_id, "object": "realtime.response", "output": []}
        return {**known, "status": status, **more}

    # Sending.

    async def _add(self, item: JsonDict, item_id: str, audio: int | None = None) -> None:
        previous = self._conversation.last_id
        value = self._conversation.add(item, item_id, audio)
        await self._send("conversation.item.added", item=value, previous_item_id=previous)
        if item.get("status") != "in_progress":
            await self._send("conversation.item.done", item=value, previous_item_id=previous)

    def _shown_settings(self) -> JsonDict:
        return {"object": "realtime.session", "id": "sess_1", **self.settings}

    def _new_id(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"

    async def _send(self, kind: str, **values: Any) -> None:
        event = {"type": kind, "event_id": self._new_id("event"), **values}
        self._check_own(event)
        await self._connection.send(msgspec.json.encode(event).decode())

    def _check_own(self, event: JsonDict) -> None:
        _SERVER_EVENT.validate_python(event)


def _status(answer: RealtimeAnswer) -> str:
    return "completed" if answer.incomplete is None else "incomplete"


def _usage(tokens: tuple[int, int, int]) -> JsonDict:
    read, cached, written = tokens
    heard = {"text_tokens": read, "audio_tokens": 0, "cached_tokens": cached}
    return {
        "total_tokens": read + written,
        "input_tokens": read,
        "output_tokens": written,
        "input_token_details": heard,
        "output_token_details": {"text_tokens": 0, "audio_tokens": written},
    }
