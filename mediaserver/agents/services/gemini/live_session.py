"""A session with Gemini's Live API, for one call."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import structlog

from audiocodecs import L16_16K, L16_24K, AudioFormat
from mediaserver.agents.services.errors import ServiceError
from mediaserver.agents.services.gemini.chunks import FunctionCallPart
from mediaserver.agents.services.gemini.contents import GO_ON
from mediaserver.agents.services.gemini.live_events import (
    SERVICE_NAME,
    LiveServerMessage,
    ServerContent,
    TranscribedWords,
    decode_live_message,
)
from mediaserver.agents.services.gemini.live_messages import (
    ACTIVITY_END,
    ACTIVITY_START,
    RUNNING,
    STREAM_END,
    audio_message,
    note,
    results_message,
    returned,
    text_message,
    turns_message,
    update_message,
)
from mediaserver.agents.services.input_audio import InputAudio
from mediaserver.agents.services.language_model import (
    Message,
    Text,
    Tokens,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from mediaserver.agents.services.realtime import (
    CallerFinished,
    CallerSpeaks,
    CallerText,
    RealtimeEvent,
    ResponseDone,
    Speech,
    SpokenText,
)
from mediaserver.agents.services.service_socket import ServiceSocket
from mediaserver.agents.services.spoken_items import SpokenItems
from mediaserver.call import Frame


_KEPT_MESSAGES: Final = 1500
"""Messages of the caller's speech that are kept to be sent again: half a minute where the API takes
the turns, two and a half minutes where the agent does."""

_FINE: Final = frozenset(
    {"TURN_COMPLETE_REASON_UNSPECIFIED", "NEED_MORE_INPUT", "MALFORMED_FUNCTION_CALL"}
)
"""Reasons for the end of a turn that are no failures. After the last one, an agent asks again."""

log = structlog.get_logger("mediaserver.agents.gemini")


@dataclass(slots=True)
class SessionState:
    """What a new connection is told, so that it continues the session.

    Attributes:
        prompt: the model's instructions.
        tools: the tools that it may use.
        handle: the state of the session that the API has kept; None for a new session.
        history: what was said since, or the whole conversation of a new session.

    """

    prompt: str
    tools: Sequence[ToolSpec]
    handle: str | None = None
    history: list[Message] = field(default_factory=list)


OpenSocket: TypeAlias = Callable[[SessionState], Awaitable[ServiceSocket]]


@dataclass(slots=True, eq=False)
class _Response:
    """A response that was asked for, or that the model makes by itself.

    Attributes:
        item_id: the item of its speech.
        messages: what asks for it, to be sent again if the connection is lost before it begins.
        again: what asks for it over another connection, if that is something else.
        sent: how many of them were sent.
        turns: how many turns of the caller it answers.
        preceded: how many responses before it were given up, whose end may still come.
        began: whether any of it has come.
        generated: whether all of it has come, but for the end of the turn.
        cancelled: whether nobody wants it any more.
        interrupted: whether the API has stopped it.
        words: what the model says in it.

    """

    item_id: str
    messages: list[str] = field(default_factory=list)
    sent: int = 0
    turns: int = 0
    again: str | None = None
    preceded: int = 0
    began: bool = False
    generated: bool = False
    cancelled: bool = False
    interrupted: bool = False
    words: str = ""


class GeminiLiveSession:
    """A session of `GeminiLive`.

    A response is a turn of the model, and ends when the API completes that turn or uses a tool. The
    API keeps the state of the session under a handle: when the connection is lost or about to be
    closed, the session goes on over another one, is told what was said since that state, and asks
    again for what has not begun.

    Args:
        open_socket: opens a connection.
        state: what it is told.
        format: the call's audio format.
        takes_turns: whether the API takes the turns.
        transcribes: whether the API transcribes the caller's speech.
        first_timeout: seconds until a response begins.
        stall_timeout: seconds from one sign of a response to the next.

    """

    def __init__(
        self,
        open_socket: OpenSocket,
        state: SessionState,
        *,
        format: AudioFormat,
        takes_turns: bool,
        transcribes: bool,
        first_timeout: float,
        stall_timeout: float,
    ) -> None:
        self.takes_turns = takes_turns
        self._open_socket = open_socket
        self._state = state
        self._transcribes = transcribes
        self._first_timeout = first_timeout
        self._stall_timeout = stall_timeout
        self._input = InputAudio(format, L16_16K, live=takes_turns)
        self._spoken = SpokenItems(L16_24K)
        self._closed = False
        self._count = 0

        # Responses that were asked for, the one that is being made first; and those to ask for
        # when it is over, because the API stops it for the next.
        self._asked: deque[_Response] = deque()
        self._waiting: deque[_Response] = deque()

        # The messages of the caller's present turn, how many of them were sent, and how many
        # earlier turns it continues.
        self._turn: list[str] = []
        self._turn_sent = 0
        self._continued = 0
        # What the model is told with the next thing that it is asked.
        self._notes: list[Text] = []

        # Tools whose results the model waits for, by the ids of the calls; what is known of them;
        # and tools whose results it does not wait for any more.
        self._calls: dict[str, str] = {}
        self._results: dict[str, str] = {}
        self._released: dict[str, str] = {}

        self._heard = ""
        self._caller_speaks = False
        self._usage: Tokens | None = None

        # Whether messages are being sent, whether another connection is being made, whether this
        # one is about to be closed, and whether anything has come over it.
        self._sending = False
        self._resuming = False
        self._leaving = False
        self._fruitful = True
        self._leaves: asyncio.Task[None] | None = None  # closes the former connection

        # When the next sign of a response has to have come.
        self._due: float | None = None
        self._patience: asyncio.Timeout | None = None
        self._clock = asyncio.get_running_loop().time

    async def open(self) -> None:
        """Connect.

        Raises:
            ServiceError: the API cannot be reached, or refuses the settings.

        """
        self._socket = await self._open_socket(self._state)
        self._state.history = []

    async def update(self, *, prompt: str, tools: Sequence[ToolSpec]) -> None:
        """Take another prompt and other tools, from the next response on."""
        self._state.prompt, self._state.tools = prompt, tools
        if not self._resuming:
            await self._socket.send(update_message(prompt, tools))

    # What the caller does.

    async def hear(self, frame: Frame) -> None:
        """Let the model hear a piece of the caller's speech."""
        if not self._input.add(frame):
            return
        self._add_speech(self._input.take())
        # Where the agent takes the turns, the first message says that one begins.
        oldest = 0 if self.takes_turns else 1
        if len(self._turn) > _KEPT_MESSAGES and self._turn_sent > oldest:
            del self._turn[oldest]
            self._turn_sent -= 1
        await self._send()

    async def end_turn(self) -> None:
        """The caller has finished: have the model respond to what it heard."""
        if rest := self._input.end_turn():
            self._add_speech(rest)
        if self.takes_turns:
            self._turn.append(STREAM_END)
            await self._ask([], turns=1)
            return
        if not self._turn:
            self._turn.append(ACTIVITY_START)
        self._release_calls()
        self._turn.extend(text_message(note(text)) for text in self._notes)
        self._notes.clear()
        self._turn.append(ACTIVITY_END)
        messages, self._turn = self._turn, []
        sent, self._turn_sent = self._turn_sent, 0
        turns, self._continued = self._continued + 1, 0
        await self._ask(messages, sent=sent, turns=turns)

    def _add_speech(self, audio: bytes) -> None:
        if not self._turn and not self.takes_turns:
            self._turn.append(ACTIVITY_START)
        self._turn.append(audio_message(audio))

    # What the model is to do.

    async def say(self, instructions: str) -> None:
        """Have the model say something of its own accord, such as a greeting.

        While the model waits for tools, it is told to say this meanwhile, in place of the results
        that are not there yet.
        """
        if self._calls:
            meanwhile = {"status": RUNNING, "meanwhile": instructions}
            await self._answer_calls(meanwhile)
        else:
            await self._tell(Text("user", instructions))

    async def respond(self) -> None:
        """Have the model respond to the conversation as it is now."""
        if self._calls:
            await self._answer_calls({"status": RUNNING})
        else:
            await self._tell(None if self._notes else Text("user", GO_ON))

    async def tell(self, message: Message) -> None:
        """Add something to the conversation; it is sent with what is asked of the model next."""
        if isinstance(message, Text):
            self._notes.append(message)
        elif isinstance(message, ToolResult):
            if message.call_id in self._calls:
                self._results[message.call_id] = message.text
            else:
                name = self._released.pop(message.call_id, "A tool")
                self._notes.append(Text("user", returned(name, message.text)))

    async def cancel(self) -> None:
        """Drop the response that is being made, and forget those asked for.

        The API has no message for it: it stops when the caller's turn, or anything else that it is
        asked, begins. What still comes until then is dropped.
        """
        for response in reversed(self._waiting):
            self._take_back(response)
        self._waiting.clear()
        for response in self._asked:
            response.cancelled = True
        self._expect()
        await self._send()

    def _take_back(self, response: _Response) -> None:
        """Have the caller's turn go on with one that is not answered on its own."""
        if response.turns:
            spoken = [message for message in response.messages if message != ACTIVITY_END]
            self._turn = [*spoken, *self._turn[1:]]
            self._turn_sent = response.sent
            self._continued += response.turns
            response.turns = 0

    async def truncate(self, item_id: str, seconds: float) -> None:
        """Tell the model that the caller heard only `seconds` of an item.

        The API has no message for it. Where the agent takes the turns, the model is told in words,
        with what it is asked next. Where the API does, it cuts what it remembers by itself.
        """
        heard = self._spoken.truncate(item_id, seconds)
        if heard is not None and not self.takes_turns:
            text = (
                f"The caller heard only the first {heard / 1000:.1f} seconds of your last answer."
            )
            self._notes.append(Text("system", text))

    async def _tell(self, last: Text | None) -> None:
        messages = [*self._notes, *([last] if last is not None else [])]
        self._notes.clear()
        await self._ask([turns_message(messages)])

    async def _answer_calls(self, unknown: dict[str, str]) -> None:
        """Send the results that the model waits for, with `unknown` for those not known yet."""
        responses = []
        told = []
        for call_id, name in self._calls.items():
            result = self._results.pop(call_id, None)
            if result is None:
                self._released[call_id] = name
            else:
                told.append(Text("user", returned(name, result)))
            responses.append((call_id, name, unknown if result is None else {"output": result}))
        self._calls.clear()
        told.append(Text("user", unknown.get("meanwhile", GO_ON)))
        await self._ask([results_message(responses)], again=turns_message(told))

    def _release_calls(self) -> None:
        """Wait no more for the results of tools: the caller has interrupted the model."""
        for call_id, name in self._calls.items():
            result = self._results.pop(call_id, None)
            if result is None:
                self._released[call_id] = name
            else:
                self._notes.append(Text("user", returned(name, result)))
        self._calls.clear()

    async def _ask(
        self, messages: list[str], *, sent: int = 0, turns: int = 0, again: str | None = None
    ) -> None:
        response = _Response(self._new_item(), messages, sent, turns, again)
        if self._is_busy:
            self._waiting.append(response)
        else:
            self._asked.append(response)
            self._expect()
            await self._send()

    @property
    def _is_busy(self) -> bool:
        """Whether a response is being made that the next message would stop."""
        return bool(self._waiting) or any(not response.cancelled for response in self._asked)

    def _new_item(self) -> str:
        self._count += 1
        return f"response-{self._count}"

    # What the model says.

    async def events(self) -> AsyncIterator[RealtimeEvent]:
        """Yield what the model says and does until the session is closed.

        Raises:
            ServiceError: the connection was lost or a response stalled, and the session could not
                be resumed.

        """
        while True:
            try:
                received = await self._receive()
            except ServiceError as lost:
                if self._closed:
                    return
                if not self._can_resume:
                    raise
                for told in self._broken_off():
                    yield told
                await self._resume(lost.reason)
                continue
            message = decode_live_message(received)
            if message is None:
                continue
            for told in self._take(message):
                yield told
            self._expect()
            await self._go_on()
            if self._leaving and self._is_idle and self._can_resume:
                await self._resume("it was about to be closed")

    def _take(self, message: LiveServerMessage) -> list[RealtimeEvent]:
        """Note a message of the server, and return what the agent needs to know of it."""
        if message.usage_metadata is not None:
            self._usage = (self._usage or Tokens(0, 0)) + message.usage_metadata.tokens
        update = message.session_resumption_update
        if update is not None and update.resumable and update.new_handle:
            self._state.handle = update.new_handle
            self._state.history = []
        if message.go_away is not None:
            log.debug("the connection will be closed", within=message.go_away.time_left)
            self._leaving = True
        told: list[RealtimeEvent] = []
        activity = message.voice_activity
        if activity is not None and activity.voice_activity_type == "ACTIVITY_START":
            told += self._caller_began()
        if message.tool_call_cancellation is not None:
            self._cancel_calls(message.tool_call_cancellation.ids)
        if message.server_content is not None:
            self._fruitful = True
            told += self._content(message.server_content)
        if message.tool_call is not None:
            self._fruitful = True
            told += self._use(message.tool_call.function_calls)
        return told

    def _content(self, content: ServerContent) -> list[RealtimeEvent]:
        told: list[RealtimeEvent] = []
        if content.input_transcription is not None:
            told += self._transcribed(content.input_transcription)
        for part in content.model_turn.parts if content.model_turn is not None else ():
            if part.inline_data is not None:
                told += self._speech(part.inline_data.data)
        words = content.output_transcription
        if words is not None and words.text:
            told += self._words(words.text)
        if content.interrupted:
            told += self._caller_began()
        if not self._asked:
            return told
        response = self._asked[0]
        if content.interrupted and response.preceded and not response.cancelled:
            response.began = False  # what came was still the former one's
        elif content.interrupted:
            response.interrupted = True
        former = response.preceded > 0 and not response.began
        if content.generation_complete and not former:
            response.generated = True
            self._spoken.complete(response.item_id)
        if content.turn_complete and former:
            response.preceded -= 1
        elif content.turn_complete:
            told += self._done(_failure(content.turn_complete_reason))
        return told

    def _given_up(self) -> list[RealtimeEvent]:
        """End what was cancelled before it began, as the response after it begins.

        The API may say later that it has stopped such a response, or never.
        """
        told: list[RealtimeEvent] = []
        while len(self._asked) > 1 and self._asked[0].cancelled and not self._asked[0].began:
            preceded = self._asked[0].preceded + 1
            told += self._done(None)
            self._asked[0].preceded = preceded
        return told

    def _speech(self, audio: bytes) -> list[RealtimeEvent]:
        told = self._made(anew=True)
        response = self._asked[0]
        if response.cancelled or response.interrupted:
            return told
        if whole := self._spoken.take(response.item_id, audio):
            told.append(Speech(response.item_id, Frame(whole, L16_24K)))
        return told

    def _words(self, text: str) -> list[RealtimeEvent]:
        if not self._asked and not self.takes_turns:
            return []
        told = self._made()
        response = self._asked[0]
        if response.cancelled or response.interrupted:
            return told
        response.words += text
        return [*told, SpokenText(response.item_id, text)]

    def _use(self, calls: Sequence[FunctionCallPart]) -> list[RealtimeEvent]:
        told = self._made(anew=True)
        response = self._asked[0]
        for call in calls:
            call_id = call.id or self._new_item()
            if response.cancelled:
                continue
            self._calls[call_id] = call.name
            told.append(ToolCall(call_id, call.name, bytes(call.args).decode()))
        # The model waits for the results: the agent asks it to go on.
        return [*told, *self._done(None)]

    def _made(self, *, anew: bool = False) -> list[RealtimeEvent]:
        """Note that something of a response has come.

        Args:
            anew: whether it cannot belong to a response that was generated to its end.

        """
        told = self._given_up()
        if anew and len(self._asked) > 1 and self._asked[0].generated:
            told += self._done(None)
        if not self._asked:
            # Nobody asked for it: the API has taken the turn.
            self._asked.append(_Response(self._new_item(), turns=int(self.takes_turns)))
            if self.takes_turns:
                self._caller_speaks = False
                told.append(CallerFinished())
        response = self._asked[0]
        if not response.began:
            response.began = True
            response.messages.clear()
            if self.takes_turns:
                del self._turn[: self._turn_sent]
                self._turn_sent = 0
        return told

    def _transcribed(self, words: TranscribedWords) -> list[RealtimeEvent]:
        self._heard += words.text
        if self._asked or self._calls or not words.text.strip():
            return []
        return self._caller_began()

    def _caller_began(self) -> list[RealtimeEvent]:
        if not self.takes_turns or self._caller_speaks:
            return []
        self._caller_speaks = True
        return [CallerSpeaks()]

    def _done(self, error: str | None) -> list[RealtimeEvent]:
        """End the response that is being made."""
        response = self._asked.popleft()
        cancelled = response.cancelled or (response.interrupted and self.takes_turns)
        if response.interrupted and not cancelled and error is None:
            error = "the response was interrupted"
        told: list[RealtimeEvent] = []
        if response.turns:
            heard, self._heard = self._heard.strip(), ""
            if heard:
                self._state.history.append(Text("user", heard))
            if self._transcribes:
                told.append(CallerText(heard))
                told += [CallerText("")] * (response.turns - 1)
        if response.words:
            self._state.history.append(Text("assistant", response.words.strip()))
        usage, self._usage = self._usage, None
        return [*told, ResponseDone(usage, None if cancelled else error, cancelled)]

    def _cancel_calls(self, ids: Sequence[str]) -> None:
        for call_id in ids:
            name = self._calls.pop(call_id, None)
            result = self._results.pop(call_id, None)
            if name is None:
                continue
            if result is None:
                self._released[call_id] = name
            else:
                self._notes.append(Text("user", returned(name, result)))

    # The connection.

    async def close(self) -> None:
        """Close the connection. Does nothing if it is closed."""
        if not self._closed:
            self._closed = True
            await self._socket.close()
            if self._leaves is not None:
                await self._leaves

    @property
    def _is_idle(self) -> bool:
        """Whether nothing would be lost or late if the connection were replaced now."""
        busy = self._asked or self._waiting or self._calls or self._caller_speaks
        return not busy and (self.takes_turns or not self._turn)

    async def _go_on(self) -> None:
        """Ask for the next response if none is being made, and send what the caller said."""
        if self._waiting and all(response.cancelled for response in self._asked):
            self._asked.append(self._waiting.popleft())
            self._expect()
        await self._send()

    async def _send(self) -> None:
        """Send what has not been sent, in its order."""
        if self._sending or self._resuming:
            return
        self._sending = True
        try:
            while (message := self._next_message()) is not None:
                await self._socket.send(message)
        finally:
            self._sending = False

    def _next_message(self) -> str | None:
        for response in self._asked:
            if response.sent < len(response.messages):
                response.sent += 1
                return response.messages[response.sent - 1]
        if self._turn_sent < len(self._turn) and (self.takes_turns or not self._is_busy):
            self._turn_sent += 1
            return self._turn[self._turn_sent - 1]
        return None

    def _broken_off(self) -> list[RealtimeEvent]:
        """End what a lost connection leaves unfinished and cannot be asked for again."""
        told: list[RealtimeEvent] = []
        self._release_calls()
        for _ in range(len(self._asked)):
            response = self._asked[0]
            if response.cancelled and not response.began:
                self._take_back(response)
            if response.began or response.cancelled:
                broken = not response.generated
                told += self._done("the connection was lost in mid-answer" if broken else None)
            else:
                self._asked.rotate(-1)
        return told

    @property
    def _can_resume(self) -> bool:
        """Whether the API has kept the session, and the connection was of any use."""
        return self._state.handle is not None and self._fruitful

    async def _resume(self, why: str) -> None:
        """Go on over another connection.

        Raises:
            ServiceError: the session cannot be resumed.

        """
        self._resuming = True
        socket = await self._open_socket(self._state)
        if self._closed:
            await socket.close()
            return
        log.info("session resumed", service=SERVICE_NAME, reason=why)
        if self._leaves is not None:
            await self._leaves
        self._leaves = asyncio.create_task(self._socket.close())
        self._socket = socket
        self._leaving = self._fruitful = False
        self._turn_sent = 0
        for response in self._asked:
            response.sent = response.preceded = 0
            if response.again is not None:
                response.messages = [response.again]
        self._resuming = False
        self._expect()
        await self._go_on()

    def _expect(self) -> None:
        """Set when the next sign of a response has to come; there is no limit while none is due."""
        due = next((r for r in self._asked if not r.generated and not r.cancelled), None)
        if due is None:
            self._due = None
        else:
            seconds = self._stall_timeout if due.began else self._first_timeout
            self._due = self._clock() + seconds
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(self._due)

    async def _receive(self) -> bytes | str:
        try:
            async with asyncio.timeout_at(self._due) as self._patience:
                return await self._socket.receive()
        except TimeoutError:
            raise ServiceError(SERVICE_NAME, "a response stalled") from None
        finally:
            self._patience = None


def _failure(reason: str | None) -> str | None:
    """Return why a turn that ended for `reason` failed, if it did."""
    if reason is None or reason in _FINE:
        return None
    return f"the response was stopped ({reason})"
