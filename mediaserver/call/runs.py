"""Runs: stretches of audio that the carrier plays without a break."""

from __future__ import annotations


_REMEMBERED = 32
"""Number of run starts kept for late `Runs.played_at` queries."""


class Runs:
    """When the carrier plays which position of the stream.

    A run begins when audio reaches a carrier that has nothing left to play. From then on each
    position has its time, until the carrier runs dry or is stopped. Positions are bytes since the
    start of the stream; times are the caller's monotonic seconds and leave out every delay between
    here and the caller's ear.

    Args:
        bytes_per_second: of the stream's format.

    """

    __slots__ = ("_begun", "_bps", "first", "flowing", "position", "start")

    def __init__(self, bytes_per_second: int) -> None:
        self._bps = bytes_per_second
        self.start = 0.0
        """When the latest run began."""
        self.position = 0
        """Where the latest run began, or was stopped."""
        self.first: float | None = None
        """When the first run began; None before that."""
        self.flowing = False
        """Whether the carrier plays: running dry is a gap in the audio then, and not its end."""
        self._begun: list[tuple[int, float]] = []

    def begin(self, position: int, now: float) -> float | None:
        """Begin a run at `position`.

        Returns:
            When the run before it ran dry; None if it was stopped, or this is the first one.

        """
        if self.first is None:
            self.first = now
        ran_dry = self.time_of(position) if self.flowing else None
        self.flowing = True
        self.start, self.position = now, position
        self._begun.append((position, now))
        if len(self._begun) > _REMEMBERED:
            del self._begun[0]
        return ran_dry

    def stop(self, position: int) -> None:
        """End the run: the carrier has nothing left to play, and stands at `position`."""
        self.flowing = False
        self.position = position

    def unplayed(self, sent: int, now: float) -> int:
        """Return how many of `sent` bytes the carrier has yet to play."""
        unplayed = sent - self.position - int((now - self.start) * self._bps)
        return unplayed if unplayed > 0 else 0

    def reached(self, now: float) -> int:
        """Return the position that is being played, if the carrier has not run dry before it."""
        return self.position + int(max(0.0, now - self.start) * self._bps)

    def reached_at(self, time: float) -> int:
        """Return the position that was being played at a time in the past, in whichever run."""
        later: int | None = None
        for position, begun in reversed(self._begun):
            if begun <= time:
                reached = position + int((time - begun) * self._bps)
                return reached if later is None else min(reached, later)
            later = position
        return later or 0

    def time_of(self, position: int) -> float:
        """Return when the latest run plays `position`: its start for what was played before."""
        return self.start + max(0, position - self.position) / self._bps

    def played_at(self, position: int) -> float | None:
        """Return when `position` was or will be played, in whichever run; None if forgotten."""
        for begun, time in reversed(self._begun):
            if begun <= position:
                return time + (position - begun) / self._bps
        return None
