"""Brings the lines of journals to the database, and looks after what is in there."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final, Protocol

import structlog

from mediaserver.records.backoff import delay_after
from mediaserver.records.batches import Batch, moment
from mediaserver.records.database import DatabaseAwayError, RecordsDatabase, UnstorableError
from mediaserver.records.events import RecordEvent, decode_events
from mediaserver.records.journal import (
    DeadJournal,
    JournalReader,
    JournalUnreadableError,
    dead_journals,
    size_of_journals,
)


log = structlog.get_logger(__name__)

_CHUNK_BYTES: Final = 65_536
"""Bytes of a journal that become one transaction: short enough for the calls beside it."""

_CHUNKS_AT_ONCE: Final = 16
"""Chunks of one journal before something else has its turn."""

IDLE_SECONDS: Final = 0.5
"""Seconds between two looks at the journal."""

_LOOK_SECONDS: Final = 5.0
"""Seconds between two looks at the journals of dead processes, and between two signs of life."""

_SILENT_SECONDS: Final = 600.0
"""Seconds without a sign of life after which the calls of a process count as lost. It may be a
machine that is gone with its disk."""

_PRUNE_SECONDS: Final = 3_600.0
_FIRST_PRUNE: Final = 60.0

_FIRST_DELAY: Final = 0.5
_LONGEST_DELAY: Final = 5.0
"""Seconds between attempts to reach a database that is away."""


class ShippingFigures(Protocol):
    """What is counted of the way to the database."""

    stored: int
    unstorable: int
    lost_calls: int
    database_away: bool
    deleted: int
    others: int


class Shipper:
    """Brings one process's journal, and those of dead ones, to the database.

    Args:
        database: where to.
        own: the journal of this process.
        folder: holds the journals of the machine.
        process: names this process.
        figures: counts.
        days: for how many days calls are kept; None for ever.
        tells: whether a webhook is told of calls that are over.
        ended: called when there are such calls.
        clock: seconds since the epoch.

    """

    def __init__(
        self,
        database: RecordsDatabase,
        own: JournalReader,
        *,
        folder: Path,
        process: str,
        figures: ShippingFigures,
        days: float | None,
        tells: bool,
        ended: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._own = own
        self._folder = folder
        self._process = process
        self._figures = figures
        self._days = days
        self._tells = tells
        self._ended = ended
        self._clock = clock
        self._dead: list[DeadJournal] = []
        # Journals of which it was told that they cannot be read.
        self._unreadable: set[str] = set()
        self._prepared = False
        self._failures = 0
        self._look_at = 0.0
        self._prune_at = clock() + _FIRST_PRUNE * (1 + random.random())

    def step(self) -> float:
        """Do what is to be done, and return the seconds until there may be more."""
        now = self._clock()
        looks = now >= self._look_at
        if looks:
            # Before the database is asked: while it is away, this bounds what all of them write.
            self._figures.others = size_of_journals(self._folder, without=self._own.name)
        try:
            if not self._prepared:
                self._database.prepare()
                self._prepared = True
            busy = self._ship_own()
            if looks:
                self._look_at = now + _LOOK_SECONDS
                self._look(now)
            busy = self._take_up_dead() or busy
            if self._days is not None and now >= self._prune_at:
                more = self._prune(now, self._days)
                self._prune_at = now + (1.0 if more else _PRUNE_SECONDS)
        except DatabaseAwayError as error:
            return self._away(str(error))
        self._failures = 0
        if self._figures.database_away:
            self._figures.database_away = False
            log.info("the database of call records answers again")
        return 0.0 if busy else IDLE_SECONDS

    def finish(self) -> bool:
        """Ship all of the own journal, and tell whether that was possible.

        A call whose end was not told, or was dropped, ends now.
        """
        try:
            if not self._prepared:
                self._database.prepare()
            while self._ship(self._own):
                pass
            self._lose(self._own.name, self._clock())
        except DatabaseAwayError:
            return False
        except JournalUnreadableError as error:
            self._tell_unreadable(self._own.name, error)
            return False
        finally:
            for journal in self._dead:
                journal.release()
        return True

    # The journals

    def _ship(self, journal: JournalReader) -> bool:
        """Ship some of a journal, and tell whether there may be more.

        Raises:
            JournalUnreadableError: there may be, but it cannot be read now.

        """
        for _ in range(_CHUNKS_AT_ONCE):
            lines = journal.read(_CHUNK_BYTES)
            self._unreadable.discard(journal.name)
            if journal is self._own:
                self._figures.deleted = journal.deleted
            if not lines:
                return False
            events, unreadable = decode_events(lines)
            if unreadable:
                self._figures.unstorable += unreadable
                log.error(
                    "lines of a journal of call records cannot be read, and are left out",
                    lines=unreadable,
                    journal=journal.name,
                )
            self._store(events, journal.name)
            journal.done()
        return True

    def _ship_own(self) -> bool:
        """Ship some of the own journal, and tell whether there may be more to read now."""
        try:
            return self._ship(self._own)
        except JournalUnreadableError as error:
            self._tell_unreadable(self._own.name, error)
            return False

    def _tell_unreadable(self, journal: str, error: JournalUnreadableError) -> None:
        if journal not in self._unreadable:
            self._unreadable.add(journal)
            log.error(
                "a journal of call records cannot be read",
                reason=str(error),
                journal=journal,
                hint="it is kept, and read as soon as that is possible",
            )

    def _store(self, events: list[RecordEvent], journal: str) -> None:
        try:
            self._write(events, journal)
        except UnstorableError as error:
            if len(events) == 1:
                self._figures.unstorable += 1
                log.error(
                    "the database refuses a call record, which is left out",
                    record=events[0].id,
                    reason=str(error),
                )
                return
            # One of them is at fault.
            half = len(events) // 2
            self._store(events[:half], journal)
            self._store(events[half:], journal)

    def _write(self, events: list[RecordEvent], journal: str) -> None:
        batch = Batch(events, journal)
        if batch:
            due = moment(self._clock()) if self._tells else None
            self._database.write(batch, webhook_due=due)
            self._figures.stored += len(events)
            if batch.over and self._tells:
                self._ended()

    def _look(self, now: float) -> None:
        self._database.beat(self._own.name, self._process, moment(now))
        silent = moment(now - _SILENT_SECONDS)
        due = moment(now) if self._tells else None
        self._count_lost(self._database.lose_silent(silent, webhook_due=due), "a silent process")
        self._dead += dead_journals(self._folder)

    def _take_up_dead(self) -> bool:
        """Ship some of a dead process's journal, and tell whether there may be more now."""
        if not self._dead:
            return False
        journal = self._dead[0]
        try:
            if self._ship(journal):
                return True
        except JournalUnreadableError as error:
            self._tell_unreadable(journal.name, error)
            # It is kept, and the others have their turn.
            self._dead.append(self._dead.pop(0))
            return False
        self._lose(journal.name, journal.died_at)
        journal.remove()
        del self._dead[0]
        return bool(self._dead)

    def _lose(self, journal: str, died_at: float) -> None:
        due = moment(self._clock()) if self._tells else None
        self._count_lost(self._database.lose(journal, moment(died_at), webhook_due=due), journal)

    def _count_lost(self, lost: int, journal: str) -> None:
        if lost:
            self._figures.lost_calls += lost
            log.warning("calls were lost with their process", calls=lost, journal=journal)
            if self._tells:
                self._ended()

    # The database

    def _prune(self, now: float, days: float) -> bool:
        """Delete some of the old calls, and tell whether there may be more."""
        pruned = self._database.prune(moment(now) - timedelta(days=days))
        if pruned:
            log.info("old call records were deleted", calls=pruned, days=days)
        return pruned > 0

    def _away(self, reason: str) -> float:
        if not self._failures:
            self._figures.database_away = True
            log.error(
                "the database of call records is away",
                database=self._database.shown,
                reason=reason,
                hint="calls go on, and their records wait in the journal",
            )
        self._failures += 1
        return delay_after(self._failures, first=_FIRST_DELAY, longest=_LONGEST_DELAY)
