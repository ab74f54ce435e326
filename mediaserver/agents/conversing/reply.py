"""One reply of an agent: its state, its times, and its cost."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from enum import Enum, auto
from typing import Any, Protocol, TypeAlias

from mediaserver.agents.conversing.steps import RunningStep
from mediaserver.agents.services import Tokens
from mediaserver.call import Turn, Usage
from mediaserver.call.turn import StepKind


SHORTEST_REPLY = 0.5
"""Seconds: a reply of which the caller heard less than this, and no word, counts as not given."""

Work: TypeAlias = "Callable[[Reply], Coroutine[Any, Any, None]]"
"""Makes a reply, and returns when the caller has heard it."""


class ReplyState(Enum):
    """The state of a reply. `Dialogue` makes the transitions."""

    OWED = auto()
    """It waits until the caller has finished and the agent is free."""
    THINKING = auto()
    """It is being made, and none of its audio has been played."""
    SPEAKING = auto()
    """Some of its audio has been played."""
    CLOSING = auto()
    """The caller has heard all of it, and the call is being hung up or transferred."""
    FINISHED = auto()
    """It is over, and was not interrupted."""
    INTERRUPTED = auto()
    """It was stopped, and the caller had noticed it."""
    GIVEN_UP = auto()
    """It was stopped before the caller noticed it."""


SETTLED = frozenset({ReplyState.FINISHED, ReplyState.INTERRUPTED, ReplyState.GIVEN_UP})
"""The states of a reply that is over."""


class Audible(Protocol):
    """The audio of a reply, as the caller hears it: `mediaserver.playback.Playback` is one."""

    @property
    def seconds_heard(self) -> float:
        """How much of it the caller has heard."""

    @property
    def begins_at(self) -> float | None:
        """When the caller hears its beginning, on the call's clock."""


class Reply:
    """What the agent says in one turn.

    Attributes:
        number: the number of the turn; 0 for the greeting; None if the turn is not reported.
        caller: what the caller said.
        since: the time from which its delays count, on the call's clock: the end of the caller's
            speech, or the start of the stream for the greeting.
        work: makes it; None for the agent's answer to the conversation.
        at_once: whether it is given while the caller speaks, rather than after that.
        state: how far it is.
        interrupted: whether it was stopped before the caller heard all of it. `Dialogue` sets this
            before it settles the reply.
        using_tools: whether it waits for tools.
        leaves: whether a realtime model wants to hang up or transfer once it was heard.
        tells_results: whether the model was asked with results that came after the reply that had
            used those tools. `Dialogue` sets this.
        refused: the names and arguments of tool calls that were refused.
        heard: what the caller heard of it; set by `Agent.settle`.
        error: what went wrong, or None.
        steps: what was done for it so far.

    """

    def __init__(
        self, number: int | None, *, since: float, caller: str = "", work: Work | None = None
    ) -> None:
        self.number = number
        self.caller = caller
        self.since = since
        self.work = work
        self.at_once = False
        self.state = ReplyState.OWED
        self.interrupted = False
        self.using_tools = False
        self.leaves = False
        self.tells_results = False
        self.refused: set[tuple[str, str]] = set()
        self.heard = ""
        self.error: str | None = None
        self.failure = ""
        self.steps: list[RunningStep] = []
        # Set as they happen, on the call's clock.
        self.turn_ended_at: float | None = None
        self.transcribed_at: float | None = None
        self.first_token_at: float | None = None
        self.audio_sent_at: float | None = None
        self.playback: Audible | None = None
        self.tokens_in = self.tokens_out = self.tokens_cached = 0
        self.characters = 0
        self.speech_seconds = 0.0

    @property
    def settled(self) -> bool:
        """Whether it is over."""
        return self.state in SETTLED

    @property
    def began(self) -> bool:
        """Whether any of its audio was played."""
        return self.audio_sent_at is not None

    @property
    def was_noticed(self) -> bool:
        """Whether the caller heard enough of it to know that there was an answer."""
        if self.heard:
            return True
        return self.playback is not None and self.playback.seconds_heard >= SHORTEST_REPLY

    def begin_step(self, kind: StepKind, name: object, at: float) -> RunningStep:
        """Begin a step, by the name of a tool or by the service that is asked."""
        step = RunningStep(kind, name, at)
        self.steps.append(step)
        return step

    def spend(self, tokens: Tokens) -> None:
        """Add the cost of a response of the model."""
        self.tokens_in += tokens.tokens_in
        self.tokens_out += tokens.tokens_out
        self.tokens_cached += tokens.tokens_cached

    def carry_on(self, former: Reply) -> None:
        """Take over the turn of `former`, which was owed or given up: its number, steps and cost.

        A greeting keeps its number 0 to itself.
        """
        self.number = former.number or None
        self.turn_ended_at = self.turn_ended_at or former.turn_ended_at
        self.steps = [*former.steps, *self.steps]
        self.tokens_in += former.tokens_in
        self.tokens_out += former.tokens_out
        self.tokens_cached += former.tokens_cached
        self.characters += former.characters
        self.speech_seconds += former.speech_seconds

    def again(self) -> Reply:
        """Return a reply that makes a new attempt at the same turn."""
        reply = Reply(None, since=self.since, caller=self.caller, work=self.work)
        reply.carry_on(self)
        return reply

    def report(self) -> Turn:
        """Return the report of its turn."""

        def after(at: float | None) -> float | None:
            return None if at is None else max(0.0, at - self.since)

        assert self.number is not None
        return Turn(
            number=self.number,
            caller=self.caller,
            agent=self.heard,
            interrupted=self.interrupted,
            error=self.error,
            failure=self.failure,
            end_of_turn=after(self.turn_ended_at),
            transcript=after(self.transcribed_at),
            first_token=after(self.first_token_at),
            audio_sent=after(self.audio_sent_at),
            audio_heard=after(self.playback.begins_at if self.playback is not None else None),
            usage=Usage(
                tokens_in=self.tokens_in,
                tokens_out=self.tokens_out,
                tokens_cached=self.tokens_cached,
                characters=self.characters,
                speech_seconds=self.speech_seconds,
            ),
            at=self.since,
            steps=tuple(step.report(self.since) for step in self.steps),
        )
