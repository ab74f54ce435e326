"""Work that handlers do once their call is over, such as a summary or an upload."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from mediaserver.call import StreamReport
from mediaserver.containment import Containment, tell_of_failures
from mediaserver.stream import AfterCall


log = structlog.get_logger("mediaserver.calls")

_STOPPING = 1.0
"""Seconds in which work that was cancelled must stop; nobody waits for it any longer."""


class AfterCalls:
    """Runs the work after calls, and says whether some is being done.

    Args:
        seconds: how long the work after one call may take.
        failed: takes what it raised, and by keyword the ids of the call and the handler.

    """

    def __init__(self, *, seconds: float, failed: Callable[..., object]) -> None:
        self._seconds = seconds
        self._failed = failed
        # With the time until which it is waited for.
        self._tasks: dict[asyncio.Task[None], float] = {}

    def __len__(self) -> int:
        """Return the number of tasks that a shutdown waits for."""
        now = asyncio.get_running_loop().time()
        return sum(until > now for until in self._tasks.values())

    def start(self, works: Sequence[AfterCall], report: StreamReport, ids: dict[str, str]) -> None:
        """Start the work after a call."""
        loop = asyncio.get_running_loop()
        for work in works:
            task = loop.create_task(
                self._run(work, report, ids),
                name=f"call {report.call_id} {ids['handler']} after the call",
            )
            self._tasks[task] = loop.time() + self._seconds + _STOPPING
            task.add_done_callback(self._tasks.pop)

    async def finish(self) -> None:
        """Wait for all work, each for as long as it may take."""
        while len(self):
            now = asyncio.get_running_loop().time()
            await asyncio.wait(self._tasks, timeout=max(self._tasks.values()) - now)

    async def _run(self, work: AfterCall, report: StreamReport, ids: dict[str, str]) -> None:
        failed = partial(self._failed, **ids)
        tell_of_failures(failed)
        limit = asyncio.timeout(self._seconds)
        try:
            with Containment():
                async with limit:
                    await work(report)
        except Exception as error:
            if limit.expired():
                log.error(
                    "work after the call was cancelled",
                    seconds=self._seconds,
                    hint="--after-call-seconds allows more",
                    **ids,
                )
            failed(error)
