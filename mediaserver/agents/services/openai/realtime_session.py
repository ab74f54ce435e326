"""One session of OpenAI's Realtime API."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

import structlog

from audiocodecs import L16_24K, AudioFormat
from mediaserver.agents.services.errors import ServiceError
from mediaserver.agents.services.input_audio import InputAudio
from mediaserver.agents.services.language_model import Message, ToolCall, ToolSpec
from mediaserver.agents.services.openai.client import OpenAIClient
from mediaserver.agents.services.openai.pending_transcripts import Overheard, PendingTranscripts
from mediaserver.agents.services.openai.realtime_connection import RealtimeConnection
from mediaserver.agents.services.openai.realtime_events import (
    ApiItem,
    ApiReason,
    ApiResponse,
    AudioDelta,
    CallArgumentsDone,
    ErrorEvent,
    InputCommitted,
    InputSpeechStarted,
    InputSpeechStopped,
    InputTranscribed,
    InputTranscriptDelta,
    OutputItemDone,
    ResponseCreated,
    ResponseOver,
    ServerEvent,
    SessionUpdated,
    StatusDetails,
    TextDelta,
    TranscriptionFailed,
    decode_server_event,
)
from mediaserver.agents.services.openai.realtime_messages import conversation_item
from mediaserver.agents.services.realtime import (
    CallerFinished,
    CallerSpeaks,
    CallerText,
    RealtimeEvent,
    ResponseDone,
    Speech,
    SpokenText,
)
from mediaserver.agents.services.spoken_items import SpokenItems
from mediaserver.call import Frame


_SHORTEST_TURN: Final = 0.1
"""Seconds: the API refuses a turn that has less audio."""

_CHANGEABLE: Final = ("type", "instructions", "tools")

log = structlog.get_logger("mediaserver.agents.services.openai.realtime")


class OpenAIRealtimeSession:
    """A session of `OpenAIRealtime`, for one call.

    Messages that are sent after the connection was lost are dropped: `events` raises the loss.

    Args:
        client: describes failures.
        connection: the connection to the API.
        settings: returns the settings of the session for a prompt and tools.
        prompt: the model's instructions.
        format: the call's audio format.
        takes_turns: whether the API takes the turns.
        transcribes: whether the API transcribes the caller's speech.
        first_timeout: seconds until a response begins.
        stall_timeout: seconds from one sign of a response to the next.

    """

    def __init__(
        self,
        client: OpenAIClient,
        connection: RealtimeConnection,
        settings: Callable[[str, Sequence[ToolSpec], AudioFormat], dict[str, Any]],
        *,
        prompt: str,
        format: AudioFormat,
        takes_turns: bool,
        transcribes: bool,
        first_timeout: float,
        stall_timeout: float,
    ) -> None:
        self.takes_turns = takes_turns
        self._transcribes = transcribes
        self._first_timeout = first_timeout
        self._stall_timeout = stall_timeout
        self._client = client
        self._connection = connection
        self._settings = settings
        self._prompt = prompt
        self._format = format
        self._wire = self.wire(format)
        self._input = InputAudio(format, self._wire, live=takes_turns, shortest=_SHORTEST_TURN)
        self._spoken = SpokenItems(self._wire)
        self._transcripts = PendingTranscripts()
        self._closed = False

        # The response that is being made: whether it was cancelled, so that what still comes of it
        # is late; whether any of it was said; and what it was asked for with.
        self._responding = False
        self._cancelled = False
        self._spoke = False
        self._asked: dict[str, Any] = {}
        # Responses to ask for afterwards, since the API makes one at a time.
        self._pending: deque[dict[str, Any]] = deque()
        self._requests = 0

        # When the next sign of the response has to have come.
        self._due: float | None = None
        self._patience: asyncio.Timeout | None = None
        self._clock = asyncio.get_running_loop().time

    def wire(self, format: AudioFormat) -> AudioFormat:
        """Return the format in which the API hears and speaks in a call of `format`."""
        return format if format.encoding != "l16" else L16_24K

    async def configure(self, tools: Sequence[ToolSpec], conversation: Sequence[Message]) -> None:
        """Set the session up, and wait until the API has agreed.

        Raises:
            ServiceError: the API refuses, or the connection was lost.

        """
        settings = self._settings(self._prompt, tools, self._format)
        await self._send({"type": "session.update", "session": settings})
        for message in conversation:
            await self.tell(message)
        await self._connection.agreed()

    async def update(self, *, prompt: str, tools: Sequence[ToolSpec]) -> None:
        """Take another prompt and other tools, from the next response on."""
        self._prompt = prompt
        settings = self._settings(prompt, tools, self._format)
        changed = {name: settings[name] for name in _CHANGEABLE if name in settings}
        await self._send({"type": "session.update", "session": changed})

    # What the caller does.

    async def hear(self, frame: Frame) -> None:
        """Let the model hear a piece of the caller's speech."""
        if self._input.add(frame):
            await self._connection.append(self._input.take())

    async def end_turn(self) -> None:
        """The caller has finished: have the model respond to what it heard."""
        await self._commit(None)
        await self.respond()

    async def transcribe(self, frames: Sequence[Frame]) -> CallerText:
        """Return the words of audio that may be speech, and remove it from the API's conversation.

        Empty if the session has no transcription, if none comes in time, or if the caller is in a
        turn.
        """
        nothing = CallerText("")
        if not self._transcribes or self._input.in_turn:
            return nothing
        for frame in frames:
            self._input.add(frame)
        words: Overheard = asyncio.get_running_loop().create_future()
        await self._commit(words)
        try:
            async with asyncio.timeout(self._first_timeout):
                item_id, text = await words
        except TimeoutError:
            return nothing
        if item_id is not None:
            await self._send({"type": "conversation.item.delete", "item_id": item_id})
        return text

    async def _commit(self, words: Overheard | None) -> None:
        """Take what was heard into the conversation."""
        await self._connection.append(self._input.end_turn())
        self._transcripts.commit(words)
        await self._send({"type": "input_audio_buffer.commit"})

    # What the model is to do.

    async def say(self, instructions: str) -> None:
        """Have the model say something of its own accord, such as a greeting."""
        # The instructions of a response take the place of the session's.
        whole = f"{self._prompt}\n\n{instructions}" if self._prompt else instructions
        await self._ask({"instructions": whole, "tool_choice": "none"})

    async def respond(self) -> None:
        """Have the model respond to the conversation as it is now."""
        await self._ask({})

    async def tell(self, message: Message) -> None:
        """Add something to the conversation, without having it answered yet."""
        item = conversation_item(message)
        await self._send({"type": "conversation.item.create", "item": item})

    async def cancel(self) -> None:
        """Stop the response that is being made, if there is one, and drop what comes late of it."""
        self._pending.clear()
        if self._responding and not self._cancelled:
            self._cancelled = True
            self._expect(self._stall_timeout)
            await self._send({"type": "response.cancel"})

    async def truncate(self, item_id: str, seconds: float) -> None:
        """Tell the model that the caller heard only `seconds` of an item.

        Sent once for each item, and only if the caller missed some of it.
        """
        milliseconds = self._spoken.truncate(item_id, seconds)
        if milliseconds is None:
            return
        await self._send(
            {
                "type": "conversation.item.truncate",
                "item_id": item_id,
                "content_index": 0,
                "audio_end_ms": milliseconds,
            }
        )

    async def _ask(self, response: dict[str, Any]) -> None:
        if self._responding:
            self._pending.append(response)
            return
        self._responding = True
        self._cancelled = self._spoke = False
        self._asked = response
        self._requests += 1
        self._expect(self._first_timeout)
        await self._request(response, f"respond-{self._requests}")

    async def _request(self, response: dict[str, Any], event_id: str) -> None:
        """Send the request for a response."""
        settings = {"response": response} if response else {}
        await self._send({"type": "response.create", "event_id": event_id, **settings})

    # What the model says.

    async def events(self) -> AsyncIterator[RealtimeEvent]:
        """Yield what the model says and does until the connection closes.

        Raises:
            ServiceError: the connection was lost, or a response stalled.

        """
        while True:
            try:
                message = await self._receive()
            except ServiceError:
                self._transcripts.lose()
                if self._closed:
                    return
                raise
            event = decode_server_event(message, self._client.service)
            if event is None:
                continue
            if type(event) is AudioDelta:
                self._due = self._clock() + self._stall_timeout
                if not self._cancelled:
                    self._spoke = True
                    if audio := self._spoken.take(event.item_id, event.delta):
                        yield Speech(event.item_id, Frame(audio, self._wire))
                continue
            for told in await self._take(event):
                yield told

    async def _take(self, event: ServerEvent) -> Sequence[RealtimeEvent]:
        """Note an event of the server, and return what the agent needs to know of it."""
        match event:
            case TextDelta():
                self._expect(self._stall_timeout)
                return [] if self._cancelled else [SpokenText(event.item_id, event.delta)]
            case OutputItemDone():
                return self._item_done(event.item)
            case CallArgumentsDone():
                return self._call_done(event)
            case ResponseCreated():
                self._responding = True
                self._expect(self._first_timeout)
            case ResponseOver():
                return await self._response_over(event.response)
            case InputCommitted():
                self._transcripts.committed(event.item_id, transcribed=self._transcribes)
            case InputTranscribed():
                usage = event.usage
                text = CallerText(event.transcript.strip(), usage.seconds or 0.0, usage.tokens)
                return self._transcripts.transcribed(event.item_id, text)
            case TranscriptionFailed():
                reason = self._client.without_secrets(str(event.error))
                log.warning("transcription failed", service=self._client.service, reason=reason)
                return self._transcripts.transcribed(event.item_id, CallerText(""))
            case InputSpeechStarted():
                return [CallerSpeaks()]
            case InputSpeechStopped():
                if not self._responding:
                    self._expect(self._first_timeout)  # the API answers by itself
                return [CallerFinished()]
            case ErrorEvent():
                return await self._refused(event.error)
            case AudioDelta() | InputTranscriptDelta() | SessionUpdated():
                pass
        return []

    def _call_done(self, call: CallArgumentsDone) -> list[RealtimeEvent]:
        return []  # the item has the call, and whether it is complete

    def _item_done(self, item: ApiItem) -> list[RealtimeEvent]:
        if self._cancelled or item.status == "incomplete":
            return []
        if item.type == "function_call":
            return [ToolCall(item.call_id, item.name, item.arguments or "{}")]
        self._spoken.complete(item.id)
        return []

    async def _response_over(self, response: ApiResponse) -> list[RealtimeEvent]:
        error = None
        details = response.status_details or StatusDetails()
        # Where the API takes the turns, it cancels a response by itself when the caller speaks.
        cancelled = self._cancelled or details.reason == "turn_detected"
        if cancelled:
            pass
        elif response.status == "failed":
            error = str(details.error) if details.error else "the response failed"
        elif response.status == "cancelled":
            error = "the response was cancelled"
        elif response.status == "incomplete":
            if details.reason == "content_filter" or not self._spoke:
                error = f"the response was cut off ({details.reason})"
            else:
                log.warning("response cut off", service=self._client.service, reason=details.reason)
        await self._go_on()
        tokens = response.usage.tokens if response.usage else None
        return [ResponseDone(tokens, error and self._client.without_secrets(error), cancelled)]

    async def _go_on(self) -> None:
        self._responding = self._cancelled = self._spoke = False
        self._expect(None)
        if self._pending:
            await self._ask(self._pending.popleft())

    async def _refused(self, error: ApiReason) -> list[RealtimeEvent]:
        # Most errors leave the session as it was, the API's reference says.
        if error.code == "response_cancel_not_active":
            return []
        if error.code == "conversation_already_has_active_response":
            # The API began one by itself at the same moment.
            if not self._cancelled:
                self._pending.appendleft(self._asked)
            return []
        reason = self._client.without_secrets(str(error))
        log.warning("request refused", service=self._client.service, reason=reason)
        if error.event_id != f"respond-{self._requests}" or not self._responding:
            return []
        cancelled = self._cancelled
        await self._go_on()
        return [ResponseDone(None, reason, cancelled)]

    # The connection.

    async def close(self) -> None:
        """Close the connection. Does nothing if it is closed."""
        if not self._closed:
            self._closed = True
            await self._connection.close()

    def _expect(self, seconds: float | None) -> None:
        """Set the seconds within which the next sign of a response has to come; None: no limit."""
        self._due = None if seconds is None else self._clock() + seconds
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(self._due)

    async def _receive(self) -> bytes:
        try:
            async with asyncio.timeout_at(self._due) as self._patience:
                return await self._connection.receive()
        except TimeoutError:
            raise self._client.failure("a response stalled") from None
        finally:
            self._patience = None

    async def _send(self, event: dict[str, Any]) -> None:
        await self._connection.send(event)
