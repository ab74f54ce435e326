import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from mediaserver.agents.conversing.call_tasks import CallTasks
from mediaserver.call import StreamEndedError


async def plainly(work: Coroutine[Any, Any, None]) -> None:
    await work


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_a_task_is_named_after_its_call() -> None:
    async with asyncio.TaskGroup() as group:
        tasks = CallTasks(group, "call 7", plainly)
        task = tasks.start(for_ever(), "listens")
        assert task.get_name() == "call 7 listens"
        await tasks.cancel()


async def test_tasks_are_cancelled_and_waited_for() -> None:
    async def linger() -> None:
        try:
            await for_ever()
        finally:
            await asyncio.sleep(0)
            left.append(True)

    left: list[bool] = []
    async with asyncio.TaskGroup() as group:
        tasks = CallTasks(group, "call", plainly)
        tasks.start(linger(), "lingers")
        await asyncio.sleep(0)
        await tasks.cancel()
        assert left == [True]


async def test_a_task_that_may_finish_is_not_cancelled() -> None:
    async def use() -> None:
        await go.wait()
        done.append(True)

    go, done = asyncio.Event(), [False][1:]
    async with asyncio.TaskGroup() as group:
        tasks = CallTasks(group, "call", plainly)
        tasks.start(use(), "tool", finishes=True)
        await tasks.cancel()
        go.set()
    assert done == [True]


async def test_an_exception_in_a_task_ends_the_group() -> None:
    async def fail() -> None:
        raise LookupError("gone")

    with pytest.raises(ExceptionGroup, match="unhandled"):
        async with asyncio.TaskGroup() as group:
            CallTasks(group, "call", plainly).start(fail(), "fails")


async def test_after_the_end_no_task_is_started_and_no_work_is_left_behind() -> None:
    work = for_ever()
    async with asyncio.TaskGroup() as group:
        tasks = CallTasks(group, "call", plainly)
        tasks.end()
        with pytest.raises(StreamEndedError, match="listens was not started"):
            tasks.start(work, "listens")
    assert work.cr_frame is None  # type: ignore[attr-defined]


async def test_a_task_that_is_cancelled_before_it_begins_leaves_no_work_behind() -> None:
    work = for_ever()
    async with asyncio.TaskGroup() as group:
        tasks = CallTasks(group, "call", plainly)
        tasks.start(work, "listens")
        await tasks.cancel()
    assert work.cr_frame is None  # type: ignore[attr-defined]
