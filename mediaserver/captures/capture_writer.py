"""Writes the captures of a process, so that no call waits for a disk."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog

from mediaserver.captures.capture_folder import CaptureFolder
from mediaserver.captures.compression import CompressionParameter, ZstdCompressor
from mediaserver.captures.kept_wire import KeptWire, Noted, bytes_of
from mediaserver.captures.writing_thread import WritingThread


log = structlog.get_logger(__name__)

WRITE_SECONDS: Final = 1.0
"""Seconds for which messages are gathered: what a killed process loses."""

MOST_WAITING: Final = 64_000_000
"""Bytes of memory for messages while the disk takes none; more are counted and lost."""

_LEVEL: Final = -3
"""Of Zstandard: level 1 makes files smaller by a quarter, and takes three times as long."""

_ROOM_SECONDS: Final = 10.0
"""Seconds between two looks at what the folder takes of the disk."""

_FREE: Final = 0.1
"""Share of what captures may take that old ones leave to live calls."""

LAST_SECONDS: Final = 10.0
"""Seconds in which the disk must take what is left when the server ends."""


class WriterFigures:
    """What is counted of captures."""

    def __init__(self) -> None:
        self.calls = 0
        """Calls whose capture was begun."""
        self.bytes = 0
        """Bytes written."""
        self.failed = 0
        """Captures that were given up because the disk did not take them."""
        self.full = 0
        """Captures that ended before their call, because live calls took all that captures may."""
        self.deleted = 0
        """Old captures that were deleted to make room."""


class CaptureWriter:
    """Takes what calls have noted, once a second, compresses it and writes it.

    Each time is a Zstandard frame of its own, so that a file can be read up to the last of them,
    however the process ends.

    Args:
        folder: where to.
        most_bytes: what all captures may take of the disk. The oldest make room. If there are none
            but those of live calls, these end.
        figures: counts.

    """

    def __init__(
        self, folder: CaptureFolder, *, most_bytes: int, figures: WriterFigures | None = None
    ) -> None:
        self.folder = folder
        self.figures = figures or WriterFigures()
        self._most_bytes = most_bytes
        self._wires: dict[KeptWire, Path | None] = {}
        self._thread = WritingThread("captures")
        self._compressor = ZstdCompressor(
            options={
                CompressionParameter.compression_level: _LEVEL,
                CompressionParameter.checksum_flag: True,
            }
        )
        # What the folder takes of the disk, as far as known, and how long it has been known.
        self._bytes = 0
        self._known_for = _ROOM_SECONDS
        # Whether room was looked for since the thread was given something to write.
        self._has_looked = False
        # Whether it was said that captures fail, or end.
        self._failing = False
        self._ending = False
        # What the thread was given and is not done with: of each call, what it has noted, and
        # whether that is its end.
        self._given: deque[tuple[KeptWire, Noted, bool]] = deque()

    def add(self, wire: KeptWire) -> None:
        """Write what a call notes from now on."""
        self._wires[wire] = None
        self.figures.calls += 1

    def discard(self, wire: KeptWire) -> None:
        """Write nothing of a call of which nothing was written yet."""
        if self._wires.get(wire, Path()) is None:
            del self._wires[wire]
            self.figures.calls -= 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write within the block; at its end, the rest.

        A disk that hangs is not waited for: what it does not take within ten seconds is lost, and
        the log says how much that is.

        Raises:
            OSError: the folder cannot be made, or not be written to.

        """
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self.folder.prepare)
        except OSError as error:
            why = error.strerror or str(error)
            raise OSError(f"captures cannot be written to {self._name}: {why}") from error
        writing = loop.create_task(self._run(), name="captures")
        try:
            yield
        finally:
            writing.cancel()
            await asyncio.wait([writing])
            self._take()
            last = loop.run_in_executor(self._thread, self.write)
            self._thread.shutdown(wait=False)
            await asyncio.wait([last], timeout=LAST_SECONDS)
            if last.done():
                last.result()
            else:
                last.cancel()
                self._tell_lost()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            self._take()
            writing = loop.run_in_executor(self._thread, self.write)
            while not writing.done():
                await asyncio.wait([writing], timeout=WRITE_SECONDS)
                if not writing.done():
                    self._bound()
            writing.result()

    def _bound(self) -> None:
        """Note no more, if too much waits while the disk is slow."""
        wires = list(self._wires)  # the thread removes some
        if sum(wire.waiting for wire in wires) > MOST_WAITING:
            for wire in wires:
                wire.full = True
            log.warning("captures are written too slowly: messages are lost", folder=self._name)

    def _take(self) -> None:
        """Give the thread what each call has noted."""
        self._given.extend((wire, wire.take(), wire.ended) for wire in list(self._wires))

    def _tell_lost(self) -> None:
        log.error(
            "the disk hangs: the ends of captures are lost",
            folder=self._name,
            calls=len(self._wires),
            bytes=sum(bytes_of(noted) for _, noted, _ in list(self._given)),
        )

    @property
    def _name(self) -> str:
        return str(self.folder.path)

    def write(self) -> None:
        """Write what each call has noted. It runs in a thread."""
        self.folder.look()
        self._has_looked = False
        if self._known_for >= _ROOM_SECONDS:
            self._make_room()
        self._known_for += WRITE_SECONDS
        while self._given:
            wire, noted, is_end = self._given[0]
            if noted and wire in self._wires:
                try:
                    self._write_one(wire, noted, is_end)
                except Exception as error:  # whatever is wrong with one call harms no other
                    self._give_up(wire, error)
            self._given.popleft()

    def _write_one(self, wire: KeptWire, noted: Noted, is_end: bool) -> None:
        text, path = wire.lines(noted), self._wires[wire]
        if path is None:
            text = wire.first_line() + text
        data = self._compressed(text)
        if self._bytes + len(data) > self._most_bytes and not self._has_looked:
            self._has_looked = True
            self._make_room(len(data))
        if fits := self._bytes + len(data) <= self._most_bytes:
            self._ending = False
        else:
            self._end_early(wire)
            data = self._compressed(wire.last_line())
        if path is None and fits:
            name = self.folder.name(wire.head.began, wire.head.call or "unknown")
            path = self._wires[wire] = self.folder.create(name)
        if path is not None:
            self.folder.append(path, data)
            self._bytes += len(data)
            self.figures.bytes += len(data)
        self._failing = False
        # A call that ended meanwhile has noted more.
        if is_end or not fits:
            self._wires.pop(wire, None)

    def _compressed(self, text: bytes) -> bytes:
        return self._compressor.compress(text, ZstdCompressor.FLUSH_FRAME)

    def _end_early(self, wire: KeptWire) -> None:
        """End the capture of a live call, because captures take all that they may."""
        wire.ended = wire.full = True
        self.figures.full += 1
        if not self._ending:
            self._ending = True
            log.warning(
                "captures of live calls end: they take all of capture_megabytes",
                folder=self._name,
                megabytes=self._most_bytes // 1_000_000,
                call=wire.head.call,
            )

    def _give_up(self, wire: KeptWire, error: Exception) -> None:
        self._wires.pop(wire, None)
        wire.ended = wire.full = True
        self.figures.failed += 1
        if not self._failing:
            self._failing = True
            deleted = "its file was deleted" if isinstance(error, FileNotFoundError) else None
            log.error(
                "a call is not captured any more",
                call=wire.head.call,
                folder=self._name,
                reason=deleted or getattr(error, "strerror", None) or str(error) or repr(error),
            )

    def _make_room(self, needed: int = 0) -> None:
        """Find out what captures take of the disk, and delete the oldest if that is too much."""
        self._known_for = 0.0
        keep = {path for path in list(self._wires.values()) if path is not None}
        try:
            most = round((1 - _FREE) * self._most_bytes) - needed
            self._bytes, deleted = self.folder.make_room(most, keep=keep)
            self.figures.deleted += deleted
        except OSError as error:
            log.warning("the folder of captures cannot be read", reason=error.strerror)
