"""How many calls at once: places are reserved at ``/answer`` and taken when the stream connects.

A refused WebSocket reaches a caller who is already connected, so the decision is made one step
earlier, where a caller can still be told that all lines are busy.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from cachetools import TTLCache


class Slot:
    """One call's place. Whoever holds it gives it back with `release`."""

    __slots__ = ("_admission", "call_id")

    def __init__(self, admission: Admission, call_id: str | None) -> None:
        self._admission: Admission | None = admission
        self.call_id = call_id

    def release(self) -> None:
        """Give the place back. A second time does nothing."""
        admission, self._admission = self._admission, None
        if admission is not None:
            admission.active -= 1


class Admission:
    """The places of one process.

    Several processes that share one limit would put the same four verbs, `reserve`, `cancel`,
    `admit` and `close`, in front of a shared count.

    Args:
        limit: Calls at once.
        hold_seconds: How long a reserved place waits for its stream.
        clock: Monotonic seconds.

    """

    def __init__(
        self,
        limit: int,
        *,
        hold_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if limit < 1:
            raise ValueError(f"limit must be at least 1 call, not {limit}")
        self.limit = limit
        self.active = 0
        """Calls that are connected."""
        self.closed = False
        """Whether no call that has not been answered yet is taken any more."""
        self._reservations: TTLCache[str, bool] = TTLCache(math.inf, hold_seconds, timer=clock)

    @property
    def reserved(self) -> int:
        """Calls that have been answered and whose stream has not connected."""
        return len(self._reservations)

    @property
    def free(self) -> int:
        """Places that nobody has or waits for."""
        return max(0, self.limit - self.active - self.reserved)

    @property
    def idle(self) -> bool:
        """Whether there is no call and none on its way."""
        return self.active == 0 and self.reserved == 0

    def reserve(self, call_id: str) -> bool:
        """Keep a place for a call, and tell whether there was one.

        Asking again for the same call, as Plivo does when it retries a webhook, keeps the place
        for longer and takes no second one.
        """
        held = call_id in self._reservations
        if not held and (self.closed or self.free == 0):
            return False
        self._reservations[call_id] = True
        return True

    def cancel(self, call_id: str) -> None:
        """Give up the place of a call that will not connect."""
        self._reservations.pop(call_id, None)

    def admit(self, call_id: str | None = None, *, answered: bool = False) -> Slot | None:
        """Let a stream in, or return None when there is no place.

        Args:
            call_id: The call it belongs to, where known; its reservation becomes the place.
            answered: The call was answered by this server, or another of its processes, so it is
                let in though `closed`, as long as there is a place.

        """
        held = call_id is not None and self._reservations.pop(call_id, False)
        if not held and ((self.closed and not answered) or self.free == 0):
            return None
        self.active += 1
        return Slot(self, call_id)

    def close(self) -> None:
        """Take no new calls. Those with a reservation are still let in."""
        self.closed = True
