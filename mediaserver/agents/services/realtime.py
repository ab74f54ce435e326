"""Speech in, speech out: models that hear and speak by themselves."""

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
        item_id: what is being said; pieces of one item follow each other.
        frame: the audio.

    """

    item_id: str
    frame: Frame


@dataclass(frozen=True, slots=True)
class SpokenText:
    """The words of the model's speech: a further piece of those of `item_id`."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class CallerText:
    """What the caller said, as the model's side transcribed it.

    Where it transcribes at all there is one for each turn, in the order of the turns.

    Attributes:
        text: what was understood; empty if nothing was.
        seconds: how much audio is paid for, where it is paid for by time.
        tokens: what it cost otherwise, where told.

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
        tokens: what it cost, where told.
        error: why it failed, or None.
        cancelled: whether it was cancelled: nobody waits for it any more.

    """

    tokens: Tokens | None = None
    error: str | None = None
    cancelled: bool = False


RealtimeEvent: TypeAlias = (
    Speech | SpokenText | CallerText | CallerSpeaks | CallerFinished | ToolCall | ResponseDone
)


class RealtimeSession(Protocol):
    """A connection to the model, for one call.

    That the connection was lost is told by `events`, and nothing else raises because of it.
    """

    takes_turns: bool
    """Whether the model's side decides when the caller has finished, and responds by itself.
    Otherwise it waits for `end_turn`."""

    async def hear(self, frame: Frame) -> None:
        """Let the model hear a piece of the caller's speech."""

    async def end_turn(self) -> None:
        """The caller has finished: have the model respond to what it heard."""

    async def say(self, instructions: str) -> None:
        """Have the model say something of its own accord, as a greeting.

        Each `end_turn`, `say` and `respond` makes one response, one after the other in the order
        in which they were asked for, and each ends with a `ResponseDone`.
        """

    async def tell(self, message: Message) -> None:
        """Add something to the conversation, without having it answered yet."""

    async def respond(self) -> None:
        """Have the model respond to the conversation as it is now."""

    async def cancel(self) -> None:
        """Stop the response that is being made, if any is, and forget those asked for.

        Nothing of it comes any more but its `ResponseDone`, as ``cancelled``.
        """

    async def truncate(self, item_id: str, seconds: float) -> None:
        """Tell the model that the caller heard no more than so much of what it said."""

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
    """A session that can say what was spoken without taking it for a turn.

    With it a short word interrupts the agent as soon as it is understood. Otherwise it takes
    speech of `TurnSettings.confirm`.
    """

    async def transcribe(self, frames: Sequence[Frame]) -> CallerText:
        """Return the words of what may be speech; the conversation knows nothing of it.

        Raises:
            ServiceError: the service failed.

        """
        ...


@runtime_checkable
class Updatable(Protocol):
    """A session that can be told to be and do something else than when it was opened.

    With it an agent may change its prompt at any time. Otherwise only until its stream has started:
    then a session that was opened before is replaced.
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
            prompt: what the model is told to be and do.
            tools: what it may use.
            format: the stream's audio format; the session hears and speaks it where it can.
            conversation: what was said before, when a lost connection is replaced.

        Raises:
            ServiceError: the service cannot be reached, or refuses.

        """
        ...
