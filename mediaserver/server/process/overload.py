"""Whether more comes than the process can take, by how long it waits.

The lag of the event loop does not tell: a loop that takes a few connections in each turn is never
late, while the others wait in the kernel. So what waits there is looked at, and how long requests
for new calls have waited. One stall makes a few requests wait, and is over. Only if the request
that waited least has waited too long, again and again, there is more to do than time.

Then requests that waited are turned away, so that those that come next wait less, and as many calls
as the process can take still begin.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final, Protocol

import structlog


log = structlog.get_logger(__name__)

TICK: Final = 0.1
"""Seconds between two ticks."""

LONG_WAIT: Final = 0.1
"""Seconds for which no request should have to wait to be read."""
MANY: Final = 128
"""Connections that should never wait to be accepted: several turns of the loop take in fewer."""
LATE: Final = 0.2
"""Seconds by which a tick should never come late."""
CALM: Final = 0.2
"""While the process is overloaded, a request that waited longer than this part of a long wait is
turned away."""

TICKS_TO_BEGIN: Final = 5
"""Ticks in a row with one of the signs, after which the process is overloaded. What a stall of a
few tenths of a second leaves to do is done sooner."""
TICKS_TO_END: Final = 10
"""Ticks with none of them, and in which nothing was turned away, after which it is not."""
_SETBACK: Final = 5
"""Ticks that do not count because of one that speaks against them. A stall once a second must
neither begin an overload nor prolong it for ever."""


class OverloadFigures(Protocol):
    """The figures of the overload, such as a server's counters."""

    overloaded: bool
    backlog: int


class Overload:
    """Tells which new calls are turned away, so that live calls do not suffer.

    Args:
        figures: Shows whether the process is overloaded, and what waits.
        clock: Monotonic seconds.

    """

    def __init__(
        self, figures: OverloadFigures, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._figures = figures
        self._clock = clock
        self._ticked = clock()
        # The shortest wait of a request since the last tick.
        self._shortest = math.inf
        # Whether everything is turned away, however short it waited.
        self._crowded = False
        # Ticks that speak for the other state.
        self._ticks = 0
        # When the overload began; how many requests were turned away in it, and at the last tick.
        self._began = 0.0
        self._turned_away = self._turned_away_before = 0

    def turns_away(self, waited: float) -> bool:
        """Tell whether a new call is turned away.

        Args:
            waited: Seconds for which its request has waited to be read.

        """
        self._shortest = min(self._shortest, waited)
        if not self._figures.overloaded or not (self._crowded or waited > CALM * LONG_WAIT):
            return False
        self._turned_away += 1
        return True

    def tick(self, backlog: int) -> None:
        """Look at what waits; call every `TICK` seconds.

        Args:
            backlog: Number of connections that wait to be accepted.

        """
        figures, now = self._figures, self._clock()
        late, self._ticked = now - self._ticked - TICK, now
        waited, self._shortest = self._shortest, math.inf
        waited = 0.0 if waited == math.inf else waited
        figures.backlog = backlog
        self._crowded = backlog >= MANY or late > LATE
        goes_on = (
            self._crowded or waited >= LONG_WAIT or self._turned_away > self._turned_away_before
        )
        self._turned_away_before = self._turned_away
        changes = goes_on is not figures.overloaded
        self._ticks = self._ticks + 1 if changes else max(0, self._ticks - _SETBACK)
        if self._ticks < (TICKS_TO_END if figures.overloaded else TICKS_TO_BEGIN):
            return
        self._ticks = 0
        figures.overloaded = not figures.overloaded
        if figures.overloaded:
            self._began = now
            self._turned_away = self._turned_away_before = 0
            log.warning(
                "overloaded: new calls are turned away",
                backlog=backlog,
                waited_seconds=round(waited, 3),
                late_seconds=round(max(0.0, late), 3),
                hint="callers hear the busy message; add workers, or machines",
            )
        else:
            log.info(
                "no longer overloaded",
                seconds=round(now - self._began, 1),
                turned_away=self._turned_away,
            )
