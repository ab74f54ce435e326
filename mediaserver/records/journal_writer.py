"""Writes events to the journal, in a thread, so that no call waits for a disk."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, deque
from typing import Final

import structlog

from mediaserver.records.events import RecordEvent, encode_events
from mediaserver.records.journal import Journal


log = structlog.get_logger(__name__)

WRITE_SECONDS: Final = 0.1
"""Seconds for which events are gathered before they are written: fewer turns of the thread."""

_BEAT_SECONDS: Final = 1.0
"""Seconds between two signs of life, and at most between two times that the disk is synced."""

_MOST_EVENTS: Final = 20_000
"""Events that wait in memory while the disk takes none."""


class JournalFigures:
    """What the journal counts."""

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter(journal=0, disk=0, event=0)
        """Events that were lost: ``disk`` or ``journal`` was full, or no line could be made of the
        ``event``."""
        self.written = 0
        """Bytes that were written to the journal."""
        self.deleted = 0
        """Bytes of it that were deleted again, since they are in the database."""
        self.others = 0
        """Bytes of the other journals of this machine, as they were counted last."""
        self.failing = False
        """Whether the disk takes nothing."""

    @property
    def bytes(self) -> int:
        """Bytes that all journals of this machine take on the disk."""
        return self.written - self.deleted + self.others


class JournalWriter:
    """Takes events from the event loop and writes them.

    Args:
        journal: where to.
        figures: counts what was lost.
        most_bytes: what all journals of the machine may take on the disk.

    """

    def __init__(self, journal: Journal, figures: JournalFigures, *, most_bytes: int) -> None:
        self._journal = journal
        self._figures = figures
        self._most_bytes = most_bytes
        self._events: deque[RecordEvent] = deque()
        # What the disk has not taken yet: the rest of whole lines.
        self._rest = b""
        self._unsynced = False
        self._synced = 0.0
        self._told_full = False
        self._told_dropped = False
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="call records: journal", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, event: RecordEvent) -> None:
        """Take an event; costs a microsecond."""
        if len(self._events) >= _MOST_EVENTS:
            self._drop_one()
            return
        self._events.append(event)
        if not self._wake.is_set():
            self._wake.set()

    @property
    def waiting(self) -> int:
        """The number of events that the disk has not taken yet."""
        return len(self._events) + self._rest.count(b"\n")

    def close(self, seconds: float) -> bool:
        """Write what is left, end the thread, and tell whether it has ended in time.

        What the disk does not take is lost, counted and logged.
        """
        self._closing.set()
        self._wake.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def step(self) -> None:
        """Write all that waits, as far as the disk takes it."""
        journal, figures = self._journal, self._figures
        try:
            while self._rest or self._events:
                if not self._rest:
                    journal.roll()
                    self._rest = self._next_lines()
                    if not self._rest:
                        continue
                taken = journal.append(self._rest)
                figures.written += taken
                self._rest = self._rest[taken:]
                self._unsynced = True
            if not self._rest:
                journal.roll()
            now = time.monotonic()
            if self._unsynced and now - self._synced >= _BEAT_SECONDS:
                self._synced = now
                journal.sync()
                self._unsynced = False
            journal.beat()
        except OSError as error:
            self._tell_failing(error)
        else:
            if figures.failing:
                figures.failing = False
                log.info("the journal of call records is written again")
            self._told_dropped = False

    def _next_lines(self) -> bytes:
        count = min(len(self._events), 1_000)
        events = [self._events.popleft() for _ in range(count)]
        if self._figures.bytes < self._most_bytes:
            self._told_full = False
            return self._lines_of(events)
        self._figures.dropped["journal"] += count
        if not self._told_full:
            self._told_full = True
            log.error(
                "the journal of call records is full, and records are lost",
                bytes=self._figures.bytes,
                folder=str(self._journal.path.parent),
                hint="is the database away? --records-journal-megabytes allows more",
            )
        return b""

    def _lines_of(self, events: list[RecordEvent]) -> bytes:
        try:
            return encode_events(events)
        except Exception:
            # Only the one of which no line can be made is lost.
            return b"".join(map(self._line_of, events))

    def _line_of(self, event: RecordEvent) -> bytes:
        try:
            return encode_events([event])
        except Exception:
            self._figures.dropped["event"] += 1
            log.exception(
                "an event of a call is lost: no line of the journal can be made of it",
                record=event.id,
                event_type=type(event).__name__,
            )
            return b""

    def _drop_one(self) -> None:
        self._figures.dropped["disk"] += 1
        if not self._told_dropped:
            self._told_dropped = True
            log.error(
                "call records are lost: the disk takes none, and memory is full",
                events=len(self._events),
                folder=str(self._journal.path.parent),
                hint="mediaserver_records_dropped_total counts them",
            )

    def _tell_failing(self, error: OSError) -> None:
        if not self._figures.failing:
            self._figures.failing = True
            log.error(
                "the journal of call records cannot be written",
                reason=error.strerror or os.strerror(error.errno or 0),
                folder=str(self._journal.path.parent),
                hint="records are kept in memory meanwhile, as far as they fit",
            )

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait(_BEAT_SECONDS)
            if self._events:
                self._closing.wait(WRITE_SECONDS)
            self._wake.clear()
            self._step_safely()
        self._synced = 0.0
        self._step_safely()
        if lost := self.waiting:
            self._figures.dropped["disk"] += lost
            log.error(
                "call records were lost: the disk took none until the end",
                events=lost,
                folder=str(self._journal.path.parent),
            )

    def _step_safely(self) -> None:
        try:
            self.step()
        except Exception:
            # Whatever it is, the next events must not be lost with these.
            log.exception("call records could not be written to the journal")
