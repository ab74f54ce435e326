"""The workers' life: which are started, which take connections, and which are asked to go.

A reload starts a generation of new workers. Once all of them are ready, they take what comes, and
the old ones let their calls end. If one of them cannot start, the old ones go on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final


_LIVED: Final = 10.0
"""Seconds after which a worker that dies is replaced at once; before, it may never live long."""
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
"""Seconds until another worker is started after several that did not live long."""


class WorkerGoneError(Exception):
    """A worker cannot be asked: it is dead, or does not reply in time."""


class ReloadFailedError(Exception):
    """The new workers could not start; the message says why. The old ones go on."""


class WorkerStage(Enum):
    """Where a worker is in its life."""

    STARTING = auto()
    READY = auto()
    LEAVING = auto()
    """It was asked to go, and lets its calls end."""


class WorkerEnd(Enum):
    """What the end of a worker means."""

    EXPECTED = auto()
    """It was asked to go."""
    LOST = auto()
    """It took its calls with it, and is replaced."""
    FAILED_START = auto()
    """It could not start, and another is tried later."""
    FAILED_RELOAD = auto()
    """It was of the new generation, which is given up: the old one goes on."""
    FAILED_FIRST = auto()
    """It was of the first generation: the server cannot start."""


@dataclass(slots=True)
class CrewWorker:
    """One worker.

    Args:
        name: Its name.
        generation: Which generation it belongs to, from 1.
        started: When it was started, in monotonic seconds.

    """

    name: str
    generation: int
    started: float
    stage: WorkerStage = WorkerStage.STARTING


class Crew:
    """All workers of a machine.

    Args:
        size: How many serve at a time.

    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.workers: dict[str, CrewWorker] = {}
        """Those that live."""
        self.serving = 0
        """The generation that takes connections; 0 before the first one is ready."""
        self.stopping = False
        self._coming: int | None = 1
        self._latest = 1
        self._again = False
        self._not_before = 0.0
        self._short_lives = 0

    @property
    def reloading(self) -> bool:
        """Whether a new generation is starting, beside one that serves."""
        return self._coming is not None and self.serving > 0

    def starts(self, now: float) -> int:
        """Return how many workers are to be started now, of the generation `starting`.

        In a reload they start one after the other: a start takes a core for a while, which live
        calls need, and if the first one cannot start, the others need not try.
        """
        if self.stopping or now < self._not_before:
            return 0
        of_generation = list(self._of(self.starting))
        missing = self.size - len(of_generation)
        if not self.reloading or not any(self._of(self.serving)):
            return missing
        is_starting = any(each.stage is WorkerStage.STARTING for each in of_generation)
        return 0 if is_starting else min(missing, 1)

    @property
    def starting(self) -> int:
        """The generation of the workers that are started next."""
        return self.serving if self._coming is None else self._coming

    def started(self, name: str, now: float) -> CrewWorker:
        """Add a worker that was started."""
        worker = CrewWorker(name, self.starting, now)
        self.workers[name] = worker
        return worker

    def reload(self) -> bool:
        """Replace all workers by new ones; False if that has to wait for the start of others."""
        if self.stopping:
            return False
        if self._coming is not None:
            self._again = True
            return False
        self._latest += 1
        self._coming = self._latest
        # A new generation is somebody's answer to what went wrong.
        self._not_before, self._short_lives = 0.0, 0
        return True

    def ready(self, name: str) -> list[CrewWorker]:
        """Note that a worker is ready, and return the workers that are asked to go for it."""
        worker = self.workers.get(name)
        if worker is None or worker.stage is not WorkerStage.STARTING:
            return []
        worker.stage = WorkerStage.READY
        coming = [each for each in self._of(self._coming) if each.stage is WorkerStage.READY]
        if self._coming is None or len(coming) < self.size:
            return []
        self.serving, self._coming = self._coming, None
        self._reload_again()
        return [
            each
            for each in self.workers.values()
            if each.generation < self.serving and each.stage is not WorkerStage.LEAVING
        ]

    def leave(self, name: str) -> None:
        """Note that a worker has been asked to go, or goes by itself: it gets nothing more."""
        if name in self.workers:
            self.workers[name].stage = WorkerStage.LEAVING

    def ended(self, name: str, now: float) -> WorkerEnd:
        """Note that a worker is dead, and tell what that means."""
        worker = self.workers.pop(name)
        if worker.stage is WorkerStage.LEAVING or self.stopping:
            return WorkerEnd.EXPECTED
        if worker.generation == self._coming:
            if self.serving == 0:
                return WorkerEnd.FAILED_FIRST
            self._coming = None
            self._reload_again()
            return WorkerEnd.FAILED_RELOAD
        if worker.stage is WorkerStage.READY and now - worker.started >= _LIVED:
            self._short_lives = 0
        else:
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**self._short_lives)
            self._not_before = now + pause
            self._short_lives += 1
        return WorkerEnd.LOST if worker.stage is WorkerStage.READY else WorkerEnd.FAILED_START

    def given_up(self) -> list[CrewWorker]:
        """Return the workers of a generation that was given up, which are to be stopped."""
        return [
            each
            for each in self.workers.values()
            if each.generation > self.serving and each.generation != self._coming
        ]

    def stop(self) -> None:
        """Start no more workers."""
        self.stopping = True

    def takers(self) -> Iterator[CrewWorker]:
        """Yield the workers that connections may be given to.

        Those that serve; if none is left, those that are starting. While the server stops, all.
        """
        if self.stopping:
            yield from self.workers.values()
            return
        serving = list(self._of(self.serving))
        yield from serving or self._of(self._coming)

    def _reload_again(self) -> None:
        """Begin the reload that was asked for during another one."""
        if self._again:
            self._again = False
            self.reload()

    def _of(self, generation: int | None) -> Iterator[CrewWorker]:
        """Yield the workers of a generation that were not asked to go."""
        for worker in self.workers.values():
            if worker.generation == generation and worker.stage is not WorkerStage.LEAVING:
                yield worker
