"""The thread that brings the journal to the database, so that no call waits for either."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Final

import structlog

from mediaserver.records.journal import Journal, JournalReader
from mediaserver.records.journal_writer import JournalFigures
from mediaserver.records.signing import webhook_key
from mediaserver.settings import Settings


if TYPE_CHECKING:
    from mediaserver.records.database import RecordsDatabase
    from mediaserver.records.deliveries import DeliveryThread
    from mediaserver.records.shipping import Shipper

log = structlog.get_logger(__name__)

_AFTER_FAULT: Final = 5.0
"""Seconds before the next attempt after an error that nobody foresaw."""

_DELIVERY_SECONDS: Final = 3.0
"""Seconds that the end of a server waits for webhooks; the rest is sent after the next start."""


class ShippedFigures(JournalFigures):
    """What is counted of the journal, and of the way to the database and to the webhook."""

    def __init__(self) -> None:
        super().__init__()
        self.stored = 0
        """Events that are in the database."""
        self.unstorable = 0
        """Events that the database refuses, and lines that cannot be read."""
        self.lost_calls = 0
        """Calls of processes that have died, which this one has ended in the database."""
        self.database_away = False
        """Whether nothing comes to the database, for whatever reason."""
        self.webhooks: Counter[str] = Counter(delivered=0, failed=0, given_up=0)
        """Webhooks, by outcome: ``delivered``, ``failed`` (tried again), ``given_up``."""


class ShippingThread:
    """Opens the database, and runs a shipper and the thread that sends webhooks.

    Args:
        settings: name the database, and the webhook if there is one.
        process: names this process.
        journal: the journal of this process.
        figures: counts.

    """

    def __init__(
        self, settings: Settings, process: str, journal: Journal, figures: ShippedFigures
    ) -> None:
        self._settings = settings
        self._process = process
        self._journal = journal
        self._figures = figures
        self._closing = threading.Event()
        self._finished = False
        self._thread = threading.Thread(
            target=self._run, name="call records: shipping", daemon=True
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self, seconds: float) -> bool:
        """Ship what is left, and tell whether all of it is in the database now."""
        self._closing.set()
        self._thread.join(seconds)
        return self._finished

    def _run(self) -> None:
        try:
            database = self._open_database()
            deliveries = self._open_deliveries(database)
            shipper = self._shipper(database, deliveries)
        except (ValueError, ImportError) as error:
            self._figures.database_away = True
            log.error(
                "call records cannot be brought to the database",
                reason=str(error),
                hint="they wait in the journal for a server that starts without this fault",
            )
            return
        if deliveries is not None:
            deliveries.start()
        self._ship(shipper)
        if deliveries is not None:
            deliveries.close(_DELIVERY_SECONDS)
        database.close()

    def _ship(self, shipper: Shipper) -> None:
        delay = 0.0
        while not self._closing.wait(delay):
            try:
                delay = shipper.step()
            except Exception:
                self._figures.database_away = True
                log.exception("call records could not be brought to the database")
                delay = _AFTER_FAULT
        try:
            self._finished = shipper.finish()
        except Exception:
            log.exception("call records could not be brought to the database")

    def _open_database(self) -> RecordsDatabase:
        # It takes half a second of CPU to import SQLAlchemy and what it needs.
        from mediaserver.records.database import RecordsDatabase

        url = self._settings.records_url
        assert url is not None, "there are records only if the setting `records` has a URL"
        return RecordsDatabase(url)

    def _shipper(self, database: RecordsDatabase, deliveries: DeliveryThread | None) -> Shipper:
        from mediaserver.records.shipping import Shipper

        journal, settings = self._journal, self._settings
        return Shipper(
            database,
            JournalReader(journal.path, last=lambda: journal.segment),
            folder=settings.records_folder,
            process=self._process,
            figures=self._figures,
            days=settings.records_days,
            tells=deliveries is not None,
            ended=deliveries.wake if deliveries is not None else lambda: None,
        )

    def _open_deliveries(self, database: RecordsDatabase) -> DeliveryThread | None:
        url, secret = self._settings.records_webhook, self._settings.records_webhook_secret
        if url is None or secret is None:
            return None
        from mediaserver.records.deliveries import DeliveryThread

        key = webhook_key(secret.get_secret_value())
        return DeliveryThread(database, url, key, self._figures.webhooks)
