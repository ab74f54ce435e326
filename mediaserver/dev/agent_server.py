"""The agent's server under development: a process that is started again when a file changes."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import httpx
from msgspec import structs

from mediaserver.dev.agent_process import LIFELINE
from mediaserver.dev.agent_state import MOST_LINES, AgentState, reason_of_end


_ASK_SECONDS: Final = 0.1
"""Seconds between two questions whether it is ready."""

_STOP_SECONDS: Final = 5.0
"""Seconds for it to stop, after which it is killed."""

_READ_SECONDS: Final = 1.0
"""Seconds in which its last lines can be read after its end."""

_LONGEST_LINE: Final = 65_536

_LONG_START: Final = 15.0
"""Seconds after which a start is called long."""

_LONG_STARTS: Final = (
    f"it has not started within {_LONG_START:g} s: its modules are still being imported, or its"
    " handler is still being prepared"
)


class AgentServer:
    """Keeps an agent's server running.

    Args:
        command: its command line.
        environment: its environment.
        admin: answers what its admin listener would: ``/readyz``, ``/calls`` and below.
        spec: the handlers, as the page names them.
        write: takes each line that the process writes, without its line break; by default it goes
            to standard error.

    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        admin: httpx.AsyncClient,
        *,
        spec: str = "",
        write: Callable[[str], object] = lambda line: print(line, file=sys.stderr, flush=True),
    ) -> None:
        self._command = command
        self._environment = environment
        self._admin = admin
        self._write = write
        self._state = AgentState(spec=spec)
        self._changed = asyncio.Event()
        self._again = asyncio.Event()
        self._written: deque[str] = deque(maxlen=MOST_LINES)

    @property
    def state(self) -> AgentState:
        """How it is now."""
        return self._state

    @property
    def why_away(self) -> str:
        """Why it takes no calls now; empty if it does."""
        state = self._state
        if state.state == "ready":
            return ""
        return state.problem or f"the agent is {state.state}: try again in a second"

    async def states(self, *, every: float | None = None) -> AsyncGenerator[AgentState, None]:
        """Yield how it is, now and whenever that changes, until it is stopped for good.

        Args:
            every: seconds after which the state is yielded again although it is the same.

        """
        while True:
            state, changed = self._state, self._changed
            yield state
            if state.state == "stopped":
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await changed.wait()

    def start_again(self) -> None:
        """Start it again, as if a file had changed."""
        self._again.set()

    async def run(self, changes: AsyncIterable[object]) -> None:
        """Run it until cancelled, and start it again at each of the changes."""
        coming = changes.__aiter__()
        change = asyncio.ensure_future(anext(coming))
        try:
            while True:
                self._again.clear()
                again = asyncio.create_task(self._again.wait())
                try:
                    async with self._process() as (process, reading):
                        ending = asyncio.create_task(process.wait())
                        await asyncio.wait(
                            {ending, change, again}, return_when=asyncio.FIRST_COMPLETED
                        )
                        if not change.done() and not again.done():
                            # A process that it has left behind may keep the pipe open.
                            await asyncio.wait({reading}, timeout=_READ_SECONDS)
                            reason = reason_of_end(list(self._written), ending.result())
                            self._become("failed", reason)
                            await asyncio.wait({change, again}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    again.cancel()
                self._become("starting")
                if change.done():
                    change.result()
                    change = asyncio.ensure_future(anext(coming))
        finally:
            change.cancel()
            self._become("stopped")

    @asynccontextmanager
    async def _process(self) -> AsyncIterator[tuple[Process, asyncio.Task[None]]]:
        """Run the process within the block, and give the task that reads what it writes."""
        self._written.clear()
        self._state = structs.replace(self._state, starts=self._state.starts + 1)
        self._become("starting")
        theirs, ours = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                env={**self._environment, LIFELINE: str(theirs)},
                pass_fds=(theirs,),
                stderr=PIPE,
                limit=_LONGEST_LINE,
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        assert process.stderr is not None
        reading = asyncio.create_task(self._read(process.stderr))
        watching = asyncio.create_task(self._look_until_ready())
        try:
            yield process, reading
        finally:
            watching.cancel()
            await _stop(process)
            os.close(ours)
            await asyncio.wait({reading}, timeout=_READ_SECONDS)
            reading.cancel()
            await asyncio.gather(watching, reading, return_exceptions=True)

    async def _read(self, stream: asyncio.StreamReader) -> None:
        """Pass on what is written, until no more can come."""
        while True:
            try:
                line = await stream.readline()
            except ValueError:
                continue  # Longer than anything that is read; the rest of it comes next.
            if not line:
                return
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            self._written.append(text)
            self._write(text)

    async def _look_until_ready(self) -> None:
        """Ask it until it takes calls, and tell why it does not."""
        loop = asyncio.get_running_loop()
        long = loop.time() + _LONG_START
        while True:
            problem = "" if loop.time() < long else _LONG_STARTS
            with suppress(httpx.TransportError):
                answer = await self._admin.get("/readyz")
                if answer.is_success:
                    # If it ends later, that has other reasons than what it told at its start.
                    self._written.clear()
                    self._become("ready")
                    return
                if (told := answer.text.strip()) != "not ready":
                    problem = told
            if problem:
                self._become("starting", problem)
            await asyncio.sleep(_ASK_SECONDS)

    def _become(self, state: str, problem: str = "") -> None:
        before = self._state
        self._state = structs.replace(before, state=state, problem=problem)
        if self._state != before:
            self._changed.set()
            self._changed = asyncio.Event()


async def _stop(process: Process) -> None:
    """End a process, whatever it does."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
                return
        process.kill()
    await process.wait()


async def changes_in(folders: Sequence[Path]) -> AsyncIterator[object]:
    """Yield whenever Python or TOML files change in folders or below.

    Raises:
        ModuleNotFoundError: watchfiles is not installed.
        OSError: they cannot be watched.

    """
    from watchfiles import PythonFilter, awatch

    takes = PythonFilter(extra_extensions=(".toml",))
    async for changes in awatch(*folders, watch_filter=takes):
        yield changes
