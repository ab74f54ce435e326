import asyncio
from collections.abc import AsyncIterator

from mediaserver.testing.tasks import standing


async def deep(event: asyncio.Event) -> None:
    await event.wait()


async def deeper(event: asyncio.Event) -> None:
    await deep(event)


async def test_a_task_stands_at_the_lines_that_it_waits_at() -> None:
    event = asyncio.Event()
    task = asyncio.create_task(deeper(event), name="the task")
    await asyncio.sleep(0)
    first = deeper.__code__.co_firstlineno + 1
    assert standing(task).startswith(f"'the task' waits at test_tasks.py:{first} deeper → ")
    assert "test_tasks.py" in standing(task).split(" → ")[1]
    event.set()
    await task


async def test_a_task_in_an_async_generator_stands_at_the_loop() -> None:
    async def pieces() -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield

    async def reading() -> None:
        async for _ in pieces():
            pass

    task = asyncio.create_task(reading())
    await asyncio.sleep(0)
    assert "reading" in standing(task)
    task.cancel()


async def test_a_task_that_is_over_stands_at_its_end() -> None:
    task = asyncio.create_task(asyncio.sleep(0), name="over")
    await task
    assert standing(task) == "'over' waits at its end"
