"""A local server that speaks OpenAI's Realtime protocol, for tests: it says what a script says.

It is as strict as it can be: every message of a client is checked with the `openai` package's own
types, in which nothing may be left over, and by the rules of the API's reference. What breaks them
is refused with the API's own errors, and kept in `OpenAIRealtimeServer.refusals`.

It never waits for a clock: an answer is sent as fast as the client takes it, unless its script has
it wait for an event.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import cycle
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

import msgspec
import numpy as np
import pybase64
from numpy.typing import NDArray
from openai.types.realtime.realtime_client_event import RealtimeClientEvent
from openai.types.realtime.realtime_server_event import RealtimeServerEvent
from pydantic import BaseModel, TypeAdapter, ValidationError
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from audiocodecs import L16_24K, MULAW_8K, AudioFormat


JsonObject: TypeAlias = dict[str, Any]

SHORTEST_TURN = 0.1
"""Seconds of audio without which a turn cannot be taken."""

SECONDS_PER_WORD = 0.3

LOUD = 500
"""The level from which audio is speech to this server, where it is to take the turns."""

CLIENT_EVENTS = (
    "session.update",
    "input_audio_buffer.append",
    "input_audio_buffer.commit",
    "input_audio_buffer.clear",
    "conversation.item.create",
    "conversation.item.truncate",
    "conversation.item.delete",
    "conversation.item.retrieve",
    "response.create",
    "response.cancel",
    "output_audio_buffer.clear",
)

_CLIENT_EVENT: TypeAdapter[BaseModel] = TypeAdapter(RealtimeClientEvent)
_SERVER_EVENT: TypeAdapter[BaseModel] = TypeAdapter(RealtimeServerEvent)
_FORMATS = {"audio/pcmu": MULAW_8K, "audio/pcma": AudioFormat("alaw", 8000)}
_IDENTIFIER = re.compile(r"^[a-zA-Z0-9_-]+$")


@dataclass(frozen=True, slots=True)
class CallTool:
    """A tool that an answer uses."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model answers once, and what goes wrong meanwhile.

    Attributes:
        text: what it says.
        samples: how that sounds, int16 at the rate of the session; a hum of `SECONDS_PER_WORD` for
            each word if left out.
        calls: the tools that it uses after that.
        tokens: read, of these from the cache, and written.
        failed: the code and message of the error with which the response ends.
        incomplete: why it is cut off: ``max_output_tokens`` or ``content_filter``.
        wait_at: after so many pieces of audio it waits for `go`.
        go: never set, it is a model that stalls.
        drop_at: after so many pieces of audio the connection breaks.
        insert_at: after so many pieces of audio `insert` is sent.
        insert: any message, such as a malformed event.

    """

    text: str = ""
    samples: NDArray[np.int16] | None = None
    calls: Sequence[CallTool] = ()
    tokens: tuple[int, int, int] = (120, 80, 40)
    failed: tuple[str, str] | None = None
    incomplete: str | None = None
    wait_at: int | None = None
    go: asyncio.Event = field(default_factory=asyncio.Event)
    drop_at: int | None = None
    insert_at: int | None = None
    insert: str | bytes = ""


@dataclass(slots=True)
class Item:
    """Something in the conversation.

    Attributes:
        value: the item as the API has it.
        audio: bytes of audio that the model said in it; None if it is nothing said.

    """

    value: JsonObject
    audio: int | None = None


class _RefusedError(Exception):
    """An error of the API, to be told to the client."""

    def __init__(
        self,
        code: str | None,
        message: str,
        *,
        param: str | None = None,
        kind: str = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.param = param
        self.kind = kind


class OpenAIRealtimeServer:
    """A model that says what it is told to say.

    Args:
        *answers: what it says, one for each response; after the last it says nothing.
        transcripts: what the caller is understood to say, one for each turn.
        chunks: the sizes of the pieces of audio, in bytes, over and over.
        refuse: an HTTP status and how many connections are refused with it.
        events: called with each message of a client that was accepted.

    Attributes:
        base_url: what to give to a client.
        received: the messages of clients that were accepted, oldest first.
        refusals: what was refused: the code, and the message.
        sessions: the connections that there have been.
        open: how many of them are open.
        transcribe: called before a turn is transcribed, if set.

    """

    def __init__(
        self,
        *answers: Answer,
        transcripts: Sequence[str] = (),
        chunks: Sequence[int] = (800, 1, 3333),
        refuse: tuple[int, int] | None = None,
        events: Callable[[JsonObject], object] = lambda event: None,
    ) -> None:
        self.base_url = ""
        self.received: list[JsonObject] = []
        self.refusals: list[tuple[str | None, str]] = []
        self.sessions: list[ServedSession] = []
        self.open = 0
        self.transcribe: Callable[[], Awaitable[None]] | None = None
        self.api_key = "a test key"
        self._answers = iter(answers)
        self._transcripts = iter(transcripts)
        self._chunks = tuple(chunks)
        self._refuse = refuse
        self._events = events
        self._arrived = asyncio.Condition()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[OpenAIRealtimeServer]:
        """Serve on a free port of this machine."""
        async with serve(
            self._serve,
            "127.0.0.1",
            0,
            process_request=self._admit,
            max_size=16 * 1024 * 1024,
            compression=None,
            close_timeout=1,
        ) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            self.base_url = f"http://127.0.0.1:{port}/v1"
            yield self

    def of_type(self, kind: str) -> list[JsonObject]:
        """Return the accepted messages of one type."""
        return [event for event in self.received if event["type"] == kind]

    async def wait_for(self, kind: str, count: int = 1) -> JsonObject:
        """Wait until `count` messages of one type have come, and return the last of them."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.of_type(kind)) >= count)
        return self.of_type(kind)[count - 1]

    def next_answer(self) -> Answer:
        """Return what is said next."""
        return next(self._answers, Answer())

    def next_transcript(self) -> str:
        """Return what the caller is understood to have said."""
        return next(self._transcripts, "")

    def chunks(self) -> Iterator[int]:
        """Return the sizes of the pieces of an answer's audio."""
        return cycle(self._chunks)

    async def accepted(self, event: JsonObject) -> None:
        """Note a message of a client."""
        self.received.append(event)
        self._events(event)
        async with self._arrived:
            self._arrived.notify_all()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path.split("?")[0] != "/v1/realtime":
            return connection.respond(HTTPStatus.NOT_FOUND, "there is only /v1/realtime\n")
        status, message = 0, ""
        if not parse_qs(urlsplit(request.path).query).get("model"):
            status, message = 400, "You must provide a model parameter."
        if request.headers.get("Authorization") != f"Bearer {self.api_key}":
            status, message = 401, "Incorrect API key provided."
        elif not status and self._refuse is not None and self._refuse[1]:
            status, message = self._refuse[0], "The scripted refusal."
            self._refuse = (status, self._refuse[1] - 1)
        if not status:
            return None
        body = {"error": {"message": message, "type": "invalid_request_error", "code": None}}
        return connection.respond(HTTPStatus(status), msgspec.json.encode(body).decode())

    async def _serve(self, connection: ServerConnection) -> None:
        session = ServedSession(self, connection)
        self.sessions.append(session)
        self.open += 1
        try:
            await session.run()
        finally:
            self.open -= 1


