"""Turns of a conversation, as an agent reports them: what was said, how long it took, its cost."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import astuple, dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What services charge for, in one turn."""

    tokens_in: int = 0
    """Tokens that a model read, those from its cache included."""
    tokens_out: int = 0
    """Tokens that it wrote."""
    tokens_cached: int = 0
    """Of those read, how many came from its cache."""
    characters: int = 0
    """Characters synthesised."""
    speech_seconds: float = 0.0
    """Seconds of speech transcribed."""

    def __add__(self, other: Usage) -> Usage:
        sums = map(sum, zip(astuple(self), astuple(other), strict=True))
        return Usage(**dict(zip(_UNITS, sums, strict=True)))


_UNITS = tuple(field.name for field in fields(Usage))
"""What usage is counted in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn: the caller said something, and the agent answered.

    Times are in seconds after the caller's last speech, on the call's clock (`Stream.clock`); None
    is what did not happen. An agent's greeting is turn 0 and follows no speech: its `audio_sent`
    and `audio_heard` count from the start of the stream, and it has no other times.
    """

    number: int
    """1, 2, 3… within the call; 0 is the greeting."""
    caller: str = ""
    """What the caller said, as it was transcribed."""
    agent: str = ""
    """What the caller heard of the answer."""
    interrupted: bool = False
    """Whether the caller did not hear it to its end."""
    error: str | None = None
    """What went wrong, if something did."""
    end_of_turn: float | None = None
    """Until it was decided that the caller had finished."""
    transcript: float | None = None
    """Until the final transcript was there."""
    first_token: float | None = None
    """Until the model began to answer."""
    audio_sent: float | None = None
    """Until the first audio of the answer was sent."""
    audio_heard: float | None = None
    """Until the caller heard it."""
    usage: Usage = Usage()


STAGES = ("end_of_turn", "transcript", "first_token", "audio_sent", "audio_heard")
"""The times of a `Turn`, in the order in which they come."""

_GREETING = "greeting"
"""The stage in which `audio_heard` of a greeting is counted: it follows no speech."""

BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 5.0, 10.0)
"""Upper bounds, in seconds, of what a stage's times are counted in; one more has no bound."""


class Times:
    """How often something took how long: counts by bucket, and the sum."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        """How many were in each of `BUCKETS`, and above the last of them; not cumulative."""
        self.sum = 0.0
        """Seconds, in all."""

    def count(self, seconds: float) -> None:
        """Count one. What is said to have been there before it could counts as 0."""
        seconds = max(0.0, seconds)
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum += seconds

    def add(self, other: Times) -> None:
        """Add the counts of `other` to these."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum


class TurnCounters:
    """What is counted of conversations: of one call, or the sum of several."""

    __slots__ = ("barge_ins", "failures", "interrupted", "stages", "turns", "usage")

    def __init__(self) -> None:
        self.turns = 0
        """Turns reported, greetings included."""
        self.interrupted = 0
        """Those of them that the caller did not hear to their end."""
        self.barge_ins = {"confirmed": 0, "false": 0}
        """Times that a caller seemed to interrupt: who did, and what was noise or a nod."""
        self.failures: Counter[str] = Counter()
        """Failures of services, by the service's name."""
        self.usage: dict[str, float] = dict.fromkeys(_UNITS, 0)
        """Sums of `Usage`, by unit."""
        self.stages = {stage: Times() for stage in (*STAGES, _GREETING)}
        """How long each stage took."""

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
        """Count that a caller seemed to interrupt, and whether it turned out that they did."""
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
