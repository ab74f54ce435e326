"""Brings connections to workers, and to others if a worker is gone before it has taken them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from functools import partial

from mediaserver.server.workers.balance import Balance
from mediaserver.server.workers.channel import Unsent
from mediaserver.server.workers.crew import Crew
from mediaserver.server.workers.employed import Employed
from mediaserver.server.workers.messages import ClientConnection, Move
from mediaserver.server.workers.reception import Taker
from mediaserver.server.workers.table import WorkerState


class ConnectionDispatcher:
    """Brings connections to workers.

    Args:
        machine: The first part of the names of all workers.
        crew: Knows which workers take connections.
        workers: Those that live, by name.

    """

    def __init__(self, machine: str, crew: Crew, workers: Mapping[str, Employed]) -> None:
        self._machine = machine
        self._crew = crew
        self._workers = workers
        self._balance = Balance()

    def taker(self) -> Taker | None:
        """Return what takes the next connection: the worker that has the least to do, or None."""
        worker = self._choose()
        return None if worker is None else partial(self._hand, worker)

    def move(self, sender: Employed, move: Move, descriptor: int) -> None:
        """Bring a connection to the worker that prepared its call; back, if that one is gone."""
        machine, _, name = move.to.rpartition("/")
        target = self._workers.get(name) if machine == self._machine else None
        for worker in (target, sender):
            if worker is not None and self._hand(worker, move.connection, descriptor):
                return
        self._give(move.connection, descriptor)

    def give_unread(self, unread: Unsent) -> None:
        """Give to other workers the connections among what a worker that is gone has not read."""
        for message, descriptor in unread:
            if isinstance(message, ClientConnection):
                self._give(message, descriptor)
            elif descriptor >= 0:
                os.close(descriptor)

    def _give(self, connection: ClientConnection, descriptor: int) -> None:
        """Give a connection to whichever worker has the least to do."""
        worker = self._choose()
        if descriptor >= 0 and (worker is None or not self._hand(worker, connection, descriptor)):
            os.close(descriptor)

    def _hand(self, worker: Employed, connection: ClientConnection, descriptor: int) -> bool:
        if not (worker.reachable and worker.channel.send(connection, descriptor)):
            return False
        self._balance.sent(worker.row)
        return True

    def _choose(self) -> Employed | None:
        takers = {}
        for member in self._crew.takers():
            worker = self._workers.get(member.name)
            if worker is not None and worker.reachable:
                takers[worker.row.index] = worker
        if not self._crew.serving and any(
            worker.row.state is WorkerState.STARTING for worker in takers.values()
        ):
            # The first workers begin together: whoever is the fastest would get all that waits.
            return None
        chosen = self._balance.choose(
            [worker.row for worker in takers.values()], time.monotonic_ns()
        )
        return None if chosen is None else takers[chosen.index]
