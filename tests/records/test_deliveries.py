import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import httpx
import pytest

from mediaserver.records.batches import Batch, moment
from mediaserver.records.database import DatabaseAwayError, RecordsDatabase
from mediaserver.records.deliveries import (
    _LONGEST_REST,
    _POLL_SECONDS,
    Deliverer,
    DeliveryThread,
    Sender,
)
from mediaserver.records.signing import check_signed
from mediaserver.testing import run_virtual
from tests.records.conftest import over, turn


NOW = 1_800_000_100.0
KEY = b"k" * 16
URL = "https://crm.example.com/calls?tenant=7"


class Receiver:
    """Answers with these statuses, the last of which stays."""

    def __init__(self, *statuses: int | Exception) -> None:
        self.statuses = list(statuses)
        self.requests: list[httpx.Request] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if isinstance(status, Exception):
            raise status
        return httpx.Response(status, text="thanks")


class Delivered:
    """A deliverer whose clock is moved by hand."""

    def __init__(self, database: RecordsDatabase, receiver: Receiver) -> None:
        self.now = NOW
        self.outcomes: Counter[str] = Counter()
        transport = httpx.MockTransport(receiver)
        self.sender = Sender(URL, KEY, transport=transport, clock=lambda: self.now)
        self.deliverer = Deliverer(database, self.sender, self.outcomes, clock=lambda: self.now)

    def step(self) -> float:
        return asyncio.run(self.deliverer.step())


def test_a_receiver_is_told_of_a_call_with_a_signature(sqlite_database: RecordsDatabase) -> None:
    sqlite_database.write(Batch([over(), turn()], "j1"), webhook_due=moment(NOW))
    receiver = Receiver(204)
    delivered = Delivered(sqlite_database, receiver)
    assert delivered.step() == 0.0
    (request,) = receiver.requests
    assert str(request.url) == URL
    check_signed(KEY, request.headers, request.content, NOW)
    body = json.loads(request.content)
    assert body["data"]["id"] == request.headers["webhook-id"] == "r1"
    assert len(body["data"]["turn_list"]) == 1
    assert delivered.outcomes == {"delivered": 1}
    assert delivered.step() > 0
    assert len(receiver.requests) == 1


def test_a_webhook_is_sent_again_with_growing_delays(sqlite_database: RecordsDatabase) -> None:
    sqlite_database.write(Batch([over()], "j1"), webhook_due=moment(NOW))
    receiver = Receiver(500, httpx.ConnectError("refused"), 302, 200)
    delivered = Delivered(sqlite_database, receiver)
    times = []
    for _ in range(40):
        before = len(receiver.requests)
        delivered.step()
        if len(receiver.requests) > before:
            times.append(delivered.now - NOW)
        delivered.now += 1.0
    assert len(times) == 4
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert 4 <= gaps[0] <= 6
    assert 8 <= gaps[1] <= 11
    assert 16 <= gaps[2] <= 21
    assert delivered.outcomes == {"failed": 3, "delivered": 1}
    assert len({each.headers["webhook-id"] for each in receiver.requests}) == 1


