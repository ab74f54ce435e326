"""Messages that wait for a server that reads more slowly than the call produces them.

Plivo holds up to 40 seconds of audio, warns when 30, 60 and 90 % of that are used, and then drops
the stream (its best practices for audio streaming).
"""

from __future__ import annotations

from collections import deque

from mediaserver.sandbox.wire.messages import WireMessage


BACKLOG_SECONDS = 40.0
"""Seconds of audio that Plivo holds for a server."""

WARNING_PERCENT = (30, 60, 90)
"""Fill levels, in percent, at which Plivo sends a warning."""


class Backlog:
    """Messages that a server has not taken yet, in order, and how many seconds they cover.

    A call produces a second of messages each second, whatever its format and number of tracks.
    So the age of the oldest message is the length of the audio that waits.

    Args:
        limit: Seconds of audio that may wait.

    Raises:
        ValueError: The limit is not positive.

    """

    def __init__(self, limit: float = BACKLOG_SECONDS) -> None:
        if not limit > 0:
            raise ValueError(f"a backlog's limit must be above 0 seconds, not {limit!r}")
        self.limit = limit
        self._messages: deque[tuple[float, WireMessage]] = deque()
        # Number of warnings given since the backlog was last empty.
        self._warned = 0

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: WireMessage, now: float) -> None:
        """Add a message."""
        self._messages.append((now, message))

    def take(self) -> WireMessage:
        """Remove the oldest message and return it.

        Raises:
            IndexError: No message waits.

        """
        message = self._messages.popleft()[1]
        if not self._messages:
            self._warned = 0
        return message

    def seconds(self, now: float) -> float:
        """Return the seconds of audio that wait."""
        return now - self._messages[0][0] if self._messages else 0.0

    def full(self, now: float) -> bool:
        """Return whether the limit is reached."""
        return self.seconds(now) >= self.limit

    def warnings(self, now: float) -> tuple[int, ...]:
        """Return the percentages reached since the last look, each once until it is empty again."""
        percent = 100 * self.seconds(now) / self.limit
        # Times are sums of floats: 12 s of 40 are 30 %.
        reached = sum(percent >= level - 1e-6 for level in WARNING_PERCENT)
        due = WARNING_PERCENT[self._warned : reached]
        self._warned = max(self._warned, reached)
        return due