class ServedSession:
    """One connection of a client.

    Attributes:
        settings: the session's, as the client has set them.
        items: the conversation, in its order.

    """

    def __init__(self, server: OpenAIRealtimeServer, connection: ServerConnection) -> None:
        self._server = server
        self._connection = connection
        self.settings: JsonObject = {"type": "realtime"}
        self.items: dict[str, Item] = {}
        self._buffer = bytearray()
        self._count = 0
        self._responding: asyncio.Task[None] | None = None
        self._response_id = ""
        # What is being said or used, and where.
        self._unfinished: tuple[JsonObject, int] | None = None
        self._spoke = False
        # For a session whose turns are taken here.
        self._heard = 0.0
        self._speech_since: float | None = None
        self._quiet = 0.0
        self._speech_item = ""

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
        """Break the connection: without a word, or closing it for a reason."""
        if reason is None:
            self._connection.transport.abort()
        else:
            await self._connection.close(1011, reason)

    async def send_raw(self, message: str | bytes) -> None:
        """Send the client anything."""
        await self._connection.send(message, text=True)

    # Reading.

    async def _take(self, message: str | bytes) -> None:
        event_id: str | None = None
        try:
            event = self._parsed(message)
            event_id = event.get("event_id")
            self._check(event)
            await getattr(self, "_on_" + event["type"].replace(".", "_"))(event)
        except _RefusedError as refusal:
            self._server.refusals.append((refusal.code, str(refusal)))
            await self._send(
                "error",
                error={
                    "type": refusal.kind,
                    "code": refusal.code,
                    "message": str(refusal),
                    "param": refusal.param,
                    "event_id": event_id,
                },
            )
            return
        await self._server.accepted(event)

    def _parsed(self, message: str | bytes) -> JsonObject:
        if isinstance(message, bytes):
            raise _RefusedError("invalid_message", "Messages are text, not binary.")
        try:
            event = msgspec.json.decode(message)
        except msgspec.DecodeError as error:
            raise _RefusedError("invalid_json", f"Could not parse JSON: {error}") from None
        if not isinstance(event, dict):
            raise _RefusedError("invalid_json", "A message is a JSON object.")
        return event

    def _check(self, event: JsonObject) -> None:
        kind = event.get("type")
        if kind not in CLIENT_EVENTS:
            allowed = ", ".join(CLIENT_EVENTS)
            text = f"Invalid value: {kind!r}. Supported values are: {allowed}."
            raise _RefusedError("invalid_value", text, param="type")
        try:
            typed = _CLIENT_EVENT.validate_python(event)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"][1:])
            raise _RefusedError("invalid_type", f"{where}: {first['msg']}", param=where) from None
        if unknown := next(_unknown(typed), None):
            raise _RefusedError(
                "unknown_parameter", f"Unknown parameter: '{unknown}'.", param=unknown
            )

    async def _on_session_update(self, event: JsonObject) -> None:
        changes = event["session"]
        before = self._voice
        settings = _merged(self.settings, changes)
        for direction in ("input", "output"):
            wire = settings.get("audio", {}).get(direction, {}).get("format", {})
            if wire.get("type") == "audio/pcm" and wire.get("rate") != L16_24K.rate:
                param = f"session.audio.{direction}.format.rate"
                raise _RefusedError("missing_required_parameter", f"{param} is 24000", param=param)
        for tool in settings.get("tools", ()):
            name = tool.get("name", "")
            if not _IDENTIFIER.match(name) or len(name) > 64:
                raise _RefusedError("invalid_value", f"Invalid tool name: {name!r}.")
            if tool.get("parameters", {}).get("type") != "object":
                raise _RefusedError("invalid_value", f"Invalid parameters of tool {name!r}.")
        former, self.settings = self.settings, settings
        if self._spoke and self._voice != before:
            self.settings = former
            text = "Cannot update a conversation's voice if assistant audio is present."
            raise _RefusedError("cannot_update_voice", text)
        await self._send("session.updated", session=self._shown_settings())

    # The caller's audio.

    async def _on_input_audio_buffer_append(self, event: JsonObject) -> None:
        try:
            audio = pybase64.b64decode(event["audio"], validate=True)
        except ValueError:
            text = "Invalid 'audio'. Expected base64-encoded audio bytes."
            raise _RefusedError("invalid_value", text, param="audio") from None
        if self._turn_detection is None:
            self._buffer += audio
        else:
            await self._listen(audio)

    async def _on_input_audio_buffer_commit(self, event: JsonObject) -> None:
        length = self._seconds(len(self._buffer))
        if length < SHORTEST_TURN:
            raise _RefusedError(
                "input_audio_buffer_commit_empty",
                "Error committing input audio buffer: buffer too small. Expected at least 100ms "
                f"of audio, but buffer only has {length * 1000:.2f}ms of audio.",
            )
        await self._commit(self._new_id("item"))

    async def _on_input_audio_buffer_clear(self, event: JsonObject) -> None:
        self._buffer.clear()
        await self._send("input_audio_buffer.cleared")

    async def _commit(self, item_id: str) -> None:
        length = self._seconds(len(self._buffer))
        self._buffer.clear()
        previous = next(reversed(self.items), None)
        await self._send("input_audio_buffer.committed", item_id=item_id, previous_item_id=previous)
        content = {"type": "input_audio", "transcript": None}
        await self._add({"type": "message", "role": "user", "content": [content]}, item_id)
        if self._server.transcribe is not None:
            await self._server.transcribe()
        if self.settings.get("audio", {}).get("input", {}).get("transcription"):
            await self._send(
                "conversation.item.input_audio_transcription.completed",
                item_id=item_id,
                content_index=0,
                transcript=self._server.next_transcript(),
                usage={"type": "duration", "seconds": length},
            )

    async def _listen(self, audio: bytes) -> None:
        """Take turns by how loud the caller is, on the clock of the audio."""
        wire = self._wire("input")
        self._heard += wire.seconds(audio)
        samples = wire.decode(audio).astype(np.float64)
        loud = samples.size > 0 and float(np.sqrt(np.mean(samples**2))) > LOUD
        self._buffer += audio
        if loud:
            self._quiet = 0.0
            if self._speech_since is None:
                self._speech_since = self._heard
                self._speech_item = self._new_id("item")
                await self._send(
                    "input_audio_buffer.speech_started",
                    item_id=self._speech_item,
                    audio_start_ms=round(self._heard * 1000),
                )
                if self._turn_detection["interrupt_response"]:
                    await self.stop("turn_detected")
            return
        self._quiet += wire.seconds(audio)
        if self._speech_since is None:
            return
        if self._quiet * 1000 >= self._turn_detection["silence_duration_ms"]:
            self._speech_since = None
            await self._send(
                "input_audio_buffer.speech_stopped",
                item_id=self._speech_item,
                audio_end_ms=round(self._heard * 1000),
            )
            await self._commit(self._speech_item)
            if self._turn_detection["create_response"]:
                await self._respond()

    # The conversation.

    async def _on_conversation_item_create(self, event: JsonObject) -> None:
        item = event["item"]
        after = event.get("previous_item_id")
        if after not in (None, "root", *self.items):
            raise _RefusedError("item_create_invalid_item_id", f"There is no item '{after}'.")
        if item.get("id") in self.items:
            raise _RefusedError("item_create_duplicate_id", f"There is an item '{item['id']}'.")
        kind = item["type"]
        if kind == "message":
            allowed = {
                "system": ("input_text",),
                "user": ("input_text", "input_audio", "input_image"),
                "assistant": ("output_text",),
            }[item["role"]]
            for part in item["content"]:
                if part.get("type") not in allowed:
                    supported = " and ".join(f"'{name}'" for name in allowed)
                    text = f"Invalid value: {part.get('type')!r}. Supported values are: {supported}"
                    raise _RefusedError("invalid_value", text, param="item.content")
        elif not _IDENTIFIER.match(item.get("call_id") or ""):
            raise _RefusedError(
                "invalid_value", f"Invalid 'item.call_id': {item.get('call_id')!r}."
            )
        if kind == "function_call_output" and item["call_id"] not in self._calls:
            text = f"Tool call ID '{item['call_id']}' not found in conversation."
            raise _RefusedError("invalid_tool_call_id", text)
        await self._add(item, item.get("id") or self._new_id("item"))

    async def _on_conversation_item_truncate(self, event: JsonObject) -> None:
        item = self.items.get(event["item_id"])
        if item is None:
            text = f"Error truncating item: item '{event['item_id']}' not found."
            raise _RefusedError("item_truncate_invalid_item_id", text, param="item_id")
        if item.audio is None:
            text = "Only model output audio messages can be truncated"
            raise _RefusedError("unsupported_content_type", text)
        if event["content_index"] != 0:
            raise _RefusedError("invalid_value", "There is no such content.", param="content_index")
        length = round(self._seconds(item.audio, "output") * 1000)
        end = event["audio_end_ms"]
        if end < 0:
            raise _RefusedError("integer_below_min_value", "Invalid 'audio_end_ms'.")
        if end > length:
            text = f"Audio content of {length}ms is already shorter than {end}ms"
            raise _RefusedError("invalid_value", text)
        item.audio = int(end / 1000 * self._wire("output").bytes_per_second)
        item.value["content"][0]["transcript"] = ""
        await self._send(
            "conversation.item.truncated",
            item_id=event["item_id"],
            content_index=0,
            audio_end_ms=end,
        )

    async def _on_conversation_item_delete(self, event: JsonObject) -> None:
        if self.items.pop(event["item_id"], None) is None:
            raise _RefusedError("item_delete_invalid_item_id", f"No item '{event['item_id']}'.")
        await self._send("conversation.item.deleted", item_id=event["item_id"])

    async def _on_conversation_item_retrieve(self, event: JsonObject) -> None:
        item = self.items.get(event["item_id"])
        if item is None:
            raise _RefusedError("item_retrieve_invalid_item_id", f"No item '{event['item_id']}'.")
        await self._send("conversation.item.retrieved", item=item.value)

    async def _on_output_audio_buffer_clear(self, event: JsonObject) -> None:
        raise _RefusedError("invalid_value", "output_audio_buffer.clear is for WebRTC and SIP.")

    async def _add(self, item: JsonObject, item_id: str, audio: int | None = None) -> None:
        previous = next(reversed(self.items), None)
        value = {**item, "id": item_id, "object": "realtime.item"}
        self.items[item_id] = Item(value, audio)
        await self._send("conversation.item.added", item=value, previous_item_id=previous)
        if item.get("status") != "in_progress":
            await self._send("conversation.item.done", item=value, previous_item_id=previous)

    @property
    def _calls(self) -> set[str]:
        return {
            item.value["call_id"]
            for item in self.items.values()
            if item.value["type"] == "function_call"
        }

    # Responses.

    async def _on_response_create(self, event: JsonObject) -> None:
        if self._is_responding:
            raise _RefusedError(
                "conversation_already_has_active_response",
                "Conversation already has an active response in progress: "
                f"{self._response_id}. Wait until the response is finished before creating a "
                "new one.",
            )
        await self._respond()

    async def _on_response_cancel(self, event: JsonObject) -> None:
        if not self._is_responding:
            text = "Cancellation failed: no active response found"
            raise _RefusedError("response_cancel_not_active", text)
        await self.stop("client_cancelled")

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

    async def stop(self, reason: str) -> None:
        """Cancel the response that is being made, if one is."""
        if self._responding is None or self._responding.done():
            return
        self._responding.cancel()
        await asyncio.wait([self._responding])
        if self._unfinished is not None:
            await self._item_done(*self._unfinished, status="incomplete")
        details = {"type": "cancelled", "reason": reason}
        usage = _usage((100, 0, 10))
        response = self._response("cancelled", status_details=details, usage=usage)
        await self._send("response.done", response=response)

    async def _answer(self, answer: Answer) -> None:
        try:
            index = 0
            if answer.text or answer.samples is not None or answer.wait_at is not None:
                await self._speak(answer)
                index = 1
            for call in answer.calls:
                await self._use(call, index, answer)
                index += 1
            await self._end(answer)
        except ConnectionClosed:
            pass

    async def _end(self, answer: Answer) -> None:
        # From here on there is no active response: a client may ask for the next as soon as it
        # has read this.
        self._responding = None
        if answer.incomplete is not None:
            details: JsonObject = {"type": "incomplete", "reason": answer.incomplete}
            usage = _usage(answer.tokens)
            response = self._response("incomplete", status_details=details, usage=usage)
        elif answer.failed is None:
            response = self._response("completed", usage=_usage(answer.tokens))
        else:
            code, message = answer.failed
            error = {"type": "server_error", "code": code, "message": message}
            details = {"type": "failed", "error": error}
            response = self._response("failed", status_details=details)
        await self._send("response.done", response=response)

    async def _speak(self, answer: Answer) -> None:
        item_id = self._new_id("item")
        place = {
            "response_id": self._response_id,
            "item_id": item_id,
            "output_index": 0,
            "content_index": 0,
        }
        if answer.wait_at == 0:
            await answer.go.wait()
        value: JsonObject = {"type": "message", "role": "assistant", "status": "in_progress"}
        value["content"] = []
        await self._send(
            "response.output_item.added",
            response_id=self._response_id,
            output_index=0,
            item={**value, "id": item_id, "object": "realtime.item"},
        )
        await self._add(value, item_id, audio=0)
        self._unfinished = (self.items[item_id].value, 0)
        await self._send(
            "response.content_part.added", **place, part={"type": "audio", "transcript": ""}
        )
        item = self.items[item_id]
        item.value["content"] = [{"type": "output_audio", "transcript": answer.text}]
        audio = self._sound(answer)
        words = re.findall(r"\S+\s*", answer.text)
        said = 0
        for count, (start, end) in enumerate(self._pieces(len(audio))):
            # Words come ahead of their sound, as they do from the API.
            while said < len(words) and said * len(audio) <= end * len(words):
                await self._send(
                    "response.output_audio_transcript.delta", **place, delta=words[said]
                )
                said += 1
            await self._go_wrong(answer, count)
            assert item.audio is not None
            item.audio += end - start
            self._spoke = True
            delta = pybase64.b64encode(audio[start:end]).decode()
            await self._connection.send(
                f'{{"type":"response.output_audio.delta","event_id":"{self._new_id("event")}",'
                f'"response_id":"{self._response_id}","item_id":"{item_id}","output_index":0,'
                f'"content_index":0,"delta":"{delta}"}}'
            )
            # The client's own messages are read meanwhile.
            await asyncio.sleep(0)
        await self._send("response.output_audio.done", **place)
        await self._send("response.output_audio_transcript.done", **place, transcript=answer.text)
        await self._item_done(item.value, 0, status=_status(answer))

    async def _go_wrong(self, answer: Answer, count: int) -> None:
        if answer.insert_at == count:
            await self._connection.send(answer.insert, text=True)
        if answer.drop_at == count:
            await self.drop()
            await self._connection.wait_closed()
            raise ConnectionClosed(None, None)
        if answer.wait_at == count:
            await answer.go.wait()

    async def _use(self, call: CallTool, index: int, answer: Answer) -> None:
        item_id, call_id = self._new_id("item"), self._new_id("call")
        arguments = msgspec.json.encode(call.arguments).decode()
        value: JsonObject = {"type": "function_call", "call_id": call_id, "name": call.name}
        started = {**value, "status": "in_progress", "arguments": ""}
        await self._send(
            "response.output_item.added",
            response_id=self._response_id,
            output_index=index,
            item={**started, "id": item_id, "object": "realtime.item"},
        )
        await self._add(started, item_id)
        place = {"response_id": self._response_id, "item_id": item_id, "output_index": index}
        place["call_id"] = call_id
        await self._send("response.function_call_arguments.delta", **place, delta=arguments)
        await self._send(
            "response.function_call_arguments.done", **place, arguments=arguments, name=call.name
        )
        self.items[item_id].value["arguments"] = arguments
        await self._item_done(self.items[item_id].value, index, status=_status(answer))

    async def _item_done(self, value: JsonObject, index: int, *, status: str) -> None:
        self._unfinished = None
        value["status"] = status
        await self._send("conversation.item.done", item=value)
        await self._send(
            "response.output_item.done",
            response_id=self._response_id,
            output_index=index,
            item=value,
        )

    def _sound(self, answer: Answer) -> bytes:
        wire = self._wire("output")
        samples = answer.samples
        if samples is None:
            length = round(len(answer.text.split()) * SECONDS_PER_WORD * wire.rate)
            samples = (8000 * np.sin(np.arange(length) * (2 * np.pi * 300 / wire.rate))).astype(
                np.int16
            )
        return wire.encode(samples)

    def _pieces(self, length: int) -> Iterator[tuple[int, int]]:
        start = 0
        for size in self._server.chunks():
            if start >= length:
                return
            end = min(length, start + size)
            yield start, end
            start = end

    def _response(self, status: str, **more: Any) -> JsonObject:
        return {
            "id": self._response_id,
            "object": "realtime.response",
            "status": status,
            "output": [],
            **more,
        }

    # Settings and sending.

    @property
    def _voice(self) -> Any:
        return self.settings.get("audio", {}).get("output", {}).get("voice")

    @property
    def _turn_detection(self) -> Any:
        heard = self.settings.get("audio", {}).get("input", {})
        detection = heard.get("turn_detection", {})  # the API takes the turns unless told not to
        if detection is None:
            return None
        return {
            "silence_duration_ms": 500,
            "interrupt_response": True,
            "create_response": True,
            **detection,
        }

    def _wire(self, direction: str) -> AudioFormat:
        wire = self.settings.get("audio", {}).get(direction, {}).get("format", {})
        return _FORMATS.get(wire.get("type"), L16_24K)

    def _seconds(self, size: int, direction: str = "input") -> float:
        return size / self._wire(direction).bytes_per_second

    def _shown_settings(self) -> JsonObject:
        return {"object": "realtime.session", "id": "sess_1", **self.settings}

    def _new_id(self, kind: str) -> str:
        self._count += 1
        return f"{kind}_{self._count}"

    async def _send(self, kind: str, **values: Any) -> None:
        event = {"type": kind, "event_id": self._new_id("event"), **values}
        _SERVER_EVENT.validate_python(event)
        await self._connection.send(msgspec.json.encode(event).decode())


def _status(answer: Answer) -> str:
    return "completed" if answer.incomplete is None else "incomplete"


def _usage(tokens: tuple[int, int, int]) -> JsonObject:
    read, cached, written = tokens
    return {
        "total_tokens": read + written,
        "input_tokens": read,
        "output_tokens": written,
        "input_token_details": {
            "text_tokens": read,
            "audio_tokens": 0,
            "cached_tokens": cached,
        },
        "output_token_details": {"text_tokens": 0, "audio_tokens": written},
    }


def _unknown(value: Any, path: str = "") -> Iterator[str]:
    """Yield the names of what is in a message and not in its type."""
    if isinstance(value, BaseModel):
        for name in value.model_extra or ():
            yield f"{path}{name}"
        for name in type(value).model_fields:
            yield from _unknown(getattr(value, name), f"{path}{name}.")
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _unknown(entry, f"{path}{index}.")


def _merged(settings: JsonObject, changes: JsonObject) -> JsonObject:
    merged = dict(settings)
    for name, value in changes.items():
        present = merged.get(name)
        merged[name] = (
            _merged(present, value)
            if isinstance(present, dict) and isinstance(value, dict)
            else value
        )
    return merged
