"""Turns of a conversation, as agents report them: words, times and usage."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import astuple, dataclass, field, fields
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Use of paid services in one turn."""

    tokens_in: int = 0
    """Tokens that a model read, including cached ones."""
    tokens_out: int = 0
    """Tokens that it wrote."""
    tokens_cached: int = 0
    """Tokens read from the model's cache."""
    characters: int = 0
    """Characters synthesised."""
    speech_seconds: float = 0.0
    """Seconds of speech transcribed."""

    def __add__(self, other: Usage) -> Usage:
        sums = map(sum, zip(astuple(self), astuple(other), strict=True))
        return Usage(**dict(zip(_UNITS, sums, strict=True)))


_UNITS = tuple(field.name for field in fields(Usage))
"""The units of `Usage`."""


StepKind: TypeAlias = Literal["transcription", "model", "tool", "synthesis"]
"""What a step of a turn is: a request to a service, or the use of a tool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnStep:
    """Something that was done for a turn. Times are in seconds after `Turn.at`."""

    kind: StepKind
    name: str
    """The name of the tool, or of the class of the service."""
    model: str = ""
    """The model that was asked, if the service says it."""
    provider: str = ""
    """Who runs the service, if the service says it, such as ``openai``."""
    began: float
    """When it began; below 0 while the caller was still speaking."""
    first: float | None = None
    """When the first piece of its answer came."""
    ended: float | None = None
    """When it was over; None if it went on when the turn was reported."""
    usage: Usage = Usage()
    """What it cost."""
    error: str | None = None
    """How it failed."""
    failure: str = ""
    """The same without a provider's words, such as ``model: HTTP 429``; empty for tools."""
    arguments: str = ""
    """What a tool was asked, as JSON."""
    result: str = ""
    """What a tool returned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn: the caller said something, and the agent answered.

    Times are seconds after the end of the caller's speech, on the call's clock (`Stream.clock`);
    None if it did not happen. An agent's greeting is turn 0 and follows no speech: its `audio_sent`
    and `audio_heard` count from the start of the stream, and it has no other times.
    """

    number: int
    """1, 2, 3… within the call; 0 for the greeting."""
    caller: str = ""
    """Transcript of what the caller said."""
    agent: str = ""
    """The part of the reply that the caller heard."""
    interrupted: bool = False
    """Whether the caller interrupted the reply before its end."""
    error: str | None = None
    """What failed; None if nothing did."""
    failure: str = field(default="", compare=False)
    """The same without a provider's words, such as ``model: HTTP 429``: these are recorded only
    where what is said is recorded."""
    end_of_turn: float | None = None
    """When the end of the caller's turn was detected."""
    transcript: float | None = None
    """When the final transcript was ready."""
    first_token: float | None = None
    """When the model produced its first token."""
    audio_sent: float | None = None
    """When the first audio of the reply was sent."""
    audio_heard: float | None = None
    """When the caller heard it."""
    usage: Usage = Usage()
    at: float = field(default=0.0, compare=False)
    """The time from which its times count, on the call's clock."""
    steps: tuple[TurnStep, ...] = field(default=(), compare=False, repr=False)
    """What was done for it, in the order in which it began."""


STAGES = ("end_of_turn", "transcript", "first_token", "audio_sent", "audio_heard")
"""The times of a `Turn`, in their order."""

_GREETING = "greeting"
"""The stage for `audio_heard` of a greeting, which follows no speech."""

BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 5.0, 10.0)
"""Upper bounds of the histograms of stages, in seconds; one more bucket has no bound."""


class Times:
    """A histogram of durations, with their sum."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        """Count for each of `BUCKETS`, and for the one without a bound; not cumulative."""
        self.sum = 0.0
        """Sum in seconds."""

    def count(self, seconds: float) -> None:
        """Count one duration; a negative one counts as 0."""
        seconds = max(0.0, seconds)
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum += seconds

    def add(self, other: Times) -> None:
        """Add the counts of `other` to these."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum


class TurnCounters:
    """Counters of conversations: of one call, or the sum of several."""

    __slots__ = ("barge_ins", "failures", "interrupted", "stages", "turns", "usage")

    def __init__(self) -> None:
        self.turns = 0
        """Turns reported, greetings included."""
        self.interrupted = 0
        """Turns that the caller interrupted."""
        self.barge_ins = {"confirmed": 0, "false": 0}
        """Apparent interruptions: confirmed ones, and false ones such as noise or a backchannel."""
        self.failures: Counter[str] = Counter()
        """Failures of services, by the service's name."""
        self.usage: dict[str, float] = dict.fromkeys(_UNITS, 0)
        """Sums of `Usage`, by unit."""
        self.stages = {stage: Times() for stage in (*STAGES, _GREETING)}
        """Durations of each stage."""

    def count(self, turn: Turn) -> None:
        """Count a turn."""
        self.turns += 1
        self.interrupted += turn.interrupted
        for unit in _UNITS:
            self.usage[unit] += getattr(turn.usage, unit)
        times = {stage: getattr(turn, stage) for stage in STAGES}
        if turn.number == 0:
            times = {_GREETING: turn.audio_heard}
        for stage, seconds in times.items():
            if seconds is not None:
                self.stages[stage].count(seconds)

    def count_barge_in(self, confirmed: bool) -> None:
        """Count an apparent interruption, and whether it was confirmed as one."""
        self.barge_ins["confirmed" if confirmed else "false"] += 1

    def add(self, other: TurnCounters) -> None:
        """Add the counts of `other` to these."""
        self.turns += other.turns
        self.interrupted += other.interrupted
        for outcome, count in other.barge_ins.items():
            self.barge_ins[outcome] += count
        self.failures.update(other.failures)
        for unit, amount in other.usage.items():
            self.usage[unit] += amount
        for stage, times in other.stages.items():
            self.stages[stage].add(times)
