"""One utterance at a time: what is said at once is heard whole, in the order in which it began."""

from __future__ import annotations

from collections import deque

from mediaserver.call.inbox import Waiter


class Utterances:
    """The utterance that may be queued for the caller now, and those that wait for their turn.

    Each is represented by a waiter, which is woken at its turn, or when an interruption or the end
    of the call drops all utterances.
    """

    __slots__ = ("_waiting", "current")

    def __init__(self) -> None:
        self.current: Waiter | None = None
        """The utterance that is being queued; None while there is none."""
        self._waiting: deque[Waiter] = deque()

    def begin(self, utterance: Waiter) -> bool:
        """Make `utterance` the current one, or the last to wait.

        Returns:
            Whether it is its turn already.

        """
        if self.current is None:
            self.current = utterance
            return True
        self._waiting.append(utterance)
        return False

    def end(self, utterance: Waiter) -> None:
        """Let the next one begin after `utterance`, which was queued or given up."""
        if self.current is not utterance:
            if utterance in self._waiting:
                self._waiting.remove(utterance)
            return
        self.current = None
        while self._waiting and self.current is None:
            following = self._waiting.popleft()
            if not following.done():
                self.current = following
                following.set_result(None)

    def drop(self) -> None:
        """Drop all of them, and wake those that wait."""
        self.current = None
        dropped, self._waiting = self._waiting, deque()
        for utterance in dropped:
            if not utterance.done():
                utterance.set_result(None)
