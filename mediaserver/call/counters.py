"""Counters of one call: plain numbers, which telemetry reads on demand."""

from __future__ import annotations

from mediaserver.call.turn import TurnCounters


class StreamCounters:
    """Counts of one stream, or the sum of several."""

    __slots__ = (
        "_turns",
        "audio_dropped",
        "audio_in",
        "audio_out",
        "bytes_in",
        "bytes_out",
        "checkpoints_confirmed",
        "checkpoints_sent",
        "frames_dropped",
        "frames_in",
        "frames_lost",
        "frames_out_of_order",
        "interrupts",
        "keys_in",
        "malformed_messages",
        "messages_in",
        "messages_out",
        "over_budget",
        "producer_gap_seconds",
        "producer_gaps",
        "underrun_seconds",
        "underruns",
        "unknown_messages",
    )

    audio_in: float
    """Seconds of audio received."""
    audio_out: float
    """Seconds of audio sent."""
    audio_dropped: float
    """Seconds of received audio dropped because the handler did not read it in time."""
    frames_in: int
    frames_dropped: int
    frames_lost: int
    """Frames that were never received, by the gaps in ``chunk``."""
    frames_out_of_order: int
    messages_in: int
    messages_out: int
    bytes_in: int
    bytes_out: int
    malformed_messages: int
    unknown_messages: int
    over_budget: int
    """1 if the stream was ended because more came than its budget allows."""
    interrupts: int
    keys_in: int
    """Keys that the caller pressed."""
    checkpoints_sent: int
    checkpoints_confirmed: int
    underruns: int
    """Times that the phone ran dry although audio was queued here."""
    underrun_seconds: float
    producer_gaps: int
    """Times that the phone ran dry because no audio had been queued."""
    producer_gap_seconds: float

    def __init__(self) -> None:
        for name in _COUNTS:
            setattr(self, name, 0)
        # Created by the first turn: most calls have no agent.
        self._turns: TurnCounters | None = None

    @property
    def turns(self) -> TurnCounters:
        """Counters of the conversation that an agent has."""
        if self._turns is None:
            self._turns = TurnCounters()
        return self._turns

    def add(self, other: StreamCounters) -> None:
        """Add the counts of `other` to these."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        if other._turns is not None:
            self.turns.add(other._turns)

    def as_dict(self) -> dict[str, float]:
        """Return every count by its name, except those of `turns`."""
        return {name: getattr(self, name) for name in _COUNTS}


_COUNTS = tuple(name for name in StreamCounters.__slots__ if name != "_turns")
