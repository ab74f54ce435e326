"""An event loop whose clock jumps to the next timer when nothing is ready to run."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, ParamSpec, TypeVar

from mediaserver.testing.tasks import standing


P = ParamSpec("P")
T = TypeVar("T")

_BUSY_TURNS = 1_000_000
"""Consecutive turns of the loop without a pause after which it counts as spinning for ever."""

_CLEANUP = 60.0
"""Seconds of the loop's clock in which tasks must end once they have been cancelled."""


class StalledError(RuntimeError):
    """The coroutine does not return: nothing more can happen, or it takes too long."""


class _Selector(selectors.DefaultSelector):
    """Polls, and has the clock jump where another selector would wait."""

    loop: VirtualTimeLoop
    turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if ready or timeout == 0:
            self.turns += 1
            if self.turns > _BUSY_TURNS:
                self.turns = 0
                raise self.loop.stalled("the loop is always busy, so that its clock stands still")
            return ready
        self.turns = 0
        if timeout is None:
            raise self.loop.stalled(
                "every task waits for something that cannot come: no timer is set, and no socket "
                "of this loop has data. Threads and other processes do not run in virtual time"
            )
        if self.loop.time() + timeout > self.loop.until:
            raise self.loop.stalled(f"not over after {self.loop.until:g} s of its own time")
        self.loop.advance(timeout)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Runs a minute of call in a fraction of a second, the same every time.

    `time` starts at 0 and moves only when every task waits: then it jumps to the next timer.
    Sockets work as long as both ends are in this loop, and `run_in_executor` runs at once. Threads,
    processes and whatever waits for the outside world do not belong here.

    Args:
        until: the time at which whatever runs must be over.

    """

    def __init__(self, until: float = math.inf) -> None:
        self.until = until
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
        """Run `func` here and now: a thread would take real time, while the clock stands still."""
        answer: asyncio.Future[T] = self.create_future()
        try:
            answer.set_result(func(*args))
        except Exception as error:
            answer.set_exception(error)
        return answer

    def advance(self, seconds: float) -> None:
        """Move the clock on without running anything: what a stalled event loop does."""
        self._now += seconds

    def stalled(self, why: str) -> StalledError:
        """Return the error that says why, and where every task waits."""
        return StalledError("\n".join((why, *sorted(map(standing, asyncio.all_tasks(self))))))


def run_virtual(main: Coroutine[Any, Any, T], *, within: float = 24 * 3600.0) -> T:
    """Run a coroutine in virtual time, and return what it returns.

    Args:
        main: the coroutine.
        within: seconds of its own time in which it must return.

    Raises:
        StalledError: if it waits for something that can never come, or longer than `within`. The
            message has every task, and the line that it waits at.

    """
    loop = VirtualTimeLoop(until=within)
    runner = asyncio.Runner(loop_factory=lambda: loop)
    try:
        result = runner.run(main)
    except BaseException:
        loop.until = loop.time() + _CLEANUP
        # What went wrong first is what matters.
        with contextlib.suppress(StalledError):
            runner.close()
        raise
    loop.until = loop.time() + _CLEANUP
    runner.close()
    return result


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Have an ``async def`` test run by `run_virtual`; a decorator.

    The test becomes an ordinary function, for any runner and beside any plug-in. Its fixtures must
    not be async: they would run in another event loop.
    """

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return run_virtual(test(*args, **kwargs))

    return run


def stall(seconds: float) -> None:
    """Block the running virtual loop, as ``time.sleep`` blocks a real one."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualTimeLoop):
        raise RuntimeError("stall() is for run_virtual()")
    loop.advance(seconds)
