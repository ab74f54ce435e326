"""Tells which workers stand still."""

from __future__ import annotations

from mediaserver.server.workers.table import WorkerRow, WorkerState


class BlockedWorkers:
    """Tells which workers stand still, on the clock of their beats: monotonic nanoseconds.

    Args:
        seconds: How long the event loop of a worker may stand still; None for any time.
        now: The time.

    """

    def __init__(self, seconds: float | None, now: int) -> None:
        self.seconds = seconds
        self._ticked = now
        # The end of the last long pause of this process.
        self._awake_since = 0

    def tick(self, now: int) -> None:
        """Note that this process runs. Called often."""
        if self.seconds is not None and now - self._ticked > self.seconds * 5e8:
            # Everything stood still, as in a container that was paused: nobody is to blame.
            self._awake_since = now
        self._ticked = now

    def includes(self, row: WorkerRow) -> bool:
        """Tell whether a worker has stood still for too long at the last tick."""
        return (
            self.seconds is not None
            and row.state in (WorkerState.READY, WorkerState.DRAINING)
            and self._ticked - max(row.beat, self._awake_since) > self.seconds * 1e9
        )
