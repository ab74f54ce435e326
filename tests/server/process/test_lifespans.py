import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import pytest
from structlog.testing import capture_logs

from mediaserver.server.process.lifespans import (
    AskedToStopError,
    LifespanError,
    LifespanInterruption,
    wait_for_lifespans,
)


class Wait:
    """A wait for one piece of work, in virtual time."""

    def __init__(self, limit: float = 60.0) -> None:
        self.limit = limit
        self.stopped = False
        self.ticks = 0

    async def of(self, work: Coroutine[Any, Any, None]) -> None:
        self.task = asyncio.create_task(work)
        await wait_for_lifespans(
            self.task,
            "starting",
            what=lambda: "the lifespan of x:X",
            limit=self.limit,
            asked_to_stop=lambda: self.stopped,
            tick=self._tick,
        )

    async def _tick(self, number: int) -> None:
        self.ticks += 1


async def for_ever() -> None:
    await asyncio.Event().wait()


async def fail(error: BaseException) -> None:
    raise error


async def test_a_quick_start_is_not_mentioned() -> None:
    with capture_logs() as logged:
        await Wait().of(asyncio.sleep(0.5))
    assert logged == []


async def test_a_slow_start_is_logged_with_what_is_awaited() -> None:
    wait = Wait()
    with capture_logs() as logged:
        await wait.of(asyncio.sleep(25))
    assert [round(line["seconds"]) for line in logged] == [1, 11, 21]
    assert {line["event"] for line in logged} == {"starting"}
    assert logged[0]["awaiting"] == "the lifespan of x:X"
    assert logged[0]["at_most_seconds"] == 60
    # The server's periodic work goes on.
    assert wait.ticks > 200


async def test_a_start_that_takes_too_long_says_what_and_where() -> None:
    wait = Wait(limit=5)
    with pytest.raises(LifespanError, match="the lifespan of x:X took more than 5 s") as raised:
        await wait.of(for_ever())
    assert "test_lifespans.py:" in str(raised.value)
    assert "in for_ever" in str(raised.value)
    assert wait.task.cancelled()


async def test_a_server_that_is_asked_to_stop_waits_no_longer() -> None:
    wait = Wait()
    asyncio.get_running_loop().call_later(3, lambda: setattr(wait, "stopped", True))
    with pytest.raises(AskedToStopError):
        await wait.of(for_ever())
    assert asyncio.get_running_loop().time() < 4
    assert wait.task.cancelled()


async def test_a_start_that_is_complete_counts_although_a_signal_came() -> None:
    wait = Wait()
    wait.stopped = True
    await wait.of(asyncio.sleep(0))


async def test_what_a_lifespan_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await Wait().of(fail(ZeroDivisionError()))


async def test_blocking_code_that_a_signal_interrupted_was_asked_to_stop() -> None:
    with pytest.raises(AskedToStopError):
        await Wait().of(fail(LifespanInterruption()))


async def test_a_lifespan_that_resists_is_left_behind() -> None:
    end = asyncio.Event()

    async def resist() -> None:
        while not end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await end.wait()

    wait = Wait(limit=1)
    with capture_logs() as logged, pytest.raises(LifespanError):
        await wait.of(resist())
    assert not wait.task.done()
    assert logged[-1]["event"] == "a lifespan goes on although it was cancelled"
    end.set()
    await wait.task


async def test_an_error_during_the_cancellation_is_not_left_unread() -> None:
    async def fail_when_cancelled() -> None:
        try:
            await for_ever()
        finally:
            raise ZeroDivisionError

    with pytest.raises(LifespanError):
        await Wait(limit=1).of(fail_when_cancelled())
