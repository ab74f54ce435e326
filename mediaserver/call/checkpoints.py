"""The checkpoints of one stream: what they wait for, and what the carrier's answers say."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from mediaserver.call.runs import Runs


_MAX_AWAITED = 1_000
"""Checkpoints whose answer is awaited; older ones are given up."""

_STALE_SECONDS = 1.0
"""For how long after a clear the carrier may still answer a checkpoint that was cleared."""

_EARLY = 0.02
"""Seconds by which an answer may come early: the carrier plays in steps of 20 ms."""

_LONGEST_DELAY = 2.0
"""Seconds between playing and answering; more than this is a fault, not a delay to reckon with."""


@dataclass(slots=True)
class _Checkpoint:
    position: int
    name: str
    # Whether the handler set it; otherwise it serves `heard()`.
    by_handler: bool
    sent_at: float = 0.0
    # When its answer was expected, as estimated when it was sent.
    due: float = 0.0


class Checkpoints:
    """The ledger of checkpoints: first waiting for their audio to be sent, then for an answer.

    Positions are bytes since the start of the stream. A checkpoint that the handler set is
    reported once: as played when the carrier answers it, or else by what was heard when it is
    settled.

    Args:
        interval: shortest time in seconds between two checkpoints that the handler did not set.
        report: takes the name of a checkpoint of the handler's, and whether it was played.

    """

    __slots__ = (
        "_awaited",
        "_delays",
        "_interval",
        "_next_own",
        "_own",
        "_stale",
        "_stale_until",
        "confirmed",
        "delay",
        "ever_confirmed",
        "report",
        "waiting",
    )

    def __init__(self, *, interval: float, report: Callable[[str, bool], object]) -> None:
        self._interval = interval
        self.report = report
        self.waiting: list[_Checkpoint] = []
        """Not sent yet, in the order of their positions."""
        self._awaited: list[_Checkpoint] = []
        self._own = 0
        self._next_own = 0.0
        # Names of cleared checkpoints that the carrier may still answer.
        self._stale: set[str] = set()
        self._stale_until = 0.0
        self.confirmed = 0
        """The position up to which the carrier has confirmed that it played."""
        self.ever_confirmed = False
        """Whether the carrier has answered any checkpoint."""
        self.delay = 0.0
        """Seconds until audio is heard, beyond the network's round trip: the shortest of the last
        three answers, because an answer can be read late but never early."""
        self._delays: deque[float] = deque(maxlen=3)

    def add(self, position: int, name: str | None = None) -> None:
        """Add a checkpoint, which waits until the audio before `position` is sent.

        Args:
            position: where it stands.
            name: the handler's name for it; None if the handler did not set it.

        """
        checkpoint = _Checkpoint(position, name or "", by_handler=name is not None)
        insort(self.waiting, checkpoint, key=lambda each: each.position)

    def take_due(self, sent: int, now: float, runs: Runs) -> str | None:
        """Take out the next checkpoint to send, and await its answer.

        Checkpoints that the handler did not set are dropped if they would follow one another too
        soon.

        Args:
            sent: the position up to which audio was sent.
            now: the time.
            runs: when the carrier plays each position.

        Returns:
            Its name; None if no checkpoint is due.

        """
        while self.waiting and self.waiting[0].position <= sent:
            checkpoint = self.waiting.pop(0)
            if not checkpoint.by_handler:
                if now < self._next_own:
                    continue
                self._next_own = now + self._interval
                self._own += 1
                checkpoint.name = f"heard-{self._own}"
            checkpoint.sent_at = now
            checkpoint.due = max(now, runs.time_of(checkpoint.position) + self.delay)
            self._awaited.append(checkpoint)
            if len(self._awaited) > _MAX_AWAITED:
                self._report_all([self._awaited.pop(0)], 0)
            return checkpoint.name
        return None

    def confirm(self, name: str, now: float, runs: Runs, round_trip: float) -> bool:
        """Take the carrier's answer that it has played up to the checkpoint `name`.

        Args:
            name: of the checkpoint.
            now: the time.
            runs: when the carrier plays each position.
            round_trip: the network's round trip in seconds.

        Returns:
            Whether it confirms anything: False for an unknown name, and for a late answer to a
            checkpoint that was cleared before the same name was used again.

        """
        awaited = self._awaited
        index = next((i for i, each in enumerate(awaited) if each.name == name), None)
        if index is None:
            return False
        checkpoint = awaited[index]
        expected = runs.time_of(checkpoint.position)
        if name in self._stale and now < min(self._stale_until, expected - _EARLY):
            return False
        # Answers come in order, so the carrier has reached the checkpoints before it as well.
        answered, self._awaited = awaited[: index + 1], awaited[index + 1 :]
        self.ever_confirmed = True
        self.confirmed = max(self.confirmed, checkpoint.position)
        # A checkpoint sent after its audio had ended does not show how late that audio was heard.
        if checkpoint.position > runs.position and checkpoint.sent_at <= expected:
            delay = now - expected - round_trip
            self._delays.append(min(max(delay, 0.0), _LONGEST_DELAY))
            self.delay = min(self._delays)
        self._report_all(answered, checkpoint.position)
        return True

    def clear(self, now: float) -> None:
        """Note that the carrier was told to drop its audio and its checkpoints."""
        if now >= self._stale_until:
            self._stale.clear()
        self._stale.update(each.name for each in self._awaited if each.by_handler)
        self._stale_until = now + _STALE_SECONDS

    def take_back(self, position: int, heard: int) -> None:
        """Let the checkpoints sent beyond `position` wait again, and settle the other sent ones.

        Args:
            position: where sending will continue.
            heard: the position up to which the caller has heard.

        """
        while self._awaited and self._awaited[-1].position > position:
            self.waiting.insert(0, self._awaited.pop())
        answered, self._awaited = self._awaited, []
        self._report_all(answered, heard)

    def settle(self, heard: int) -> None:
        """Await no more answers, and report all by what was heard: the position `heard`."""
        settled = [*self._awaited, *self.waiting]
        self._awaited, self.waiting = [], []
        self._report_all(settled, heard)

    def awaits(self, position: int | None = None) -> bool:
        """Return whether an answer is awaited: for a checkpoint at `position`, or for any."""
        if position is None:
            return bool(self._awaited)
        return any(each.position == position for each in self._awaited)

    def stands_at(self, position: int) -> bool:
        """Return whether a checkpoint at `position` exists already, sent or not."""
        return self.awaits(position) or any(each.position == position for each in self.waiting)

    def overdue(self, now: float) -> float:
        """Return the seconds for which the carrier has owed an answer.

        0 if it owes no answer, or has never answered.
        """
        if not self._awaited or not self.ever_confirmed:
            return 0.0
        return max(0.0, now - self._awaited[0].due)

    def _report_all(self, checkpoints: list[_Checkpoint], heard: int) -> None:
        for checkpoint in checkpoints:
            if checkpoint.by_handler:
                self.report(checkpoint.name, checkpoint.position <= heard)
