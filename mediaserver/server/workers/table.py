"""A table in memory that all processes of a machine share: what each worker has.

Reading and writing it costs no message: `/answer` sees the places that all workers have taken, and
the supervisor sees which worker has the least to do.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import tempfile
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

from mediaserver.server.admission import Places


_ROWS: Final = 256
"""Workers that may live at once: those of a generation that drains count as well."""

_CELLS: Final = 8
"""Of 8 bytes each: a row is one cache line."""

_SERIAL, _STATE, _ADOPTED, _WAITING, _RESERVED, _ACTIVE, _BEAT, _SENT = range(_CELLS)


class WorkerState(IntEnum):
    """What a worker does."""

    STARTING = 0
    """It has not begun to take connections."""
    OPENING = 1
    """It takes connections, and opens the handlers' lifespans."""
    READY = 2
    """It takes calls."""
    DRAINING = 3
    """It takes nothing new."""


class WorkerTable:
    """One row for each worker.

    A row is written by its worker alone, and read by all. Only what was sent to a worker is written
    by the supervisor, which also clears the row of a worker that is dead.

    Args:
        descriptor: The file with the table; by default a new one in memory.

    """

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = _new_file() if descriptor is None else descriptor
        """The file, for the other processes."""
        self._memory = mmap.mmap(self.descriptor, _ROWS * _CELLS * 8)
        self._cells = memoryview(self._memory).cast("q")

    def row(self, index: int) -> WorkerRow:
        """Return a row; the first is 1."""
        if not 0 < index < _ROWS:
            raise IndexError(f"the table has rows 1 to {_ROWS - 1}, not {index}")
        return WorkerRow(self, self._cells, index)

    def workers(self) -> Iterator[WorkerRow]:
        """Yield the rows of all workers that live."""
        for index in range(1, _ROWS):
            if self._cells[index * _CELLS + _BEAT]:
                yield self.row(index)

    def take(self, now: int) -> WorkerRow:
        """Take a free row for a new worker.

        Args:
            now: Its first beat, in nanoseconds.

        Raises:
            LookupError: None is free.

        """
        for index in range(1, _ROWS):
            if not self._cells[index * _CELLS + _BEAT]:
                row = self.row(index)
                row.begin(now)
                return row
        raise LookupError(f"{_ROWS - 1} workers live already, those included that drain")

    def find(self, name: str) -> WorkerRow | None:
        """Return the row of a worker that lives.

        Args:
            name: Its row and serial number, such as ``2.1``.

        """
        index, _, serial = name.partition(".")
        if not (index.isascii() and index.isdigit() and 0 < int(index) < _ROWS):
            return None
        row = self.row(int(index))
        return row if row.beat and str(row.serial) == serial else None

    def taken(self, *, except_for: int = 0) -> Places:
        """Return the places that are active and reserved, of all workers but one."""
        cells, first = self._cells, _CELLS
        active = sum(cells[first + _ACTIVE :: _CELLS])
        reserved = sum(cells[first + _RESERVED :: _CELLS])
        if except_for:
            row = self.row(except_for)
            active, reserved = active - row.active, reserved - row.reserved
        return Places(active, reserved)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the other processes from the same, for as long as it takes to count and to write.

        A process that dies gives the lock back.
        """
        fcntl.lockf(self.descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self.descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the table in this process."""
        self._cells.release()
        self._memory.close()
        os.close(self.descriptor)


class WorkerRow:
    """A row of the table. To its worker it is the `Counts` of the places of all.

    Args:
        table: The table.
        cells: The numbers of the whole table.
        index: Which row.

    """

    __slots__ = ("_begin", "_cells", "_table", "index")

    def __init__(self, table: WorkerTable, cells: memoryview[int], index: int) -> None:
        self._table = table
        self._cells = cells
        self._begin = index * _CELLS
        self.index = index

    def begin(self, now: int) -> None:
        """Prepare the row for its next worker."""
        self._cells[self._begin + _SERIAL] += 1
        self.state = WorkerState.STARTING
        self.sent = self.adopted = self.waiting = self.reserved = self.active = 0
        self.beat = now

    def free(self) -> None:
        """Give the row back: its worker is dead, and its calls with it."""
        self.reserved = self.active = self.beat = 0

    @property
    def name(self) -> str:
        """What identifies the worker on this machine: ``2.1`` is the first worker of row 2."""
        return f"{self.index}.{self.serial}"

    @property
    def serial(self) -> int:
        """How many workers have had the row, this one included."""
        return self._cells[self._begin + _SERIAL]

    @property
    def state(self) -> WorkerState:
        """What the worker does."""
        return WorkerState(self._cells[self._begin + _STATE])

    @state.setter
    def state(self, state: WorkerState) -> None:
        self._cells[self._begin + _STATE] = state

    @property
    def adopted(self) -> int:
        """Connections that the worker has taken from the supervisor until now."""
        return self._cells[self._begin + _ADOPTED]

    @adopted.setter
    def adopted(self, number: int) -> None:
        self._cells[self._begin + _ADOPTED] = number

    @property
    def waiting(self) -> int:
        """Its connections that are not streams."""
        return self._cells[self._begin + _WAITING]

    @waiting.setter
    def waiting(self, number: int) -> None:
        self._cells[self._begin + _WAITING] = number

    @property
    def reserved(self) -> int:
        """Calls that it has answered and whose stream has not come."""
        return self._cells[self._begin + _RESERVED]

    @reserved.setter
    def reserved(self, number: int) -> None:
        self._cells[self._begin + _RESERVED] = number

    @property
    def active(self) -> int:
        """Calls that are connected."""
        return self._cells[self._begin + _ACTIVE]

    @active.setter
    def active(self, number: int) -> None:
        self._cells[self._begin + _ACTIVE] = number

    @property
    def beat(self) -> int:
        """When its event loop last ran, in monotonic nanoseconds; 0 if nobody has the row."""
        return self._cells[self._begin + _BEAT]

    @beat.setter
    def beat(self, now: int) -> None:
        self._cells[self._begin + _BEAT] = now

    @property
    def sent(self) -> int:
        """Connections that the supervisor has sent to the worker until now."""
        return self._cells[self._begin + _SENT]

    @sent.setter
    def sent(self, number: int) -> None:
        self._cells[self._begin + _SENT] = number

    @property
    def under_way(self) -> int:
        """Connections that were sent and that the worker has not taken: what it is behind with."""
        return self.sent - self.adopted

    def others(self) -> Places:
        """Return the places that the other workers have taken and reserved."""
        return self._table.taken(except_for=self.index)

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Keep the other workers from counting meanwhile (see `WorkerTable.locked`)."""
        return self._table.locked()


def _new_file() -> int:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("mediaserver-workers", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, _ROWS * _CELLS * 8)
    return descriptor
