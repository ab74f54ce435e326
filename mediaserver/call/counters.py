"""What one call counts. Plain numbers, read by telemetry when someone asks."""

from __future__ import annotations


class StreamCounters:
    """Counts of one stream, or the sum of several."""

    __slots__ = (
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
    """Frames that never came, by the gaps in ``chunk``."""
    frames_out_of_order: int
    messages_in: int
    messages_out: int
    bytes_in: int
    bytes_out: int
    malformed_messages: int
    unknown_messages: int
    interrupts: int
    keys_in: int
    """Keys the caller pressed."""
    checkpoints_sent: int
    checkpoints_confirmed: int
    underruns: int
    """Times that audio was queued here and yet missed its playout at the phone."""
    underrun_seconds: float
    producer_gaps: int
    """Times that the phone ran dry because nothing had been queued."""
    producer_gap_seconds: float

    def __init__(self) -> None:
        for name in StreamCounters.__slots__:
            setattr(self, name, 0)

    def add(self, other: StreamCounters) -> None:
        """Add the counts of `other` to these."""
        for name in StreamCounters.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def as_dict(self) -> dict[str, float]:
        """Return every count by its name."""
        return {name: getattr(self, name) for name in StreamCounters.__slots__}
