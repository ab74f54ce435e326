"""Tells a webhook of calls that are over: signed, and again until it was understood."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

import httpx
import structlog

from mediaserver.records.backoff import delay_after
from mediaserver.records.batches import moment
from mediaserver.records.database import DatabaseAwayError, DeliveryResult, RecordsDatabase
from mediaserver.records.payload import webhook_body
from mediaserver.records.signing import signed_headers


log = structlog.get_logger(__name__)

REQUEST_SECONDS: Final = 10.0
"""Seconds that a receiver may take for its answer."""

_AT_ONCE: Final = 16
"""Requests at a time."""

_LEASE_SECONDS: Final = 60.0
"""Seconds for which other processes leave a webhook to this one."""

_FIRST_DELAY: Final = 5.0
_LONGEST_DELAY: Final = 3_600.0
"""Seconds between two attempts: 5, 10, 20… to an hour."""

MOST_ATTEMPTS: Final = 60
"""Attempts before a webhook is given up: after two days."""

_POLL_SECONDS: Final = 5.0
"""Seconds between two looks at what is due."""

_LONGEST_REST: Final = 60.0
"""Seconds for which a receiver is left alone, at most, that has answered none of many requests."""


class DeliveryOutcome(NamedTuple):
    """What became of a request."""

    error: str | None
    """None if the receiver has understood it."""
    final: bool = False
    """Whether the receiver wants no more of this webhook."""


class Sender:
    """Sends webhooks to a URL.

    Args:
        url: where to.
        key: signs them.
        transport: carries the requests, if not HTTP.
        clock: seconds since the epoch.

    """

    def __init__(
        self,
        url: str,
        key: bytes,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url = url
        self._key = key
        self._clock = clock
        self._client = httpx.AsyncClient(
            transport=transport, timeout=REQUEST_SECONDS, trust_env=False
        )

    async def send(self, name: str, body: bytes) -> DeliveryOutcome:
        """Send one webhook."""
        headers = {
            "content-type": "application/json",
            **signed_headers(self._key, name, body, self._clock()),
        }
        try:
            # A receiver that sends its answer byte by byte is not waited for either; and of the
            # body nothing is read.
            async with (
                asyncio.timeout(REQUEST_SECONDS),
                self._client.stream("POST", self._url, content=body, headers=headers) as response,
            ):
                status = response.status_code
        except TimeoutError:
            return DeliveryOutcome(f"no answer within {REQUEST_SECONDS:g} s")
        except httpx.HTTPError as error:
            return DeliveryOutcome(str(error)[:200] or type(error).__name__)
        if 200 <= status < 300:
            return DeliveryOutcome(None)
        return DeliveryOutcome(f"status {status}", final=status == 410)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class Deliverer:
    """Sends the webhooks that are due.

    Args:
        database: has them.
        sender: sends one.
        outcomes: counts them: ``delivered``, ``failed`` (tried again), ``given_up``.
        clock: seconds since the epoch.

    """

    def __init__(
        self,
        database: RecordsDatabase,
        sender: Sender,
        outcomes: Counter[str],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._sender = sender
        self._outcomes = outcomes
        self._clock = clock
        self._failures = 0

    @property
    def resting(self) -> bool:
        """Whether the receiver is left alone: it has answered none of many requests."""
        return self._failures > 0

    async def step(self) -> float:
        """Send some of what is due, and return the seconds until there may be more.

        Raises:
            DatabaseAwayError: the database cannot be reached. What was sent is sent again.

        """
        database = self._database
        now = moment(self._clock())
        leased = await asyncio.to_thread(database.lease, now, most=_AT_ONCE, seconds=_LEASE_SECONDS)
        if not leased:
            return _POLL_SECONDS
        results = await asyncio.gather(
            *(self._deliver(each.record, each.attempts) for each in leased)
        )
        await asyncio.to_thread(database.settle, results, moment(self._clock()))
        if any(result.error is None for result in results):
            if self._failures:
                log.info("the receiver of webhooks answers again")
            self._failures = 0
            return 0.0
        self._failures += 1
        if self._failures == 1:
            log.warning(
                "webhooks were not delivered",
                webhooks=len(results),
                reason=results[0].error,
                hint="they are sent again",
            )
        return delay_after(self._failures, first=1.0, longest=_LONGEST_REST)

    async def _deliver(self, record: str, attempts: int) -> DeliveryResult:
        found = await asyncio.to_thread(self._database.record, record)
        if found is None or found[0]["ended_at"] is None:
            return DeliveryResult(record, "there is no such call any more", None)
        call, turns = found
        body = webhook_body(call, turns)
        outcome = await self._sender.send(record, body)
        if outcome.error is None:
            self._outcomes["delivered"] += 1
            return DeliveryResult(record, None, None)
        if outcome.final or attempts >= MOST_ATTEMPTS:
            self._outcomes["given_up"] += 1
            log.error(
                "a webhook is given up", record=record, attempts=attempts, reason=outcome.error
            )
            return DeliveryResult(record, outcome.error, None)
        self._outcomes["failed"] += 1
        seconds = delay_after(attempts, first=_FIRST_DELAY, longest=_LONGEST_DELAY)
        return DeliveryResult(record, outcome.error, moment(self._clock() + seconds))


class DeliveryThread:
    """Runs a deliverer in an event loop of its own, so that a slow receiver harms nothing.

    Args:
        database: has the webhooks.
        url: where to.
        key: signs them.
        outcomes: counts what became of them.

    """

    def __init__(
        self, database: RecordsDatabase, url: str, key: bytes, outcomes: Counter[str]
    ) -> None:
        self._database = database
        self._url = url
        self._key = key
        self._outcomes = outcomes
        self._due = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="call records: webhooks", daemon=True
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Look at once at what is due, unless the receiver is left alone."""
        self._due.set()

    def close(self, seconds: float) -> None:
        """Send what is due, as far as there is time. The rest is sent after the next start."""
        self._closing.set()
        self._due.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        asyncio.run(self._deliver())

    async def _deliver(self) -> None:
        sender = Sender(self._url, self._key)
        deliverer = Deliverer(self._database, sender, self._outcomes)
        try:
            while True:
                # What is due when the end comes is sent, so it is looked at once more after that.
                closing = self._closing.is_set()
                try:
                    delay, rests = await deliverer.step(), deliverer.resting
                except DatabaseAwayError:
                    delay, rests = _POLL_SECONDS, True
                except Exception:
                    log.exception("webhooks could not be sent")
                    delay, rests = _LONGEST_REST, True
                if not delay:
                    continue
                if closing:
                    break
                # Each call that ends is due. It must not shorten a rest.
                woken = self._closing if rests else self._due
                await asyncio.to_thread(woken.wait, delay)
                self._due.clear()
                if rests and self._closing.is_set():
                    break
        finally:
            await sender.close()
