"""The tasks of one call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from mediaserver.call import StreamEndedError


StartTask: TypeAlias = Callable[[Coroutine[Any, Any, None], str], "asyncio.Task[None]"]
"""Starts a task of the call; the second argument is its name in logs."""


class CallTasks:
    """Starts the tasks of a call, and cancels them when its stream has ended.

    Args:
        group: the task group that waits for them. An exception in one of them ends the call.
        call: the name of the call, with which the names of its tasks begin.
        run: runs the work of a task.

    """

    def __init__(
        self,
        group: asyncio.TaskGroup,
        call: str,
        run: Callable[[Coroutine[Any, Any, None]], Coroutine[Any, Any, None]],
    ) -> None:
        self._group = group
        self._call = call
        self._run = run
        self._running: set[asyncio.Task[None]] = set()
        self._ended = False

    def start(
        self, work: Coroutine[Any, Any, None], name: str, *, finishes: bool = False
    ) -> asyncio.Task[None]:
        """Start a task.

        Args:
            work: what it does.
            name: its name in logs.
            finishes: whether it may finish after the end of the stream, as a tool may.

        Raises:
            StreamEndedError: if the stream has ended.

        """
        if self._ended:
            work.close()
            raise StreamEndedError(f"the stream has ended: {name} was not started")
        task = self._group.create_task(self._run(work), name=f"{self._call} {name}")
        # A task that is cancelled before it begins never runs its work.
        task.add_done_callback(lambda _: work.close())
        if not finishes:
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return task

    def end(self) -> None:
        """Start no more tasks: the stream has ended."""
        self._ended = True

    async def cancel(self) -> None:
        """Cancel the tasks, and wait until they have stopped."""
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
