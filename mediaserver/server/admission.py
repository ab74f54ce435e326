"""The limit of concurrent calls: ``/answer`` reserves a place, and the stream takes it.

Refusing a WebSocket would leave a caller who is already connected in silence. So the decision is
made one step earlier, when the caller can still hear that all lines are busy. For the same reason a
call that was answered comes in whenever fewer calls than the limit are live, also before those that
were answered and have not come.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol

from mediaserver.server.reservations import Reservations


class Places(NamedTuple):
    """The places that calls take."""

    active: int
    """Calls that are connected."""
    reserved: int
    """Places kept for calls that were answered."""


class Counts(Protocol):
    """The places of all processes that share one limit."""

    active: int
    """Calls that are connected to this process."""
    reserved: int
    """Places that this process keeps for calls."""

    def others(self) -> Places:
        """Return the sum of the places that the other processes have."""

    def locked(self) -> AbstractContextManager[object]:
        """Let no other process take a place meanwhile."""


class OwnCounts:
    """The counts of a process that shares its limit with no other."""

    def __init__(self) -> None:
        self.active = 0
        self.reserved = 0

    def others(self) -> Places:
        """Return that there are none."""
        return _NONE

    def locked(self) -> AbstractContextManager[object]:
        """Do nothing."""
        return _UNLOCKED


_NONE = Places(0, 0)
_UNLOCKED: AbstractContextManager[object] = nullcontext()


class Slot:
    """The place of one call. Its holder gives it back with `release`."""

    __slots__ = ("_counts", "call_id")

    def __init__(self, counts: Counts, call_id: str | None) -> None:
        self._counts: Counts | None = counts
        self.call_id = call_id

    @property
    def is_held(self) -> bool:
        """Whether it has not been given back."""
        return self._counts is not None

    def release(self) -> None:
        """Give the place back. Further calls do nothing."""
        counts, self._counts = self._counts, None
        if counts is not None:
            counts.active -= 1


class Admission:
    """The places of one process, or of several that share one limit.

    Args:
        limit: Number of concurrent calls, in all processes.
        hold_seconds: Seconds after which the stream of an answered call is not expected any more.
            Its place is given back before, if streams usually come sooner (see `Reservations`).
        has_room: Tells whether this process can open one more connection.
        counts: The counts of all processes; by default, of this one alone.
        clock: Monotonic seconds.

    """

    def __init__(
        self,
        limit: int,
        *,
        hold_seconds: float = 30.0,
        has_room: Callable[[], bool] = lambda: True,
        counts: Counts | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if limit < 1:
            raise ValueError(f"limit must be at least 1 call, not {limit}")
        self.limit = limit
        self.closed = False
        """Whether only calls that were answered already are let in."""
        self._has_room = has_room
        self._counts = counts or OwnCounts()
        self._reservations = Reservations(hold_seconds, clock=clock)

    @property
    def active(self) -> int:
        """Number of calls that are connected to this process."""
        return self._counts.active

    @property
    def reserved(self) -> int:
        """Number of places that this process keeps for calls whose stream has not connected yet."""
        self.look()
        return self._counts.reserved

    @property
    def expected(self) -> int:
        """Number of streams that may still come to this process, with a place or without."""
        self.look()
        return self._reservations.expected

    @property
    def reserved_routes(self) -> dict[str, str]:
        """The routes of the calls that this process keeps a place for."""
        self.look()
        return self._reservations.routes

    def keeps(self, call_id: str) -> bool:
        """Tell whether this process keeps a place for a call."""
        self.look()
        return self._reservations.keeps(call_id)

    @property
    def hold_seconds(self) -> float:
        """For how long a place is kept for a call at present."""
        return self._reservations.seconds

    @property
    def free(self) -> int:
        """Number of places that no process has taken or reserved."""
        self.look()
        others = self._counts.others()
        taken = self._counts.active + self._counts.reserved + others.active + others.reserved
        return max(0, self.limit - taken)

    @property
    def idle(self) -> bool:
        """Whether no call of this process is connected or expected."""
        return self.active == 0 and self.expected == 0

    def look(self) -> None:
        """Give back the places of streams that are overdue, so that other processes have them."""
        self._reservations.look()
        self._note()

    def may_reserve(self, call_id: str) -> bool:
        """Tell whether `reserve` would find a place, as far as is known before it counts."""
        self._reservations.look()
        return self._reservations.keeps(call_id) or not (
            self.closed or self.free == 0 or not self._has_room()
        )

    def reserve(self, call_id: str, route: str = "") -> bool:
        """Reserve a place for a call, and tell whether one was free.

        Reserving again for the same call, as when Plivo retries a webhook, extends the reservation
        and takes no second place.

        Args:
            call_id: The call.
            route: What tells the route of the call from others.

        """
        with self._counts.locked():
            if not self.may_reserve(call_id):
                return False
            self._reservations.keep(call_id, route)
            self._note()
            return True

    def cancel(self, call_id: str) -> None:
        """Release the reservation of a call that will not connect."""
        self._reservations.discard(call_id)
        self._note()

    def admit(self, call_id: str | None = None, *, needed: float | None = None) -> Slot | None:
        """Let a stream in; return None if no place is free.

        Args:
            call_id: The call, if a token proves that this server, in any of its processes, has
                answered it. It is let in even when `closed`, and while fewer calls than `limit` are
                connected, whatever is reserved.
            needed: Seconds since it was answered; None if that is not known, or if this is not its
                first stream.

        """
        with self._counts.locked():
            if call_id is None:
                return None if self.closed or self.free == 0 else self._take(None)
            if self.active + self._counts.others().active >= self.limit:
                return None
            was_expected = self._reservations.discard(call_id)
            if needed is not None:
                self._reservations.came(needed)
                if not was_expected:
                    self._reservations.discard_oldest()
            self._note()
            return self._take(call_id)

    def readmit(self, call_id: str | None = None) -> Slot:
        """Let in a stream although no place is free: it may continue a lost one, which has a place.

        Its holder gives this second place back as soon as that is known.
        """
        return self._take(call_id)

    def close(self) -> None:
        """Take no new calls, except those that were answered."""
        self.closed = True

    def open(self) -> None:
        """Take new calls again."""
        self.closed = False

    def _take(self, call_id: str | None) -> Slot:
        self._counts.active += 1
        return Slot(self._counts, call_id)

    def _note(self) -> None:
        """Let the other processes see how many places are kept here."""
        self._counts.reserved = len(self._reservations)
