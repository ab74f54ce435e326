"""Chooses the worker for each connection: the one that has the least to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol, TypeVar

from mediaserver.server.workers.table import WorkerState


_SILENT: Final = 1_000_000_000
"""Nanoseconds without a beat after which a worker is passed over: something blocks its loop."""

_BEHIND: Final = 512
"""Connections that a worker may have been sent without having taken them; more wait in the kernel,
which bounds them."""

_TAKING: Final = (WorkerState.READY, WorkerState.OPENING, WorkerState.DRAINING)
"""The states in which a worker takes connections, the best first."""


class WorkerLoad(Protocol):
    """What a worker has, such as its row in the table."""

    index: int

    @property
    def state(self) -> WorkerState:
        """What the worker does."""

    sent: int
    """Connections that it was sent until now."""

    @property
    def under_way(self) -> int:
        """Those of them that it has not taken."""

    @property
    def waiting(self) -> int:
        """Its connections that are not streams."""

    @property
    def reserved(self) -> int:
        """Calls whose stream is to come."""

    @property
    def active(self) -> int:
        """Calls that are connected."""

    @property
    def beat(self) -> int:
        """When its event loop last ran, in monotonic nanoseconds."""


AnyWorker = TypeVar("AnyWorker", bound=WorkerLoad)


class Balance:
    """Chooses who gets the next connection, and counts it.

    What was sent and not taken yet counts: the workers' own figures change only once they have run,
    and a burst comes before that.
    """

    def __init__(self) -> None:
        self._chosen_at: dict[int, int] = {}
        self._turn = 0

    def choose(self, workers: Iterable[AnyWorker], now: int) -> AnyWorker | None:
        """Return the worker for a connection; None if no worker takes any now.

        Workers that take calls come first, then those that are starting, then those that drain,
        which tell callers that all lines are busy.

        Args:
            workers: Those that may be asked.
            now: Monotonic nanoseconds.

        """
        best, best_rank = None, None
        for worker in workers:
            state = worker.state
            if state not in _TAKING or worker.under_way >= _BEHIND:
                continue
            rank = (
                _TAKING.index(state),
                now - worker.beat > _SILENT,
                worker.active + worker.reserved + worker.waiting + worker.under_way,
                self._chosen_at.get(worker.index, 0),
            )
            if best_rank is None or rank < best_rank:
                best, best_rank = worker, rank
        return best

    def sent(self, worker: WorkerLoad) -> None:
        """Count a connection that a worker was sent."""
        worker.sent += 1
        self._turn += 1
        self._chosen_at[worker.index] = self._turn
