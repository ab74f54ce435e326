"""What a member of the fleet does all the time, beside its calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final


_AGAIN_SECONDS: Final = 0.1


@asynccontextmanager
async def doing(**works: Coroutine[Any, Any, object]) -> AsyncIterator[None]:
    """Do work within the block, in tasks that have the names of the arguments.

    At the end of the block each task is cancelled, again and again until it ends. redis-py sends
    with `asyncio.wait_for`, and on Python 3.11 that loses a cancellation which comes just as it
    succeeds (python/cpython issue 86296): the work would go on for ever.
    """
    tasks = {asyncio.create_task(work, name=f"fleet {name}") for name, work in works.items()}
    try:
        yield
    finally:
        while tasks:
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=_AGAIN_SECONDS)
