"""The places that ``/answer`` keeps for calls until their streams come, and for how long.

Nobody tells a process that a stream went to another one: behind a proxy that does not know calls, a
reservation here may wait for a stream that is served there. So a place is kept only a little longer
than streams have needed lately, and a stream whose place was kept elsewhere gives back the oldest
one here: as many went there as come from there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final


_MARGIN: Final = 3.0
"""A place is kept for this many times the longest time that a stream has needed lately."""
_SHORTEST: Final = 1.0
"""But at least for this many seconds."""
_UNKNOWN: Final = 2.0
"""Seconds for which a place is kept until the first stream comes."""
_RECENT: Final = 60.0
"""Seconds after which an earlier time counts as no longer recent, once streams have come since."""


class Reservations:
    """The calls of one process that were answered and whose streams have not come.

    Each keeps a place at first. Later it keeps none, and its stream may still come.

    Args:
        longest: Seconds after which no stream is expected any more, and the longest time for which
            a place is kept.
        clock: Monotonic seconds.

    """

    def __init__(self, longest: float, *, clock: Callable[[], float]) -> None:
        self._longest = longest
        self._clock = clock
        # By call, when it was answered and to which route it goes, the oldest first.
        self._kept: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._late: OrderedDict[str, tuple[float, str]] = OrderedDict()
        # The longest times that streams needed, in this period and in the one before it.
        self._needed = self._needed_before = 0.0
        self._began = clock()
        self._known = False

    def __len__(self) -> int:
        """Return the number of places that are kept."""
        return len(self._kept)

    @property
    def expected(self) -> int:
        """Number of streams that may still come."""
        return len(self._kept) + len(self._late)

    @property
    def routes(self) -> dict[str, str]:
        """The routes of the calls for which a place is kept."""
        return {call_id: route for call_id, (_, route) in self._kept.items()}

    @property
    def seconds(self) -> float:
        """For how long a place is kept."""
        needed = max(self._needed, self._needed_before)
        seconds = max(_SHORTEST, _MARGIN * needed) if self._known else _UNKNOWN
        return min(seconds, self._longest)

    def look(self) -> None:
        """Give back the places of streams that are overdue."""
        now = self._clock()
        _move(self._kept, self._late, now - self.seconds)
        _move(self._late, None, now - self._longest)

    def keep(self, call_id: str, route: str = "") -> None:
        """Keep a place for a call from now on.

        Args:
            call_id: The call.
            route: The route that its stream goes to.

        """
        self._late.pop(call_id, None)
        self._kept[call_id] = self._clock(), route
        self._kept.move_to_end(call_id)

    def keeps(self, call_id: str) -> bool:
        """Tell whether a place is kept for a call."""
        return call_id in self._kept

    def discard(self, call_id: str) -> bool:
        """Expect the stream of a call no longer, and tell whether it was expected."""
        kept, late = self._kept.pop(call_id, None), self._late.pop(call_id, None)
        return kept is not None or late is not None

    def discard_oldest(self) -> None:
        """Expect the stream no longer that has been expected longest of those that keep a place."""
        oldest = self._kept or self._late
        if oldest:
            oldest.popitem(last=False)

    def came(self, needed: float) -> None:
        """Learn from a stream that came.

        Args:
            needed: Seconds since its call was answered.

        """
        # What took longer was opened again, or was timed by another clock.
        if not 0 <= needed <= self._longest:
            return
        now = self._clock()
        if now - self._began >= _RECENT:
            self._needed_before, self._needed, self._began = self._needed, 0.0, now
        self._needed = max(self._needed, needed)
        self._known = True


def _move(
    waiting: OrderedDict[str, tuple[float, str]],
    to: OrderedDict[str, tuple[float, str]] | None,
    before: float,
) -> None:
    """Move the calls that were answered before a time."""
    while waiting:
        call_id, kept = next(iter(waiting.items()))
        if kept[0] > before:
            return
        del waiting[call_id]
        if to is not None:
            to[call_id] = kept
