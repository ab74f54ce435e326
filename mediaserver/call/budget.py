"""How much the carrier may send in one stream."""

from __future__ import annotations

from mediaserver.call.playout import Clock


class Budget:
    """Two token buckets, one of messages and one of bytes; both must last.

    A bucket holds what comes in `burst_seconds` at the full rate, so audio that was held up in the
    network may arrive all at once. The clock is read only when a bucket is empty.

    Args:
        clock: monotonic seconds.
        messages_per_second: messages that may come for any length of time.
        bytes_per_second: the same for bytes.
        burst_seconds: seconds of both that may come at once.

    """

    __slots__ = ("_burst_seconds", "_bytes", "_clock", "_filled", "_messages", "_rates")

    def __init__(
        self,
        clock: Clock,
        *,
        messages_per_second: float,
        bytes_per_second: float,
        burst_seconds: float,
    ) -> None:
        self._clock = clock
        self._rates = messages_per_second, bytes_per_second
        self._burst_seconds = burst_seconds
        self._messages = messages_per_second * burst_seconds
        self._bytes = bytes_per_second * burst_seconds
        self._filled = clock()

    def spend(self, messages: int, size: int) -> bool:
        """Take messages and their bytes out of the buckets, and tell whether they lasted."""
        self._messages -= messages
        self._bytes -= size
        return (self._messages >= 0 and self._bytes >= 0) or self._refill()

    @property
    def excess(self) -> str:
        """What there was too much of, for a close frame."""
        what, rate = ("messages", self._rates[0])
        if self._messages >= 0:
            what, rate = ("bytes", self._rates[1])
        return (
            f"too many {what}: more than {rate:.0f} a second and a burst of"
            f" {rate * self._burst_seconds:.0f}"
        )

    def _refill(self) -> bool:
        now = self._clock()
        burst = self._burst_seconds
        elapsed = min(now - self._filled, burst)
        self._filled = now
        messages, size = self._rates
        self._messages = min(self._messages + elapsed * messages, burst * messages)
        self._bytes = min(self._bytes + elapsed * size, burst * size)
        return self._messages >= 0 and self._bytes >= 0
