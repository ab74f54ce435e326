"""Everything that the sandbox remembers: in memory, and saved in a store."""

from __future__ import annotations

from typing import Any

import structlog

from mediaserver.sandbox.records.records import (
    ApplicationRecord,
    CallRecord,
    HeartbeatRecord,
    NumberRecord,
    Record,
    StreamRecord,
)
from mediaserver.sandbox.records.store import Store, record_key


log = structlog.get_logger(__name__)


class RecordBook:
    """The records of the account, live and ended.

    Args:
        store: Where they are saved. The caller closes it.

    Attributes:
        calls: Calls by CallUUID, in the order in which they were placed.
        streams: Streams by stream id, in the order in which they were started.
        applications: Applications by app id.
        numbers: Numbers by their digits.

    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.calls: dict[str, CallRecord] = {}
        self.streams: dict[str, StreamRecord] = {}
        self.applications: dict[str, ApplicationRecord] = {}
        self.numbers: dict[str, NumberRecord] = {}
        self._kinds: dict[type[Record], dict[str, Any]] = {
            CallRecord: self.calls,
            StreamRecord: self.streams,
            ApplicationRecord: self.applications,
            NumberRecord: self.numbers,
        }

    async def load(self) -> None:
        """Read what the store has."""
        for kind, known in self._kinds.items():
            records = sorted(await self.store.all(kind), key=_begun)
            known.update((record_key(each), each) for each in records)

    async def remember(self, record: Record) -> None:
        """Add a record, or what has changed of it, and save it."""
        known = self._kinds.get(type(record))
        if known is not None:
            known[record_key(record)] = record
        await self.store.save(record)

    async def keep(self, record: Record) -> None:
        """Save a record; if that fails, write to the log what was lost, and go on."""
        try:
            await self.store.save(record)
        except Exception:
            log.exception("record not saved", kind=type(record).__name__)

    async def forget(self, record: Record) -> None:
        """Remove a record."""
        self._kinds[type(record)].pop(record_key(record), None)
        await self.store.delete(record)

    async def last_heartbeat(self) -> float | None:
        """Return the Unix time at which a process with calls was last known to run."""
        beats = await self.store.all(HeartbeatRecord)
        return max((each.time for each in beats), default=None)


def _begun(record: Record) -> float:
    match record:
        case CallRecord():
            return record.initiated
        case StreamRecord():
            return record.created
        case _:
            return 0.0
