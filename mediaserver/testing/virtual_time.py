"""An event loop whose clock jumps to the next timer when nothing is ready to run."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar


T = TypeVar("T")


class StalledError(RuntimeError):
    """Nothing is ready, no timer is set, and nothing can happen any more."""


class _Selector(selectors.DefaultSelector):
    """Polls, and has the clock jump where another selector would wait."""

    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise StalledError(
                "every task waits for something that cannot come: no timer is set, and no socket "
                "of this loop has data. Threads and other processes do not run in virtual time"
            )
        self.loop.advance(timeout)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Runs a minute of call in a fraction of a second, the same every time.

    `time` starts at 0 and moves only when every task waits: then it jumps to the next timer.
    Sockets work as long as both ends are in this loop, and `run_in_executor` runs at once. Threads,
    processes and whatever waits for the outside world do not belong here.
    """

    def __init__(self) -> None:
        self._now = 0.0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Return virtual seconds since the loop was made."""
        return self._now

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Run `func` here and now: a thread would take real time, in which the clock stands."""
        answer: asyncio.Future[T] = self.create_future()
        try:
            answer.set_result(func(*args))
        except Exception as error:
            answer.set_exception(error)
        return answer

    def advance(self, seconds: float) -> None:
        """Move the clock on without running anything: what a stalled event loop does."""
        self._now += seconds


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time, and return what it returns.

    Raises:
        StalledError: if it waits for something that can never come.

    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


def stall(seconds: float) -> None:
    """Block the running virtual loop, as ``time.sleep`` blocks a real one."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualTimeLoop):
        raise RuntimeError("stall() is for run_virtual()")
    loop.advance(seconds)
