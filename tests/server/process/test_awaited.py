import asyncio
import contextlib
from collections.abc import AsyncIterator

from mediaserver.server.process.awaited import awaited_at


async def for_ever() -> None:
    await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def lifespan() -> AsyncIterator[None]:
    await for_ever()
    yield


async def enter() -> None:
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(lifespan())


async def test_the_innermost_line_of_the_application_is_named() -> None:
    task = asyncio.create_task(enter())
    await asyncio.sleep(0.01)
    line = for_ever.__code__.co_firstlineno + 1
    assert awaited_at(task) == f"test_awaited.py:{line} in for_ever"
    task.cancel()
    await asyncio.wait([task])
    assert awaited_at(task) == ""
