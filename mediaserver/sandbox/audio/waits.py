"""Waiting for something in a call, with a limit in the call's own time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mediaserver.sandbox.audio.keys import Stretch
from mediaserver.sandbox.audio.playback import TOLERANCE
from mediaserver.sandbox.errors import CallEnded, WaitTimeoutError


WITHIN = 30.0
"""Seconds of the call's time after which a wait fails, if it is not given a limit."""

Reached: TypeAlias = Callable[[float], float | None]
"""Takes the time of the call; returns when the condition became true, or None."""


@dataclass(slots=True)
class _Wait:
    what: str
    reached: Reached
    asked: float
    deadline: float
    result: asyncio.Future[float]


class Waits:
    """Everything that is waited for in one call, looked at on every tick.

    It is false when nothing is waited for.

    Args:
        situation: Returns how the call stands, for the text of an error.

    """

    def __init__(self, situation: Callable[[], str]) -> None:
        self._situation = situation
        self._waiting: list[_Wait] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    async def until(self, what: str, reached: Reached, *, now: float, limit: float) -> float:
        """Wait until `reached` returns a time, and return that time.

        Args:
            what: Names what is awaited, in the text of an error.
            reached: Called on every tick.
            now: Time of the call.
            limit: Seconds of the call's time to wait at most; `math.inf` waits until the call ends.

        Raises:
            WaitTimeoutError: The limit has passed.
            CallEnded: The call ended first.

        """
        result: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Wait(what, reached, now, now + limit, result))
        return await result

    def look(self, now: float) -> None:
        """End the waits whose condition is true, or whose limit has passed."""
        waiting: list[_Wait] = []
        for wait in self._waiting:
            if wait.result.done():
                continue
            if (time := wait.reached(now)) is not None:
                wait.result.set_result(time)
            elif now >= wait.deadline - TOLERANCE:
                waited = f"waited {now - wait.asked:.2f} s for {wait.what}"
                wait.result.set_exception(WaitTimeoutError(f"{waited}; {self._situation()}"))
            else:
                waiting.append(wait)
        self._waiting = waiting

    def end(self) -> None:
        """Fail all waits: the call has ended."""
        waiting, self._waiting = self._waiting, []
        for wait in waiting:
            if not wait.result.done():
                wait.result.set_exception(self.ended(wait.what))

    def ended(self, what: str) -> CallEnded:
        """Return the error of a wait for `what`, of a call that has ended."""
        return CallEnded(f"waited for {what}; {self._situation()}")


def reached_at(time: float) -> Reached:
    """Return a condition that comes true at `time`."""
    return lambda now: now if now >= time - TOLERANCE else None


def first_beginning(spells: Sequence[Stretch], after: float) -> float | None:
    """Return the start of the first of `spells` that starts at `after` or later, if any."""
    return next((start for start, _ in spells if start >= after - TOLERANCE), None)


def first_silence(
    spells: Sequence[Stretch], seconds: float, *, after: float, now: float
) -> float | None:
    """Return the end of the first `seconds` without a spell from `after` on, if any by `now`."""
    since = after
    for start, end in [*spells, (now, math.inf)]:
        if end <= since:
            continue
        if start - since >= seconds - TOLERANCE:
            return since + seconds
        since = end
    return None


def last_heard(who: str, spells: Sequence[Stretch]) -> str:
    """Say when `who` was last heard."""
    if not spells:
        return f"{who} has not been heard"
    start, end = spells[-1]
    return f"{who} was last heard from {start:.2f} s to {end:.2f} s"
