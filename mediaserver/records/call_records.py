"""The records of calls, as a server uses them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

import structlog

from mediaserver.records.events import CallBegan
from mediaserver.records.journal import Journal, JournalError
from mediaserver.records.journal_writer import JournalWriter
from mediaserver.records.prices import PriceList, PricesError, read_prices
from mediaserver.records.recorded_call import LONGEST_TEXT, RecordedCall
from mediaserver.records.redaction import Redaction, storable
from mediaserver.records.shipping_thread import ShippedFigures, ShippingThread
from mediaserver.settings import Settings


log = structlog.get_logger(__name__)

_LONGEST_ID: Final = 100
"""Characters of an id; Plivo's have 36."""

_JOURNAL_SECONDS: Final = 5.0
_SHIPPING_SECONDS: Final = 8.0
"""Seconds that the end of a server waits for each; what is left is done after the next start."""


class RecordsError(RuntimeError):
    """Calls cannot be recorded as the settings say; the message says why."""


class CallRecords:
    """Records the calls of one process.

    Args:
        settings: the server's settings, which have `records`.
        process: names this process.
        clock: seconds since the epoch.

    """

    def __init__(
        self, settings: Settings, process: str, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._process = process
        self._clock = clock
        self._redaction = Redaction(
            settings.records_numbers,
            key=settings.secret.get_secret_value().encode(),
            transcripts=settings.records_transcripts,
        )
        self.figures = ShippedFigures()
        """What is counted."""
        self._prices: PriceList | None = None
        self._writer: JournalWriter | None = None
        self._ships_at_end = _SHIPPING_SECONDS

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Record calls within the block. The database need not answer.

        Raises:
            RecordsError: the journal cannot be written, the database's URL cannot be used, or the
                prices cannot be read.

        """
        opened = await asyncio.to_thread(self._open)
        try:
            yield
        finally:
            await asyncio.to_thread(self._close, *opened)

    def hurry(self) -> None:
        """Leave to the next start what is not in the database yet."""
        self._ships_at_end = 0.0

    def begin(
        self,
        *,
        call_id: str | None,
        stream_id: str | None,
        account_id: str | None,
        direction: str | None,
        caller: str | None,
        called: str | None,
        handler: str,
        route: str,
        path: str,
        format: str | None,
        tracks: tuple[str, ...],
    ) -> RecordedCall:
        """Return the record of a call that has begun now, and is not told yet."""
        now = self._clock()
        caller_number = self._redaction.number(caller)
        called_number = self._redaction.number(called)
        began = CallBegan(
            # Records have the order of their beginnings.
            id=f"{int(now * 1000):012x}{os.urandom(10).hex()}",
            call_id=_short(call_id),
            stream_id=_short(stream_id),
            account_id=_short(account_id),
            direction=_short(direction),
            caller=caller_number.shown,
            called=called_number.shown,
            caller_key=caller_number.key,
            called_key=called_number.key,
            handler=storable(handler, LONGEST_TEXT),
            route=storable(route, LONGEST_TEXT),
            path=storable(path, LONGEST_TEXT),
            process=self._process,
            format=format,
            tracks=_short(",".join(tracks)),
            started_at=now,
        )
        assert self._writer is not None, "calls are recorded within `running`"
        return RecordedCall(
            began,
            self._writer.put,
            transcripts=self._redaction.transcripts,
            prices=self._prices,
        )

    def _open(self) -> tuple[Journal, JournalWriter, ShippingThread]:
        settings = self._settings
        try:
            if settings.records_prices is not None:
                self._prices = read_prices(settings.records_prices)
            journal = Journal(settings.records_folder)
        except (JournalError, PricesError) as error:
            raise RecordsError(str(error)) from None
        megabytes = settings.records_journal_megabytes
        writer = JournalWriter(journal, self.figures, most_bytes=megabytes * 1_000_000)
        shipping = ShippingThread(settings, self._process, journal, self.figures)
        writer.start()
        shipping.start()
        self._writer = writer
        return journal, writer, shipping

    def _close(self, journal: Journal, writer: JournalWriter, shipping: ShippingThread) -> None:
        if not writer.close(_JOURNAL_SECONDS):
            log.error(
                "call records were lost: the disk of the journal does not answer",
                events=writer.waiting,
                folder=str(journal.path.parent),
            )
            return
        journal.end_segment()
        shipped = shipping.close(self._ships_at_end)
        journal.close(remove=shipped)
        if not shipped:
            log.warning(
                "call records wait in the journal: there was no time, or no database, for them",
                folder=str(journal.path),
                hint="the next server on this machine with these settings brings them there",
            )


def _short(text: str | None) -> str | None:
    return storable(text, _LONGEST_ID) if text else None
