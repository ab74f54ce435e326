"""A speech-to-speech model for tests of agents: it speaks by a script, on the loop's clock."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from audiocodecs import AudioFormat
from mediaserver.agents.conversing.realtime_agent import SAY
from mediaserver.agents.services import (
    CallerFinished,
    CallerSpeaks,
    CallerText,
    Message,
    RealtimeEvent,
    RealtimeModel,
    RealtimeSession,
    ResponseDone,
    ServiceError,
    Speech,
    SpokenText,
    Tokens,
    ToolCall,
    ToolSpec,
    Transcribing,
    Updatable,
)
from mediaserver.call import Frame
from mediaserver.testing.services import WORD_SECONDS, Fault, Timing, tones


PIECE = 0.1
"""Seconds of each piece of audio."""

_LOST = ServiceError("scripted", "the connection was lost")


@dataclass(frozen=True, slots=True)
class Truncation:
    """How much of an item the caller heard, as the agent told the model.

    Attributes:
        text: the text of the item.
        seconds: seconds of it that were heard.
        length: seconds of audio in it.

    """

    text: str
    seconds: float
    length: float


class ScriptedRealtime(RealtimeModel):
    """Answers by a script, and says what the agent asks it to say.

    A word sounds as with `TimedSpeech`. The model takes the turns only if `takes_turns` is set.

    Args:
        answers: its answers, in order: text, a tool call, or both in a list; and nothing when they
            are used up, which an agent asks about once more and then takes for a failure.
        transcripts: the text that it understands in each turn.
        overheard: the texts that it returns when asked what was said; None if it cannot transcribe.
        timing: of the pieces of 0.1 s of audio. By default they come after 0.3 s, ten times as fast
            as they are heard.
        fault: how it fails: an `error` ends the session, after `after` pieces of a response.
        refusals: exceptions that the first attempts to connect raise.
        breaks: exceptions that methods of the first session raise, by the methods' names.
        takes_turns: whether its sessions take the turns: see `ScriptedSession.caller_speaks`.

    Attributes:
        sessions: the sessions that were opened, oldest first.

    """

    def __init__(
        self,
        answers: Iterable[str | ToolCall | Sequence[str | ToolCall]] = (),
        *,
        transcripts: Iterable[str] = (),
        timing: Timing | None = None,
        fault: Fault | None = None,
        refusals: Iterable[Exception] = (),
        breaks: Mapping[str, Exception] | None = None,
        overheard: Iterable[str] | None = None,
        takes_turns: bool = False,
    ) -> None:
        self.sessions: list[ScriptedSession] = []
        self.attempts = 0
        self.timing = timing or Timing(0.3, PIECE / 10)
        self.takes_turns = takes_turns
        self.fault = fault
        self._answers = iter(answers)
        self._transcripts = iter(transcripts)
        self._refusals = deque(refusals)
        self._breaks = breaks or {}
        self.overheard = iter(overheard) if overheard is not None else None
        self._responses = 0

    @property
    def session(self) -> ScriptedSession:
        """The session that was opened last."""
        return self.sessions[-1]

    async def connect(
        self,
        *,
        prompt: str,
        tools: Sequence[ToolSpec],
        format: AudioFormat,
        conversation: Sequence[Message] = (),
    ) -> ScriptedSession:
        """Open a session, or refuse to."""
        self.attempts += 1
        if self._refusals:
            raise self._refusals.popleft()
        kind = ScriptedSession if self.overheard is None else _Overhearing
        session = kind(self, prompt, tools, format, conversation)
        if not self.sessions:
            for name, error in self._breaks.items():
                setattr(session, name, _broken(error))
        self.sessions.append(session)
        return session

    def refuse(self, *refusals: Exception) -> None:
        """Have the next attempts to connect raise these."""
        self._refusals.extend(refusals)

    def next_answer(self) -> list[str | ToolCall]:
        """Return the next answer."""
        answer = next(self._answers, "")
        return [answer] if isinstance(answer, str | ToolCall) else list(answer)

    def next_transcript(self) -> str:
        """Return the next text to understand."""
        return next(self._transcripts, "")

    def next_fault(self) -> Fault | None:
        """Return how the next response fails, if it does."""
        self._responses += 1
        fault = self.fault
        if fault is None or (fault.uses is not None and self._responses > fault.uses):
            return None
        return fault


class ScriptedSession(RealtimeSession, Updatable):
    """A session of `ScriptedRealtime`.

    Attributes:
        prompt: its instructions.
        tools: the tools that it may use.
        format: the stream's format.
        conversation: the messages from before the session.
        told: the messages that it was given since.
        turns: seconds of each turn of the caller.
        responses: number of responses asked for.
        cancelled: number of responses cancelled.
        truncations: the items that the caller heard only in part.
        closed: whether it was closed.

    """

    def __init__(
        self,
        model: ScriptedRealtime,
        prompt: str,
        tools: Sequence[ToolSpec],
        format: AudioFormat,
        conversation: Sequence[Message],
    ) -> None:
        self.takes_turns = model.takes_turns
        self.prompt = prompt
        self.tools = tools
        self.format = format
        self.conversation = list(conversation)
        self.told: list[Message] = []
        self.turns: list[float] = []
        self.responses = 0
        self.cancelled = 0
        self.truncations: list[Truncation] = []
        self.closed = False
        self._model = model
        self._loop = asyncio.get_running_loop()
        self._heard = 0.0
        self._events: asyncio.Queue[RealtimeEvent | Exception | None] = asyncio.Queue()
        self._asked: deque[list[str | ToolCall]] = deque()
        self._response: asyncio.Task[None] | None = None
        self._items: dict[str, tuple[str, float]] = {}

    async def update(self, *, prompt: str, tools: Sequence[ToolSpec]) -> None:
        """Change the instructions and the tools."""
        self.prompt = prompt
        self.tools = tools

    async def hear(self, frame: Frame) -> None:
        """Take a frame of the caller's audio."""
        self._heard += frame.seconds

    async def end_turn(self) -> None:
        """Take the turn, and answer."""
        self._take_turn()
        await self.respond()

    async def say(self, instructions: str) -> None:
        """Say the text in the instructions."""
        self._ask([instructions.removeprefix(SAY.format(text=""))])

    async def tell(self, message: Message) -> None:
        """Remember a message."""
        self.told.append(message)

    async def respond(self) -> None:
        """Say the next answer of the script."""
        self._ask(self._model.next_answer())

    async def cancel(self) -> None:
        """Cancel the response, and those that wait."""
        self._asked.clear()
        if self._response is not None and not self._response.done():
            self.cancelled += 1
            self._response.cancel()
            self._response = None
            self._tell(ResponseDone(Tokens(10, 1), cancelled=True))

    async def truncate(self, item_id: str, seconds: float) -> None:
        """Remember how much was heard.

        Raises:
            AssertionError: the item is not that long, or was truncated before.

        """
        text, length = self._items.pop(item_id)
        assert seconds <= length + 1e-6, f"{seconds} s of {length} s cannot have been heard"
        if seconds < length:
            self.truncations.append(Truncation(text, seconds, length))

    async def events(self) -> AsyncIterator[RealtimeEvent]:
        """Yield the session's events until it is closed."""
        while True:
            event = await self._events.get()
            if event is None:
                return
            if isinstance(event, Exception):
                raise event
            yield event

    async def close(self) -> None:
        """End the session."""
        if not self.closed:
            self.closed = True
            if self._response is not None:
                self._response.cancel()
            self._events.put_nowait(None)

    # For tests.

    def lose(self, error: Exception | None = _LOST) -> None:
        """Lose the connection with an error; None ends the events without one."""
        if self._response is not None:
            self._response.cancel()
        self._events.put_nowait(error)

    def caller_speaks(self) -> None:
        """Report that the caller speaks, where the model takes the turns."""
        if self._response is not None and not self._response.done():
            self._response.cancel()
            self._tell(CallerSpeaks())
            self._tell(ResponseDone(cancelled=True))
        else:
            self._tell(CallerSpeaks())

    def caller_finished(self) -> None:
        """Report that the caller has finished, and answer."""
        self._tell(CallerFinished())
        self._take_turn()
        self._ask(self._model.next_answer())

    def _take_turn(self) -> None:
        heard, self._heard = self._heard, 0.0
        self.turns.append(heard)
        text = self._model.next_transcript()
        self._loop.call_later(0.4, self._tell, CallerText(text, seconds=heard))

    def _tell(self, event: RealtimeEvent | Exception) -> None:
        if not self.closed:
            self._events.put_nowait(event)

    def _ask(self, answer: list[str | ToolCall]) -> None:
        self.responses += 1
        self._asked.append(answer)
        if self._response is None or self._response.done():
            self._begin()

    def _begin(self) -> None:
        if self._asked and not self.closed:
            self._response = self._loop.create_task(self._answer(self._asked.popleft()))

    async def _answer(self, answer: list[str | ToolCall]) -> None:
        due = self._loop.time() + self._model.timing.first
        fault = self._model.next_fault()
        count = 0
        for part in answer:
            if isinstance(part, ToolCall):
                await asyncio.sleep(due - self._loop.time())
                self._tell(part)
                continue
            words = part.split()
            payload = self.format.encode(tones(len(words), self.format.rate))
            item_id = f"item_{self.responses}_{len(self._items)}"
            size = round(PIECE * self.format.rate) * self.format.sample_bytes
            written = 0
            for start in range(0, len(payload), size):
                await asyncio.sleep(due - self._loop.time())
                due += self._model.timing.interval
                if fault is not None and count >= fault.after:
                    if fault.error is None:
                        await self._loop.create_future()
                    else:
                        self._tell(fault.error)
                    return
                count += 1
                frame = Frame(payload[start : start + size], self.format)
                _, length = self._items.get(item_id, ("", 0.0))
                length += frame.seconds
                self._items[item_id] = (part, length)
                while written < len(words) and written * WORD_SECONDS <= length:
                    self._tell(SpokenText(item_id, (" " if written else "") + words[written]))
                    written += 1
                self._tell(Speech(item_id, frame))
        await asyncio.sleep(due - self._loop.time())
        self._response = None
        self._tell(ResponseDone(Tokens(100, 20, 50)))
        self._begin()


class _Overhearing(ScriptedSession, Transcribing):
    async def transcribe(self, frames: Sequence[Frame]) -> CallerText:
        """Return the next text of the script, after 0.4 s."""
        await asyncio.sleep(0.4)
        assert self._model.overheard is not None
        return CallerText(
            next(self._model.overheard, ""), seconds=sum(frame.seconds for frame in frames)
        )


def _broken(error: Exception) -> Callable[..., Awaitable[None]]:
    async def method(*_: object) -> None:
        raise error

    return method


__all__ = ["PIECE", "ScriptedRealtime", "ScriptedSession", "Truncation"]
