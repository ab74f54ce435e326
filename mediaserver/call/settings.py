"""Settings of one call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from audiocodecs import MULAW_8K, AudioFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSettings:
    """The limits and margins of one call. Durations are seconds."""

    default_format: AudioFormat = MULAW_8K
    """The stream's format when ``start`` does not name one."""

    lead: float = 0.6
    """How far ahead of the caller's ear audio is sent. It bridges stalls; ``clearAudio`` takes it
    back, so it does not delay an interruption."""

    queue_high: float = 2.0
    """``play`` waits while this much audio has been queued and not sent."""

    queue_low: float = 1.0
    """A waiting ``play`` goes on below this."""

    message_length: float = 0.06
    """Length of the messages that keep the lead full. Longer ones cost less CPU, but let the lead
    shrink further before the next is sent."""

    gap_limit: float = 0.5
    """A longer silence between two pieces of audio counts as intended, not as a producer gap."""

    checkpoint_interval: float = 1.0
    """``heard()`` sends at most one checkpoint per interval: each may cause a status callback."""

    heard_margin: float = 1.0
    """How long to wait for a checkpoint's ``playedStream`` after its estimated time."""

    plays_on_when_lost: bool | None = None
    """Whether the carrier plays on what it holds when the connection is lost, or drops it. None
    finds out while some of it would be left, and else takes it as dropped."""

    inbox_length: float = 1.0
    """How much received audio may wait for the handler."""

    inbox_overflow: Literal["drop", "pause"] = "drop"
    """Beyond that, ``drop`` the oldest audio, or ``pause`` reading the socket."""

    max_message_size: int = 65_536
    """Longest accepted message in bytes (Plivo's limit is 64 KB)."""

    max_malformed: int = 100
    """The connection is closed after more malformed messages than this."""

    max_control_events: int = 1_000
    """The connection is closed if its handler leaves more control events than this unread."""

    messages_per_second: float = 300.0
    """How much the carrier may send: two tracks bring 100 messages a second. Every WebSocket frame
    counts, including pings and fragments, and so does every piece of one that is read on its own.
    The connection is closed if more comes."""

    bytes_per_second: float = 300_000.0
    """The same in bytes: two tracks in the largest format bring 150,000 a second."""

    burst_seconds: float = 30.0
    """Seconds of both that may come at once, as after a network has stalled."""

    def __post_init__(self) -> None:
        if self.queue_low > self.queue_high:
            raise ValueError(
                f"queue_low ({self.queue_low} s) must not be above queue_high ({self.queue_high} s)"
            )
        for name in (
            "message_length",
            "queue_high",
            "inbox_length",
            "messages_per_second",
            "bytes_per_second",
            "burst_seconds",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be more than 0, not {getattr(self, name)}")
        if self.lead < 0.02:
            raise ValueError(f"lead must be at least 0.02 s, which is one frame, not {self.lead}")
