import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mediaserver.server.peaks import Peaks
from mediaserver.server.process.watchdog import BEAT_INTERVAL, Watchdog


class Figures:
    loop_lag = 0.0
    loop_lag_max = 0.0
    loop_blocks = 0
    lag_peaks = Peaks()


class Clock:
    now = 10.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the watchdog logs."""
    logged = []
    monkeypatch.setattr(
        "mediaserver.server.process.watchdog.log.warning", lambda event, **more: logged.append(more)
    )
    return logged


@pytest.fixture
async def watchdog(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> AsyncIterator[Watchdog]:
    """A watchdog of this loop, on a clock of its own and without its thread."""
    monkeypatch.setattr(Watchdog, "_watch", lambda self, warn_after: None)
    watchdog = Watchdog(Figures(), warn_after=1.0, clock=clock)
    watchdog.start()
    yield watchdog
    watchdog.stop()


async def test_a_loop_that_beats_is_not_reported(
    clock: Clock, watchdog: Watchdog, warnings: list[Any]
) -> None:
    clock.now += BEAT_INTERVAL + 0.9
    assert not watchdog.check()
    assert not warnings


async def test_a_blocked_loop_is_reported_once_with_the_task_in_it(
    clock: Clock, watchdog: Watchdog, warnings: list[Any]
) -> None:
    async def busy() -> None:
        clock.now += BEAT_INTERVAL + 1.5
        watcher = threading.Thread(target=lambda: (watchdog.check(), watchdog.check()))
        watcher.start()
        watcher.join()

    await asyncio.create_task(busy(), name="call 17 Dawdler")
    assert len(warnings) == 1
    assert warnings[0]["by"] == "call 17 Dawdler"
    assert warnings[0]["seconds"] == 1.5
    lines = warnings[0]["stack"].splitlines()
    assert " in busy" in lines[0]
    assert watchdog._figures.loop_blocks == 1


async def test_a_second_block_is_reported_again(
    clock: Clock, watchdog: Watchdog, warnings: list[Any]
) -> None:
    clock.now += 5
    assert watchdog.check()
    watchdog._beat()
    clock.now += 5
    assert watchdog.check()


async def test_a_callback_that_blocks_has_no_task(
    clock: Clock, watchdog: Watchdog, warnings: list[Any]
) -> None:
    done = asyncio.get_running_loop().create_future()

    def block() -> None:
        clock.now += 5
        watcher = threading.Thread(target=watchdog.check)
        watcher.start()
        watcher.join()
        done.set_result(None)

    asyncio.get_running_loop().call_soon(block)
    await done
    assert warnings[0]["by"] == "a callback, no task"


async def test_the_lag_is_how_late_a_beat_is(clock: Clock, watchdog: Watchdog) -> None:
    clock.now += BEAT_INTERVAL + 0.25
    watchdog._beat()
    assert watchdog._figures.loop_lag == pytest.approx(0.25)
    clock.now += BEAT_INTERVAL
    watchdog._beat()
    assert watchdog._figures.loop_lag == pytest.approx(0.0)
    assert watchdog._figures.loop_lag_max == pytest.approx(0.25)


async def test_switched_off_it_still_measures(clock: Clock, warnings: list[Any]) -> None:
    watchdog = Watchdog(Figures(), warn_after=None, clock=clock)
    watchdog.start()
    clock.now += 60
    assert not watchdog.check()
    watchdog._beat()
    assert watchdog._figures.loop_lag > 0
    watchdog.stop()


async def test_the_thread_notices_a_real_block(monkeypatch: pytest.MonkeyPatch) -> None:
    noticed = threading.Event()
    logged = {}

    def warn(event: Any, **more: Any) -> None:
        logged.update(more)
        noticed.set()

    monkeypatch.setattr("mediaserver.server.process.watchdog.log.warning", warn)
    watchdog = Watchdog(Figures(), warn_after=0.01)
    watchdog.start()

    async def dawdle() -> None:
        assert noticed.wait(30)

    await asyncio.create_task(dawdle(), name="call 18 Dawdler")
    watchdog.stop()
    watchdog.stop()
    assert logged["by"] == "call 18 Dawdler"
