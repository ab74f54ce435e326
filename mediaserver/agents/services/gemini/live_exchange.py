"""What goes to and fro in a session with Gemini's Live API, without I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from audiocodecs import L16_16K, L16_24K, AudioFormat
from mediaserver.agents.services.gemini.chunks import FunctionCallPart
from mediaserver.agents.services.gemini.contents import GO_ON
from mediaserver.agents.services.gemini.live_calls import LiveCalls
from mediaserver.agents.services.gemini.live_events import LiveServerMessage, ServerContent
from mediaserver.agents.services.gemini.live_messages import (
    RUNNING,
    STREAM_END,
    note,
    notes_message,
    turns_message,
)
from mediaserver.agents.services.gemini.live_turn import LiveTurn
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
from mediaserver.agents.services.spoken_items import SpokenItems
from mediaserver.call import Frame


_LAG: Final = 2.0
"""Seconds for which words of the caller may be late: the API transcribes beside the conversation,
and says nothing of the order."""

_SILENCE: Final = 150
"""Messages that are kept while nobody is known to speak: the three seconds in which the caller may
have begun to."""

_UNDER_WAY: Final = 25
"""The same when the API has kept the session: the half second that may not have reached it then."""

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


@dataclass(slots=True, eq=False)
class _Response:
    """A response that was asked for, or that the model makes by itself.

    Attributes:
        item_id: the item of its speech.
        sign_at: when it was asked for, or when something of it came last.
        messages: what asks for it, to be sent again if the connection is lost before it begins.
        told: what of that is part of the conversation.
        again: what asks for it over another connection, if that is something else.
        sent: how many of the messages were sent.
        turns: how many turns of the caller it answers.
        preceded: how many responses before it were given up, whose end may still come.
        began: whether any of it has come.
        generated: whether all of it has come, but for the end of the turn.
        cancelled: whether nobody wants it any more.
        interrupted: whether the API has stopped it.
        words: what the model says in it.
        known: how many characters of them the API keeps.
        played_at: when its speech is over, if it is played as it comes.

    """

    item_id: str
    sign_at: float
    messages: list[str] = field(default_factory=list)
    told: Sequence[Text] = ()
    again: str | None = None
    sent: int = 0
    turns: int = 0
    preceded: int = 0
    began: bool = False
    generated: bool = False
    cancelled: bool = False
    interrupted: bool = False
    words: str = ""
    known: int = 0
    played_at: float = 0.0

    @property
    def dropped(self) -> bool:
        """Whether nothing more of it is to be heard."""
        return self.cancelled or self.interrupted


class LiveExchange:
    """What was asked of the model, what it says, and what it is to be told next.

    A response is a turn of the model, and ends when the API completes that turn or uses a tool. The
    methods only note what the caller and the agent do: `next_message` then returns what to send.

    Args:
        state: what another connection is told; kept up to date.
        format: the call's audio format.
        takes_turns: whether the API takes the turns.
        transcribes: whether the API transcribes the caller's speech.
        first_timeout: seconds until a response begins.
        stall_timeout: seconds from one sign of a response to the next.
        clock: returns the time in seconds.

    """

    def __init__(
        self,
        state: SessionState,
        *,
        format: AudioFormat,
        takes_turns: bool,
        transcribes: bool,
        first_timeout: float,
        stall_timeout: float,
        clock: Callable[[], float],
    ) -> None:
        self.takes_turns = takes_turns
        self._state = state
        self._transcribes = transcribes
        self._first_timeout = first_timeout
        self._stall_timeout = stall_timeout
        self._clock = clock
        self._input = InputAudio(format, L16_16K, live=takes_turns)
        self._spoken = SpokenItems(L16_24K)
        self._turn = LiveTurn(marked=not takes_turns)
        self._calls = LiveCalls()
        self._count = 0

        # Responses that were asked for, the one that is being made first; and those to ask for
        # when it is over, because the API stops it for the next.
        self._asked: deque[_Response] = deque()
        self._waiting: deque[_Response] = deque()
        # Responses that were over without their end, which may still come.
        self._unended = 0

        # What the model is told with the next thing that it is asked; where the API takes the
        # turns, as soon as nobody speaks.
        self._notes: list[Text] = []

        # What the caller said in the present turn, and how much of that the API keeps.
        self._heard = ""
        self._known = 0
        # Whether the caller speaks, when there was a sign of it last, when the model last began to
        # answer, and whether the API says by itself when the caller speaks.
        self._caller_speaks = False
        self._sign_at = self._answered_at = float("-inf")
        self._tells_activity = False
        # Words that came before the speech that they belong to.
        self._early = ""
        self._usage: Tokens | None = None

    @property
    def due(self) -> float | None:
        """The time by which the next sign of a response must come; None if no sign is due."""
        for response in self._asked:
            if response.cancelled:
                continue
            if response.generated:
                return max(response.sign_at, response.played_at) + self._stall_timeout
            seconds = self._stall_timeout if response.began else self._first_timeout
            return response.sign_at + seconds
        return None

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be lost or late if the connection were replaced now."""
        busy = self._asked or self._waiting or self._calls or self._caller_speaks
        return not busy and (self.takes_turns or not self._turn)

    def next_message(self) -> str | None:
        """Return the next message to send; None if there is none now."""
        if self._waiting and all(response.cancelled for response in self._asked):
            self._asked.append(self._waiting.popleft())
            self._asked[-1].sign_at = self._clock()
        for response in self._asked:
            if response.sent < len(response.messages):
                response.sent += 1
                return response.messages[response.sent - 1]
        if not self.takes_turns:
            return None if self._is_busy else self._turn.next()
        if self._notes and not (self._is_busy or self._calls or self._is_recent(self._sign_at)):
            self._state.history.extend(self._notes)
            return notes_message(self._take_notes())
        return self._turn.next()

    # What the caller does.

    def hear(self, frame: Frame) -> bool:
        """Let the model hear a piece of the caller's speech; return whether to send something."""
        if not self._input.add(frame):
            return False
        self._turn.hear(self._input.take())
        speaks = self._caller_speaks or not (self._transcribes or self._tells_activity)
        if self.takes_turns and not speaks:
            self._turn.forget(but=_SILENCE)
        return True

    def end_turn(self) -> None:
        """The caller has finished: have the model respond to what it heard."""
        if rest := self._input.end_turn():
            self._turn.hear(rest)
        if self.takes_turns:
            self._turn.add(STREAM_END)
            self._ask([], turns=1)
            return
        self._notes += self._calls.release()
        notes = self._take_notes()
        messages, sent, turns = self._turn.end(map(note, notes))
        self._ask(messages, told=notes, sent=sent, turns=turns)

    # What the model is to do.

    def say(self, instructions: str) -> None:
        """Have the model say something of its own accord, such as a greeting.

        While the model waits for tools, it is told to say this meanwhile, in place of the results
        that are not there yet.
        """
        if self._calls:
            self._answer_calls({"status": RUNNING, "meanwhile": instructions}, instructions)
        else:
            self._tell(Text("user", instructions))

    def respond(self) -> None:
        """Have the model respond to the conversation as it is now."""
        if self._calls:
            self._answer_calls({"status": RUNNING}, GO_ON)
        else:
            self._tell(None if self._notes else Text("user", GO_ON))

    def tell(self, message: Message) -> None:
        """Add something to the conversation."""
        if isinstance(message, Text):
            self._notes.append(message)
        elif isinstance(message, ToolResult):
            late = self._calls.returned(message)
            if late is not None:
                self._notes.append(late)

    def cancel(self) -> None:
        """Drop the response that is being made, and forget those asked for.

        The API has no message for it: it stops when the caller's turn, or anything else that it is
        asked, begins. What still comes until then is dropped.
        """
        for response in reversed(self._waiting):
            self._take_back(response)
        self._waiting.clear()
        for response in self._asked:
            response.cancelled = True

    def truncate(self, item_id: str, seconds: float) -> None:
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

    def _tell(self, last: Text | None) -> None:
        told = [*self._take_notes(), *([last] if last is not None else [])]
        self._ask([turns_message(told)], told=told)

    def _answer_calls(self, unknown: dict[str, str], request: str) -> None:
        message, told = self._calls.answer(unknown)
        told.append(Text("user", request))
        self._ask([message], told=told, again=turns_message(told))

    def _take_notes(self) -> list[Text]:
        notes, self._notes = self._notes, []
        return notes

    def _take_back(self, response: _Response) -> None:
        """Have the caller's turn go on with one that is not answered on its own."""
        if response.turns and not self.takes_turns:
            self._turn.take_back(response.messages, response.sent, response.turns)
            response.turns = 0

    def _ask(
        self,
        messages: list[str],
        *,
        told: Sequence[Text] = (),
        sent: int = 0,
        turns: int = 0,
        again: str | None = None,
    ) -> None:
        asked = self._waiting if self._is_busy else self._asked
        response = self._new_response(turns)
        response.messages, response.told = messages, told
        response.sent, response.again = sent, again
        asked.append(response)

    def _new_response(self, turns: int) -> _Response:
        unended, self._unended = self._unended, 0
        return _Response(self._new_item(), self._clock(), turns=turns, preceded=unended)

    @property
    def _is_busy(self) -> bool:
        """Whether a response is being made that the next message would stop."""
        return bool(self._waiting) or any(not response.cancelled for response in self._asked)

    def _new_item(self) -> str:
        self._count += 1
        return f"response-{self._count}"

    def _is_recent(self, at: float) -> bool:
        return self._clock() - at <= _LAG

    # What the model says.

    def take(self, message: LiveServerMessage) -> list[RealtimeEvent]:
        """Note a message of the server, and return what the agent needs to know of it."""
        if message.usage_metadata is not None:
            self._usage = (self._usage or Tokens(0, 0)) + message.usage_metadata.tokens
        update = message.session_resumption_update
        if update is not None and update.resumable and update.new_handle:
            self._keep(update.new_handle)
        told: list[RealtimeEvent] = []
        activity = message.voice_activity
        if activity is not None:
            self._tells_activity = True
            self._sign_at = self._clock()
            if activity.voice_activity_type == "ACTIVITY_START":
                told += self._caller_began()
        if message.tool_call_cancellation is not None:
            self._notes += self._calls.release(message.tool_call_cancellation.ids)
        if message.server_content is not None:
            told += self._content(message.server_content)
        if message.tool_call is not None:
            told += self._use(message.tool_call.function_calls)
        return told

    def _keep(self, handle: str) -> None:
        """Note what a new connection need not be told: what the API knows by now."""
        self._state.handle = handle
        self._state.history = []
        self._known = len(self._heard)
        for response in self._asked:
            response.known = len(response.words)
            if response.began:
                response.told = ()
        if self.takes_turns:
            self._turn.forget(but=_UNDER_WAY)

    def _content(self, content: ServerContent) -> list[RealtimeEvent]:
        told: list[RealtimeEvent] = []
        if (interim := content.interim_input_transcription) is not None and interim.text.strip():
            self._tells_activity = True
            told += self._understood()
        if (words := content.input_transcription) is not None:
            self._heard += words.text
            late = self._tells_activity or self._is_recent(self._answered_at)
            if words.text.strip() and not late:
                told += self._understood()
        if (turn := content.model_turn) is not None:
            if self._asked:
                self._asked[0].sign_at = self._clock()  # a thought is a sign as well
            for part in turn.parts:
                if part.inline_data is not None:
                    told += self._speech(part.inline_data.data)
        if (words := content.output_transcription) is not None and words.text:
            told += self._words(words.text)
        if content.interrupted:
            told += self._caller_began()
        if self._asked:
            return [*told, *self._progress(content)]
        if content.turn_complete:
            self._unended = 0
        return told

    def _progress(self, content: ServerContent) -> list[RealtimeEvent]:
        """Note where the model is in its turn."""
        response = self._asked[0]
        if content.interrupted and response.preceded and not response.cancelled:
            response.began = False  # what came was still the former one's
        elif content.interrupted:
            response.interrupted = True
        former = response.preceded > 0 and not response.began
        if content.generation_complete and not former:
            response.generated = True
            response.sign_at = self._clock()
            self._spoken.complete(response.item_id)
        if content.turn_complete and former:
            response.preceded -= 1
        elif content.turn_complete:
            self._early = ""
            return self._done(_failure(content.turn_complete_reason))
        return []

    def _speech(self, audio: bytes) -> list[RealtimeEvent]:
        told = self._began()
        response = self._asked[0]
        now = self._clock()
        response.sign_at = now
        response.played_at = max(response.played_at, now) + L16_24K.seconds(audio)
        early, self._early = self._early, ""
        if response.dropped:
            return told
        if early:
            told += self._words(early)
        if whole := self._spoken.take(response.item_id, audio):
            told.append(Speech(response.item_id, Frame(whole, L16_24K)))
        return told

    def _words(self, text: str) -> list[RealtimeEvent]:
        """Note words of the model. They come in no order with its speech, and begin no response."""
        response = self._asked[0] if self._asked else None
        if response is None and not self.takes_turns:
            return []  # they are late
        if response is None or not response.began:
            self._early += text
            return []
        response.sign_at = self._clock()
        if response.dropped:
            return []
        response.words += text
        return [SpokenText(response.item_id, text)]

    def _use(self, calls: Sequence[FunctionCallPart]) -> list[RealtimeEvent]:
        told = self._began()
        self._early = ""
        response = self._asked[0]
        for call in calls:
            call_id = call.id or self._new_item()
            if response.cancelled:
                continue
            self._calls.begin(call_id, call.name)
            told.append(ToolCall(call_id, call.name, bytes(call.args).decode()))
        # The model waits for the results: the agent asks it to go on.
        return [*told, *self._done(None)]

    def _began(self) -> list[RealtimeEvent]:
        """Note that speech or a tool call has come, which begins a response if none is made."""
        told: list[RealtimeEvent] = []
        # End what was cancelled before it began. The API may say later that it has stopped such a
        # response, or never.
        while len(self._asked) > 1 and self._asked[0].cancelled and not self._asked[0].began:
            preceded = self._asked[0].preceded + 1
            told += self._done(None)
            self._asked[0].preceded = preceded
        if len(self._asked) > 1 and self._asked[0].generated:
            told += self._done(None)
        if not self._asked:
            # Nobody asked for it: the API has taken the turn.
            self._asked.append(self._new_response(int(self.takes_turns)))
            if self.takes_turns:
                told.append(CallerFinished())
        response = self._asked[0]
        if not response.began:
            response.began = True
            response.messages.clear()
            self._answered_at = self._clock()
            if self.takes_turns:
                self._caller_speaks = False
                self._turn.forget()
        return told

    def _understood(self) -> list[RealtimeEvent]:
        """Note that the API understands what the caller says."""
        self._sign_at = self._clock()
        if self._asked or self._calls:
            return []  # it says by itself if that stops the model
        return self._caller_began()

    def _caller_began(self) -> list[RealtimeEvent]:
        self._sign_at = self._clock()
        if not self.takes_turns or self._caller_speaks:
            return []
        self._caller_speaks = True
        if not self._asked:
            self._early = ""  # that was late
        return [CallerSpeaks()]

    def _done(self, error: str | None) -> list[RealtimeEvent]:
        """End the response that is being made."""
        response = self._asked.popleft()
        cancelled = response.cancelled or (response.interrupted and self.takes_turns)
        if response.interrupted and not cancelled and error is None:
            error = "the response was interrupted"
        told: list[RealtimeEvent] = []
        if response.turns:
            heard, known, self._heard, self._known = self._heard, self._known, "", 0
            self._remember(Text("user", heard[known:]))
            if self._transcribes:
                told.append(CallerText(heard.strip()))
                told += [CallerText("")] * (response.turns - 1)
        self._state.history.extend(response.told)
        self._remember(Text("assistant", response.words[response.known :]))
        usage, self._usage = self._usage, None
        return [*told, ResponseDone(usage, None if cancelled else error, cancelled)]

    def _remember(self, said: Text) -> None:
        if words := said.text.strip():
            self._state.history.append(Text(said.role, words))

    # The connection.

    def give_up_waiting(self) -> list[RealtimeEvent]:
        """End a response of which all has come but the end. Call it when `due` is past.

        Returns:
            What the agent needs to know; nothing if a response has stalled.

        """
        response = next((each for each in self._asked if not each.cancelled), None)
        if response is None or not response.generated:
            return []
        told: list[RealtimeEvent] = []
        while self._asked[0] is not response:
            told += self._done(None)
        log.warning("a turn of the model was not completed", item=response.item_id)
        told += self._done(None)
        self._unended += 1
        return told

    def broken_off(self) -> list[RealtimeEvent]:
        """End what a lost connection leaves unfinished and cannot be asked for again."""
        told: list[RealtimeEvent] = []
        self._notes += self._calls.release()
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

    def resumed(self) -> None:
        """Note that the session goes on over another connection."""
        self._unended = 0
        self._early = ""
        self._turn.send_again()
        for response in self._asked:
            response.sent = response.preceded = 0
            response.sign_at = self._clock()
            if response.again is not None:
                response.messages = [response.again]


def _failure(reason: str | None) -> str | None:
    """Return why a turn that ended for `reason` failed, if it did."""
    if reason is None or reason in _FINE:
        return None
    return f"the response was stopped ({reason})"