def test_a_receiver_that_wants_no_more_gets_no_more(
    sqlite_database: RecordsDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    sqlite_database.write(Batch([over()], "j1"), webhook_due=moment(NOW))
    delivered = Delivered(sqlite_database, Receiver(410))
    delivered.step()
    assert delivered.outcomes == {"given_up": 1}
    assert "given up" in caplog.text
    assert sqlite_database.waiting_deliveries() == 0


def test_a_webhook_is_given_up_in_the_end(
    sqlite_database: RecordsDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mediaserver.records.deliveries.MOST_ATTEMPTS", 4)
    sqlite_database.write(Batch([over()], "j1"), webhook_due=moment(NOW))
    delivered = Delivered(sqlite_database, Receiver(500))
    steps = 0
    while sqlite_database.waiting_deliveries():
        delivered.step()
        delivered.now += 3_700
        steps += 1
    assert steps == 4
    assert delivered.outcomes["given_up"] == 1


def test_a_receiver_that_answers_nothing_is_left_alone_for_a_while(
    sqlite_database: RecordsDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    records = [over(f"r{number}") for number in range(60)]
    sqlite_database.write(Batch(records, "j1"), webhook_due=moment(NOW))
    receiver = Receiver(*[500] * 48, 200)
    delivered = Delivered(sqlite_database, receiver)
    assert 0.8 <= delivered.step() <= 1.0
    assert 1.6 <= delivered.step() <= 2.0
    assert 3.2 <= delivered.step() <= 4.0
    assert caplog.text.count("webhooks were not delivered") == 1
    assert delivered.step() == 0.0


def test_the_webhook_of_a_call_that_was_deleted_is_not_sent(
    sqlite_database: RecordsDatabase,
) -> None:
    sqlite_database.write(Batch([over()], "j1"), webhook_due=moment(NOW))
    receiver = Receiver(200)
    delivered = Delivered(sqlite_database, receiver)
    with sqlite_database.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM calls")
    delivered.step()
    assert receiver.requests == []
    assert sqlite_database.waiting_deliveries() == 0


def test_a_receiver_that_does_not_answer_is_not_waited_for() -> None:
    class Silent(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await asyncio.sleep(3_600)
            raise AssertionError

    async def send() -> Any:
        sender = Sender(URL, KEY, transport=Silent())
        started = asyncio.get_running_loop().time()
        outcome = await sender.send("r1", b"{}")
        await sender.close()
        return outcome, asyncio.get_running_loop().time() - started

    outcome, seconds = run_virtual(send())
    assert outcome.error == "no answer within 10 s"
    assert seconds == pytest.approx(10.0)


@pytest.mark.parametrize("fault", [None, DatabaseAwayError("away"), RuntimeError("unforeseen")])
def test_calls_that_end_shorten_no_rest(
    sqlite_database: RecordsDatabase,
    fault: Exception | None,
    wait_until: Callable[[Callable[[], object]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[float] = []

    async def step(self: Deliverer) -> float:
        steps.append(NOW)
        thread.wake()
        self._failures += 1
        if fault is not None:
            raise fault
        return 3_600.0

    rests: list[threading.Event] = []
    wait = threading.Event.wait

    def noted(event: threading.Event, timeout: float | None = None) -> bool:
        if timeout in (3_600.0, _POLL_SECONDS, _LONGEST_REST):
            rests.append(event)
        return wait(event, timeout)

    monkeypatch.setattr(Deliverer, "step", step)
    monkeypatch.setattr(threading.Event, "wait", noted)
    thread = DeliveryThread(sqlite_database, URL, KEY, Counter())
    thread.start()
    wait_until(lambda: rests)
    thread.wake()
    # The end is noticed at once, and what is left is sent after the next start.
    thread.close(60)
    assert len(steps) == len(rests) == 1


def test_what_is_due_at_the_end_is_sent(
    sqlite_database: RecordsDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = threading.Event()
    steps: list[str] = []

    async def step(self: Deliverer) -> float:
        steps.append("looked")
        looked.set()
        return 3_600.0

    monkeypatch.setattr(Deliverer, "step", step)
    thread = DeliveryThread(sqlite_database, URL, KEY, Counter())
    thread.start()
    assert looked.wait(60)
    thread.close(60)
    assert len(steps) == 2


def test_a_thread_sends_what_is_due(
    sqlite_database: RecordsDatabase,
    wait_until: Callable[[Callable[[], object]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    receiver = Receiver(200)
    client = httpx.AsyncClient
    monkeypatch.setattr(
        "mediaserver.records.deliveries.httpx.AsyncClient",
        lambda **more: client(**{**more, "transport": httpx.MockTransport(receiver)}),
    )
    outcomes: Counter[str] = Counter()
    thread = DeliveryThread(sqlite_database, URL, KEY, outcomes)
    thread.start()
    sqlite_database.write(Batch([over("a")], "j1"), webhook_due=moment(NOW - 1e9))
    thread.wake()
    wait_until(lambda: outcomes["delivered"] == 1)
    sqlite_database.write(Batch([over("b")], "j1"), webhook_due=moment(NOW - 1e9))
    thread.close(60)
    assert outcomes == {"delivered": 2}
