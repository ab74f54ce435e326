"""The echo of `marked_echo`, in processes that write down how many tasks they have."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from benchmarks.servers.marked_echo import MarkedEcho
from mediaserver.routes import Route, Routes


TASKS = "SOAK_TASKS"
"""Name of the environment variable with a folder, for a file for each process."""

_SECONDS = 1.0


@contextlib.asynccontextmanager
async def counting() -> AsyncIterator[None]:
    """Write the number of tasks into a file while calls are served."""
    task = asyncio.create_task(_count(Path(os.environ[TASKS], str(os.getpid()))))
    try:
        yield
    finally:
        task.cancel()


async def _count(file: Path) -> None:
    while True:
        # First of all the server starts its own.
        await asyncio.sleep(_SECONDS)
        new = file.with_suffix(".new")
        new.write_text(str(len(asyncio.all_tasks())))
        new.replace(file)  # whole, whenever it is read


ROUTES = Routes(Route(MarkedEcho), lifespan=counting)
