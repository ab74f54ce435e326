import asyncio
import contextlib
import inspect
import math
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mediaserver.testing import (
    StalledError,
    VirtualTimeLoop,
    in_virtual_time,
    run_virtual,
    stall,
)


def now() -> float:
    return asyncio.get_running_loop().time()


def test_time_begins_at_zero() -> None:
    async def main() -> float:
        return now()

    assert run_virtual(main()) == 0.0


def test_the_result_is_returned() -> None:
    async def main() -> str:
        return "done"

    assert run_virtual(main()) == "done"


def test_an_exception_comes_out() -> None:
    async def main() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run_virtual(main())


def test_a_sleep_takes_its_time_on_the_loops_clock_only() -> None:
    async def main() -> float:
        await asyncio.sleep(100 * 24 * 3600)
        return now()

    assert run_virtual(main(), within=math.inf) == 100 * 24 * 3600


def test_sleepers_wake_in_order_at_their_times() -> None:
    async def sleeper(seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append((seconds, now()))

    async def main() -> None:
        await asyncio.gather(*(sleeper(seconds) for seconds in (3.5, 0.02, 1, 0.02)))

    woken: list[Any] = []
    run_virtual(main())
    assert woken == [(0.02, 0.02), (0.02, 0.02), (1, 1.0), (3.5, 3.5)]


def test_time_stands_still_while_something_is_ready() -> None:
    async def main() -> float:
        for _ in range(1000):
            await asyncio.sleep(0)
        return now()

    assert run_virtual(main()) == 0.0


def test_a_timeout_comes_at_its_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(7):
                await asyncio.Event().wait()
        return now()

    assert run_virtual(main()) == 7.0


def test_data_on_a_socket_comes_before_the_next_timer() -> None:
    async def main() -> tuple[bytes, float]:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        _, peer = await asyncio.open_connection(sock=theirs)
        peer.write(b"hello")
        data = await reader.read(100)
        for each in (writer, peer):
            each.close()
            await each.wait_closed()
        return data, now()

    assert run_virtual(main()) == (b"hello", 0.0)


def test_every_run_is_the_same() -> None:
    async def main() -> list[tuple[float, float]]:
        async def walker(step: float) -> None:
            for _ in range(50):
                await asyncio.sleep(step)
                trace.append((step, now()))

        trace: list[Any] = []
        await asyncio.gather(*(walker(step) for step in (0.013, 0.02, 0.007)))
        return trace

    assert run_virtual(main()) == run_virtual(main())


def test_waiting_for_what_cannot_come_is_an_error() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(StalledError, match="every task waits for something that cannot come"):
        run_virtual(main())


def test_such_an_error_says_where_each_task_waits() -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        await asyncio.create_task(forever(), name="the other")

    with pytest.raises(StalledError) as stalled:
        run_virtual(main())
    task, other = str(stalled.value).splitlines()[1:]
    assert re.search(r"Task-\d+.* waits at test_virtual_time.py:\d+ .*main", task)
    assert re.search(r"'the other' waits at test_virtual_time.py:\d+ .*forever → ", other)


def test_taking_longer_than_allowed_is_an_error() -> None:
    async def main() -> None:
        while True:
            await asyncio.sleep(0.02)

    with pytest.raises(StalledError, match="not over after 60 s of its own time"):
        run_virtual(main(), within=60)


def test_a_loop_that_never_waits_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        while True:
            await asyncio.sleep(0)

    monkeypatch.setattr("mediaserver.testing.virtual_time._BUSY_TURNS", 1000)
    with pytest.raises(StalledError, match="always busy"):
        run_virtual(main())


def test_a_task_that_cannot_be_cancelled_does_not_hide_the_error() -> None:
    async def stubborn() -> None:
        for _ in range(30):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(1)

    async def main() -> None:
        task = asyncio.create_task(stubborn())
        await asyncio.sleep(5)
        raise ValueError(task.done())

    with pytest.raises(ValueError, match="False"):
        run_virtual(main())


def test_tasks_are_cancelled_after_such_an_error() -> None:
    async def main() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    cleaned: list[Any] = []
    with pytest.raises(StalledError):
        run_virtual(main())
    assert cleaned == [True]


def test_a_timer_that_was_cancelled_wakes_nobody() -> None:
    async def main() -> None:
        timer = asyncio.get_running_loop().call_later(5, int)
        await asyncio.sleep(1)
        timer.cancel()
        await asyncio.Event().wait()

    with pytest.raises(StalledError):
        run_virtual(main())


def test_a_stall_passes_time_in_which_nothing_runs() -> None:
    async def main() -> tuple[tuple[bool, float], float]:
        task = asyncio.create_task(asyncio.sleep(1))
        await asyncio.sleep(0)
        stall(5)
        during = task.done(), now()
        await task
        return during, now()

    assert run_virtual(main()) == ((False, 5.0), 5.0)


@in_virtual_time
async def test_a_test_can_run_in_virtual_time(tmp_path: Path) -> None:
    await asyncio.sleep(3600)
    assert now() == 3600
    assert tmp_path.exists()


def test_what_runs_in_virtual_time_is_an_ordinary_function() -> None:
    @in_virtual_time
    async def add(one: int, other: int = 2) -> int:
        await asyncio.sleep(1)
        return one + other

    assert add(1, other=3) == 4
    assert not inspect.iscoroutinefunction(add)
    assert add.__name__ == "add"


async def test_a_stall_is_for_virtual_time() -> None:
    with pytest.raises(RuntimeError, match="stall\\(\\) is for run_virtual"):
        stall(1)


def test_a_stall_needs_a_running_loop() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        stall(1)


def test_real_time_goes_on_as_ever() -> None:
    """The loop has a clock of its own; nothing is patched."""
    clocks = time.time, time.monotonic, time.perf_counter

    async def main() -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
        await asyncio.sleep(1)
        return time.time, time.monotonic, time.perf_counter

    assert run_virtual(main()) == clocks


def test_a_loop_can_be_advanced_by_hand() -> None:
    loop = VirtualTimeLoop()
    loop.advance(2.5)
    assert loop.time() == 2.5
    loop.close()


def test_blocking_work_runs_at_once() -> None:
    async def main() -> tuple[Callable[..., Any], float]:
        return await asyncio.to_thread(lambda: asyncio.sleep), asyncio.get_running_loop().time()

    assert run_virtual(main()) == (asyncio.sleep, 0.0)


def test_an_exception_in_blocking_work_comes_out() -> None:
    async def main() -> None:
        await asyncio.to_thread(lambda: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        run_virtual(main())
