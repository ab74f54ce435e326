"""The limit of concurrent calls: ``/answer`` reserves a place, and the stream takes it.

Refusing a WebSocket would leave a caller who is already connected in silence. So the decision is
made one step earlier, when the caller can still hear that all lines are busy.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from cachetools import TTLCache


class Slot:
    """The place of one call. Its holder gives it back with `release`."""

    __slots__ = ("_admission", "call_id")

    def __init__(self, admission: Admission, call_id: str | None) -> None:
        self._admission: Admission | None = admission
        self.call_id = call_id

    def release(self) -> None:
        """Give the place back. Further calls do nothing."""
        admission, self._admission = self._admission, None
        if admission is not None:
            admission.active -= 1


class Admission:
    """The places of one process.

    Several processes could share one limit by implementing the same four methods, `reserve`,
    `cancel`, `admit` and `close`, on a shared count.

    Args:
        limit: Number of concurrent calls.
        hold_seconds: Seconds that a reserved place waits for its stream.
        has_room: Tells whether the process can open one more connection.
        clock: Monotonic seconds.

    """

    def __init__(
        self,
        limit: int,
        *,
        hold_seconds: float = 30.0,
        has_room: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if limit < 1:
            raise ValueError(f"limit must be at least 1 call, not {limit}")
        self.limit = limit
        self.active = 0
        """Number of connected calls."""
        self.closed = False
        """Whether only calls that were answered already are let in."""
        self._has_room = has_room
        self._reservations: TTLCache[str, bool] = TTLCache(math.inf, hold_seconds, timer=clock)

    @property
    def reserved(self) -> int:
        """Number of calls that were answered and whose stream has not connected yet."""
        return len(self._reservations)

    @property
    def free(self) -> int:
        """Number of places that are neither taken nor reserved."""
        return max(0, self.limit - self.active - self.reserved)

    @property
    def idle(self) -> bool:
        """Whether no call is connected or expected."""
        return self.active == 0 and self.reserved == 0

    def reserve(self, call_id: str) -> bool:
        """Reserve a place for a call, and tell whether one was free.

        Reserving again for the same call, as when Plivo retries a webhook, extends the reservation
        and takes no second place.
        """
        held = call_id in self._reservations
        if not held and (self.closed or self.free == 0 or not self._has_room()):
            return False
        self._reservations[call_id] = True
        return True

    def cancel(self, call_id: str) -> None:
        """Release the reservation of a call that will not connect."""
        self._reservations.pop(call_id, None)

    def admit(self, call_id: str | None = None, *, answered: bool = False) -> Slot | None:
        """Let a stream in; return None if no place is free.

        Args:
            call_id: The stream's call, if known; its reservation becomes the place.
            answered: Whether this server, in any of its processes, has answered the call. Then it
                is let in even when `closed`, if a place is free.

        """
        held = call_id is not None and self._reservations.pop(call_id, False)
        if not held and ((self.closed and not answered) or self.free == 0):
            return None
        self.active += 1
        return Slot(self, call_id)

    def readmit(self, call_id: str | None = None) -> Slot:
        """Let in a stream although no place is free: it may continue a lost one, which has a place.

        Its holder gives this second place back as soon as that is known.
        """
        self.active += 1
        return Slot(self, call_id)

    def close(self) -> None:
        """Take no new calls, except those with a reservation."""
        self.closed = True
