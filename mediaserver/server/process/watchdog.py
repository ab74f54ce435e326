"""Detects what blocks the event loop.

One handler that computes or waits without ``await`` makes every call of the process stutter, and
the calls themselves do not show which one it is. A regular beat on the loop measures how late the
loop is. A thread notices when the beat stops, and logs the stack of the loop's thread.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from mediaserver.server.peaks import Peaks


log = structlog.get_logger(__name__)

BEAT_INTERVAL: Final = 0.05
"""Seconds between beats."""

_STACK_FRAMES: Final = 12


class LoopFigures(Protocol):
    """The counters of the loop's lag, such as a server's."""

    loop_lag: float
    loop_lag_max: float
    loop_blocks: int
    lag_peaks: Peaks


class Watchdog:
    """Measures the lag of the event loop, and logs what blocks it.

    Args:
        figures: Counts lag and blocks.
        warn_after: Seconds without a beat after which the loop counts as blocked; None to only
            measure.
        clock: Monotonic seconds.

    Blocking tasks are logged by name; the names of handlers' tasks have the call and the handler.

    """

    def __init__(
        self,
        figures: LoopFigures,
        *,
        warn_after: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._figures = figures
        self._warn_after = warn_after
        self._clock = clock
        self._beaten = clock()
        self._reported = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start watching the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._beaten = self._clock()
        self._timer = self._loop.call_later(BEAT_INTERVAL, self._beat)
        if self._warn_after is not None:
            self._thread = threading.Thread(
                target=self._watch, args=(self._warn_after,), name="watchdog", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Stop watching. Repeating it does nothing."""
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def check(self) -> bool:
        """Log a block that has not been logged yet, and tell whether there was one."""
        if self._warn_after is None or self._reported or self._loop is None:
            return False
        silent = self._clock() - self._beaten - BEAT_INTERVAL
        if silent < self._warn_after:
            return False
        self._reported = True
        self._figures.loop_blocks += 1
        log.warning(
            "event loop blocked",
            seconds=round(silent, 3),
            by=running_task(self._loop),
            stack=stack_of(self._loop_thread),
            hint="await it, or pass it to stream.run_blocking()",
        )
        return True

    def _beat(self) -> None:
        now = self._clock()
        lag = max(0.0, now - self._beaten - BEAT_INTERVAL)
        self._figures.loop_lag = lag
        self._figures.loop_lag_max = max(lag, self._figures.loop_lag_max)
        self._figures.lag_peaks.add(now, lag)
        self._beaten = now
        self._reported = False
        assert self._loop is not None
        self._timer = self._loop.call_later(BEAT_INTERVAL, self._beat)

    def _watch(self, warn_after: float) -> None:
        while not self._stopped.wait(warn_after / 2):
            self.check()


def running_task(loop: asyncio.AbstractEventLoop) -> str:
    """Return the name of the task that `loop` is running; for use from another thread."""
    task = asyncio.current_task(loop)
    return "a callback, no task" if task is None else task.get_name()


def stack_of(thread: int) -> str:
    """Return the stack below a thread's event loop, innermost last: file, line and function."""
    frame = sys._current_frames().get(thread)
    if frame is None:
        return ""
    frames = list(traceback.extract_stack(frame))
    # Frames outside the loop do not show what it runs.
    outer = [index for index, each in enumerate(frames) if _is_the_loop(each)]
    frames = frames[outer[-1] + 1 if outer else 0 :][-_STACK_FRAMES:]
    return "\n".join(f"{each.filename}:{each.lineno} in {each.name}" for each in frames)


def _is_the_loop(frame: traceback.FrameSummary) -> bool:
    folder, _, file = frame.filename.replace("\\", "/").rpartition("/")
    place = (file, frame.name)
    return folder.endswith("/asyncio") and place in (("runners.py", "run"), ("events.py", "_run"))
