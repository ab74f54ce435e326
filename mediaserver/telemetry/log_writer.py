"""Writes log lines from a thread of its own, so that nobody waits for whoever reads them.

A terminal that is held, a full disk or a collector that has stopped reading blocks a write to
standard error for any length of time. On the event loop it would block every call.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

import structlog


_LIMIT: Final = 4_194_304
"""Bytes of lines that may wait; further lines are dropped and counted."""

_AT_ONCE: Final = 4_096
"""Most bytes of several lines in one write. Workers may write to one pipe, and the lines of another
process may come into the midst of a longer write (pipe(7), PIPE_BUF)."""

_GATHERS: Final = 0.05
"""Seconds for which lines are gathered before they are written. Whenever the thread wakes, it takes
the interpreter from the event loop's thread, which costs more than to make a line."""

_PATIENCE: Final = 1.0
"""Seconds that `LogWriter.flush` waits for a reader that takes nothing."""

log = structlog.get_logger(__name__)


class LogWriter(logging.Handler):
    """A handler that never blocks: it queues lines, and a thread writes them.

    Lines are written together, a moment after the first of them; errors are written at once, with
    what came before. Lines are dropped and counted while too many wait. Once all that waited is
    written, a line tells how many were dropped.

    Args:
        descriptor: the file descriptor that is written to.
        limit: bytes that may wait.
        write: writes bytes to a file descriptor and returns how many it took.

    """

    def __init__(
        self,
        descriptor: int,
        *,
        limit: int = _LIMIT,
        write: Callable[[int, bytes], int] = os.write,
    ) -> None:
        super().__init__()
        self.dropped = 0
        """Lines that were dropped."""
        self._told = 0
        self._descriptor = descriptor
        self._limit = limit
        self._write = write
        # Lines, and what `flush` waits for.
        self._lines: SimpleQueue[bytes | threading.Event | None] = SimpleQueue()
        # Bytes ever queued, counted by those who log, and ever written, counted by the thread.
        self._queued = 0
        self._written = 0
        # A line that did not fit into the last write; known to the thread alone.
        self._ahead = b""
        # Set when what waits is to be written at once.
        self._urgent = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """Number of bytes that are not written yet."""
        return self._queued - self._written

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line."""
        try:
            text = self.format(record)
        except Exception as error:
            text = f"a log message could not be formatted: {error!r:.200}"
        line = f"{text}\n".encode("utf-8", "backslashreplace")
        if self._closed:
            self._write_late(line)
            return
        if self.waiting + len(line) > self._limit:
            self.dropped += 1
            return
        self._queued += len(line)
        self._lines.put(line)
        if record.levelno >= logging.ERROR:
            self._urgent.set()
        # A thread does not survive a fork, and is not needed before the first line.
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
            self._thread.start()

    def flush(self) -> None:
        """Wait until everything is written, unless nobody reads it."""
        if self._thread is None or not self._thread.is_alive():
            return
        done, written = threading.Event(), self._written
        self._urgent.set()
        self._lines.put(done)
        while not done.wait(_PATIENCE) and self._written != written:
            written = self._written

    def close(self) -> None:
        """End the thread once it has written what waits. Call `flush` first to wait for that."""
        self._closed = True
        self._urgent.set()
        self._lines.put(None)
        super().close()

    def _run(self) -> None:
        item: bytes | threading.Event | None = b""
        while item is not None:
            lines, item = self._take()
            if lines:
                text = b"".join(lines)
                self._write_whole(text, len(lines))
                self._written += len(text)
            if isinstance(item, bytes):
                if self._lines.empty() and not self._ahead:
                    self._tell_dropped()
            elif item is not None and self._tell_dropped():
                self._lines.put(item)  # behind the line that tells it
            elif item is not None:
                item.set()

    def _take(self) -> tuple[list[bytes], bytes | threading.Event | None]:
        """Wait for lines, and return those that one write takes, and what comes behind them.

        What comes behind is the end, somebody who waits in `flush`, or nothing yet, which is no
        bytes.
        """
        lines: list[bytes] = []
        size = 0
        item = self._ahead or self._next()
        self._ahead = b""
        while isinstance(item, bytes):
            size += len(item)
            if lines and size > _AT_ONCE:
                self._ahead = item
                return lines, b""
            lines.append(item)
            if self._lines.empty():
                return lines, b""
            item = self._lines.get()
        return lines, item

    def _next(self) -> bytes | threading.Event | None:
        """Wait for what comes next, and if it is a line, for those that follow it soon."""
        waits = self._lines.empty()
        item = self._lines.get()
        if waits and isinstance(item, bytes):
            self._urgent.wait(_GATHERS)
        self._urgent.clear()
        return item

    def _tell_dropped(self) -> bool:
        dropped, self._told = self.dropped - self._told, self.dropped
        if dropped:
            log.warning("log lines were dropped: nobody read them in time", lines=dropped)
        return dropped > 0

    def _write_whole(self, text: bytes, lines: int) -> None:
        while text:
            try:
                text = text[self._write(self._descriptor, text) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except OSError:
                # Nobody will ever read it, or the disk is full: there is no place to say so.
                self.dropped += lines
                self._told += lines
                return

    def _write_late(self, line: bytes) -> None:
        """Write a line of an interpreter that ends, as far as it cannot block."""
        with contextlib.suppress(OSError):
            if select.select([], [self._descriptor], [], 0)[1]:
                self._write(self._descriptor, line[: select.PIPE_BUF])
