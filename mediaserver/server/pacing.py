"""One shared timer that keeps the playback of every call going."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Ticked(Protocol):
    """Something that needs ticks, such as a `Playout`."""

    def tick(self) -> bool:
        """Do the work that is due, and tell whether another tick is needed."""


class Pacer:
    """Ticks every call that has audio to send once a period, a few calls at a time.

    Calls are spread over phases of the period, so that they do not all send at once. The timer
    passes over phases without a call, and does not run while no call needs ticks.

    Args:
        loop: the event loop.
        period: seconds between two ticks of one call.
        phases: number of groups over which calls are spread.

    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, period: float = 0.1, phases: int = 10
    ) -> None:
        self._loop = loop
        self._step = period / phases
        self._groups: list[set[Ticked]] = [set() for _ in range(phases)]
        self._members: dict[Ticked, set[Ticked]] = {}
        self._phase = 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._members)

    def add(self, ticked: Ticked) -> None:
        """Tick `ticked` from now on, until its `tick` returns False."""
        if ticked in self._members:
            return
        index = min(range(len(self._groups)), key=lambda each: len(self._groups[each]))
        group = self._groups[index]
        group.add(ticked)
        self._members[ticked] = group
        now = self._loop.time()
        if self._timer is None:
            ahead = (index - self._phase) % len(self._groups)
            self._wait(index, now + self._step * (1 + ahead))
            return
        # The timer may have passed over this phase, which is yet to come.
        due = self._due - (self._phase - index) % len(self._groups) * self._step
        if now < due < self._due:
            self._timer.cancel()
            self._wait(index, due)

    def discard(self, ticked: Ticked) -> None:
        """Stop ticking `ticked`."""
        group = self._members.pop(ticked, None)
        if group is not None:
            group.discard(ticked)

    def stop(self) -> None:
        """Stop all ticks."""
        self._members.clear()
        for group in self._groups:
            group.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        # After a stall every missed phase is due, but each only once.
        late = int((self._loop.time() - self._due) / self._step)
        count, phase = len(self._groups), self._phase
        for step in range(min(late + 1, count)):
            group = self._groups[(phase + step) % count]
            for ticked in tuple(group):
                # One tick may end another's call.
                if ticked in group and not self._wants_more(ticked):
                    self.discard(ticked)
        ahead = late + 1
        if not self._members:
            self._timer, self._phase = None, (phase + ahead) % count
            return
        while not self._groups[(phase + ahead) % count]:
            ahead += 1
        self._wait((phase + ahead) % count, self._due + self._step * ahead)

    def _wait(self, phase: int, due: float) -> None:
        self._phase, self._due = phase, due
        self._timer = self._loop.call_at(due, self._tick)

    def _wants_more(self, ticked: Ticked) -> bool:
        """Tick, and tell whether to continue. A failure in one call does not affect the others."""
        try:
            return ticked.tick()
        except Exception as error:
            context = {"message": f"no more ticks for {ticked!r}", "exception": error}
            self._loop.call_exception_handler(context)
            return False
