"""A journal: the lines of one process on the local disk, until they are in the database.

A folder holds the journals of all processes of a machine that use one database. A journal is a
folder in it, with a file ``lock`` and segments ``00000001.jsonl``, ``00000003.jsonl``… (while the
number is even, no segment is written to). Its process holds the lock; so a journal whose lock is
free is that of a process that has ended, and whoever gets the lock takes it up. The time of the
file ``lock`` is the last at which the process lived.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Final


_LOCK: Final = "lock"
_SEGMENTS: Final = "*.jsonl"

SEGMENT_BYTES: Final = 1_048_576
"""A segment that has so many bytes is closed, and deleted once all of it is in the database."""

_SEGMENT_SECONDS: Final = 60.0
"""So is one that is so old."""


class JournalError(RuntimeError):
    """The folder of the journals cannot be used; the message says which and why."""


class JournalUnreadableError(Exception):
    """What is left of a journal cannot be read now; the message says which file and why."""


class Journal:
    """The journal of this process: the side that writes.

    Args:
        folder: holds the journals of the machine; it is made if it is not there.

    Attributes:
        lock: the descriptor of the locked file; the journal is given up with it.

    Raises:
        JournalError: the folder cannot be written to.

    """

    def __init__(self, folder: Path) -> None:
        name = f"{int(time.time()):x}-{os.getpid()}-{secrets.token_hex(4)}"
        # Nobody may find the journal before it is locked.
        made = folder / f".{name}"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            made.mkdir(mode=0o700)
            self.lock = os.open(made / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            made.rename(folder / name)
        except OSError as error:
            raise JournalError(
                f"the journal of call records cannot be written to {folder}: {error.strerror};"
                " --records-journal names another folder"
            ) from None
        self.name = name
        """Names the journal among those of all machines."""
        self.path = folder / name
        """Its folder."""
        self.segment = 0
        """The number of the segment that is written to; those before it are complete."""
        self._file = -1
        self._opened = 0.0
        self._size = 0

    def append(self, data: bytes) -> int:
        """Write as much of some lines as the disk takes; return the number of bytes written.

        Raises:
            OSError: nothing could be written.

        """
        if self._file < 0:
            path = self.path / f"{self.segment + 1:08}.jsonl"
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND
            self._file = os.open(path, flags, 0o600)
            self.segment += 1
            self._size, self._opened = 0, time.monotonic()
        written = os.write(self._file, data)
        self._size += written
        return written

    def sync(self) -> None:
        """Have the disk keep what was written even if the machine loses its power.

        Raises:
            OSError: it cannot.

        """
        if self._file >= 0:
            os.fsync(self._file)

    def beat(self) -> None:
        """Note that the process lives."""
        os.utime(self.lock)

    def roll(self) -> None:
        """Close the segment if it is large or old, behind a whole line.

        Raises:
            OSError: the disk cannot keep it for good; it is open still.

        """
        age = time.monotonic() - self._opened
        if self._file >= 0 and (
            self._size >= SEGMENT_BYTES or (self._size and age > _SEGMENT_SECONDS)
        ):
            # Later, `sync` would not reach it.
            self.sync()
            self.end_segment()

    def end_segment(self) -> None:
        """Close the segment; the next line begins another one."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self.segment += 1

    def close(self, *, remove: bool) -> None:
        """Give up the lock, for another process or the next start to take up what is left.

        Args:
            remove: whether to delete the journal, unless there are segments left in it.

        """
        self.end_segment()
        if remove:
            _remove(self.path)
        os.close(self.lock)


class JournalReader:
    """The side of a journal that reads, in order, and deletes what was dealt with.

    Args:
        path: the folder of the journal.
        last: returns the number of the segment that is still written to.

    """

    def __init__(self, path: Path, *, last: Callable[[], float]) -> None:
        self.path = path
        self.name = path.name
        self._last = last
        # The segment that is read, and how far; and how far what was read last reaches.
        self._segment: Path | None = None
        self._position = 0
        self._read = 0
        self.deleted = 0
        """Bytes of the segments that were deleted."""

    def read(self, most: int) -> bytes:
        """Return the next whole lines, `most` bytes or a little more; none if there are none yet.

        They come again until `done` is called.

        Raises:
            JournalUnreadableError: there may be more, but it cannot be read.

        """
        self._read = 0
        try:
            while (segment := self._next_segment()) is not None:
                complete = int(segment.stem) < self._last()
                with segment.open("rb") as file:
                    file.seek(self._position)
                    lines = file.read(most)
                    if lines and not lines.endswith(b"\n"):
                        lines += file.readline()
                if not complete:
                    # The rest of the last line may not be written yet.
                    lines = lines[: lines.rfind(b"\n") + 1]
                if lines or not complete:
                    self._read = len(lines)
                    return lines
                size = segment.stat().st_size
                segment.unlink()
                self.deleted += size
                self._segment = None
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                # Whoever had the journal before has dealt with this segment meanwhile.
                self._segment = None
            reason = error.strerror or type(error).__name__
            raise JournalUnreadableError(f"{error.filename or self.path}: {reason}") from error
        return b""

    def done(self) -> None:
        """Go on behind what was read: it is in the database."""
        self._position += self._read
        self._read = 0

    def _next_segment(self) -> Path | None:
        if self._segment is None:
            self._segment = min(_segments_of(self.path), default=None)
            self._position = 0
        return self._segment


class DeadJournal(JournalReader):
    """The journal of a process that has ended, whose lock this process holds now."""

    def __init__(self, path: Path, lock: int) -> None:
        super().__init__(path, last=lambda: float("inf"))
        self._lock = lock
        self.died_at = os.fstat(lock).st_mtime
        """When its process lived last, in seconds since the epoch."""

    def remove(self) -> None:
        """Delete it: all of it is in the database. With segments left, it is only given up."""
        _remove(self.path)
        self.release()

    def release(self) -> None:
        """Leave it to whoever finds it next."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def dead_journals(folder: Path) -> list[DeadJournal]:
    """Take up the journals of processes that have ended, and return them."""
    found = []
    for lock in sorted(folder.glob(f"[!.]*/{_LOCK}")):
        try:
            descriptor = os.open(lock, os.O_RDWR)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it a moment ago may have deleted the journal.
            if os.path.samestat(os.fstat(descriptor), lock.stat()):
                found.append(DeadJournal(lock.parent, descriptor))
                continue
        except OSError:
            pass
        os.close(descriptor)
    return found


def size_of_journals(folder: Path, *, without: str) -> int:
    """Return the bytes that the journals of a machine take, except the one of this name."""
    total = 0
    # Where the folder cannot be read now, what was counted so far has to do.
    with contextlib.suppress(OSError):
        for segment in folder.glob(f"[!.]*/{_SEGMENTS}"):
            if segment.parent.name != without:
                # Another process may delete it meanwhile.
                with contextlib.suppress(OSError):
                    total += segment.stat().st_size
    return total


def _segments_of(path: Path) -> list[Path]:
    """Return the segments of a journal; a folder that is not there has none.

    Raises:
        OSError: the folder cannot be read. `Path.glob` would find nothing then.

    """
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        return []
    return [path / name for name in names if fnmatch(name, _SEGMENTS)]


def _remove(path: Path) -> None:
    """Delete a journal without segments. The lock goes last: it is what others find it by."""
    with contextlib.suppress(OSError):
        if not _segments_of(path):
            (path / _LOCK).unlink(missing_ok=True)
            path.rmdir()
