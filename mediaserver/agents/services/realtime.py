"""Models that hear and speak by themselves: speech in, speech out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from audiocodecs import AudioFormat
from mediaserver.agents.services.language_model import Message, Tokens, ToolCall, ToolSpec
from mediaserver.call import Frame


@dataclass(frozen=True, slots=True)
class Speech:
    """A piece of the model's speech.

    Attributes:
        item_id: the item that it belongs to; the pieces of an item follow each other.
        frame: the audio.

    """

    item_id: str
    frame: Frame


@dataclass(frozen=True, slots=True)
class SpokenText:
    """A piece of the words of the model's speech, in the item `item_id`."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class CallerText:
    """What the caller said, as the model's side transcribed it.

    If the model's side transcribes at all, one comes for each turn, in the order of the turns.

    Attributes:
        text: the words; empty if nothing was understood.
        seconds: the seconds of audio that are charged for, if the charge is by time.
        tokens: the cost in tokens, if known.

    """

    text: str
    seconds: float = 0.0
    tokens: Tokens | None = None


@dataclass(frozen=True, slots=True)
class CallerSpeaks:
    """The model's side has noticed that the caller began to speak; only if it takes the turns."""


@dataclass(frozen=True, slots=True)
class CallerFinished:
    """The model's side has noticed that the caller finished; only if it takes the turns."""


@dataclass(frozen=True, slots=True)
class ResponseDone:
    """The model has finished a response, tool calls included.

    Attributes:
        tokens: its cost, if known.
        error: why it failed, or None.
        cancelled: whether it was cancelled, so that nobody waits for it any more.

    """

    tokens: Tokens | None = None
    error: str | None = None
    cancelled: bool = False


RealtimeEvent: TypeAlias = (
    Speech | SpokenText | CallerText | CallerSpeaks | CallerFinished | ToolCall | ResponseDone
)


class RealtimeSession(Protocol):
    """A connection to the model, for one call.

    If the connection is lost, `events` raises that, and no other method does.
    """

    takes_turns: bool
    """Whether the model's side decides when the caller has finished, and responds by itself.
    If not, it waits for `end_turn`."""

    async def hear(self, frame: Frame) -> None:
        """Let the model hear a piece of the caller's speech."""

    async def end_turn(self) -> None:
        """The caller has finished: have the model respond to what it heard."""

    async def say(self, instructions: str) -> None:
        """Have the model say something of its own accord, such as a greeting.

        Each `end_turn`, `say` and `respond` makes one response, in the order in which they were
        called. Each response ends with a `ResponseDone`.
        """

    async def tell(self, message: Message) -> None:
        """Add something to the conversation, without having it answered yet."""

    async def respond(self) -> None:
        """Have the model respond to the conversation as it is now."""

    async def cancel(self) -> None:
        """Stop the response that is being made, if there is one, and forget those asked for.

        Only its `ResponseDone` still comes, with ``cancelled`` set.
        """

    async def truncate(self, item_id: str, seconds: float) -> None:
        """Tell the model that the caller heard only `seconds` of an item."""

    def events(self) -> AsyncIterator[RealtimeEvent]:
        """Yield what the model says and does until the session is closed.

        Raises:
            ServiceError: the connection was lost, or the service refused something.

        """
        ...

    async def close(self) -> None:
        """Close the connection. Does nothing if it is closed."""


@runtime_checkable
class Transcribing(Protocol):
    """A session that can transcribe speech without making it a turn.

    With such a session a short word interrupts the agent as soon as it is understood. Without one,
    it takes speech of the length `TurnSettings.confirm`.
    """

    async def transcribe(self, frames: Sequence[Frame]) -> CallerText:
        """Return the words of audio that may be speech, and keep it out of the conversation.

        Raises:
            ServiceError: the service failed.

        """
        ...


@runtime_checkable
class Updatable(Protocol):
    """A session whose prompt and tools can change after it was opened.

    With such a session an agent may change them at any time. Without one, it may change them until
    its stream starts: a session that was opened before that is then replaced.
    """

    async def update(self, *, prompt: str, tools: Sequence[ToolSpec]) -> None:
        """Take another prompt and other tools, from the next response on."""


class RealtimeModel(Protocol):
    """A speech-to-speech model. One object serves all calls of a process."""

    async def connect(
        self,
        *,
        prompt: str,
        tools: Sequence[ToolSpec],
        format: AudioFormat,
        conversation: Sequence[Message] = (),
    ) -> RealtimeSession:
        """Open a session.

        Args:
            prompt: the instructions for the model.
            tools: the tools that it may use.
            format: the stream's audio format; the session uses it if it can.
            conversation: the messages so far, if a lost connection is replaced.

        Raises:
            ServiceError: the service cannot be reached, or refuses the connection.

        """
        ...
