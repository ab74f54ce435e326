"""Writes the captures of a process, so that no call waits for a disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog

from mediaserver.captures.capture_folder import CaptureFolder
from mediaserver.captures.compression import CompressionParameter, ZstdCompressor
from mediaserver.captures.kept_wire import KeptWire


log = structlog.get_logger(__name__)

WRITE_SECONDS: Final = 1.0
"""Seconds for which messages are gathered: what a killed process loses."""

MOST_WAITING: Final = 64_000_000
"""Bytes of messages that wait in memory while the disk takes none; more are counted and lost."""

_LEVEL: Final = -3
"""Of Zstandard: level 1 makes files smaller by a quarter, and takes three times as long."""

_ROOM_SECONDS: Final = 10.0
"""Seconds between two looks at what the folder takes of the disk."""


class WriterFigures:
    """What is counted of captures."""

    def __init__(self) -> None:
        self.calls = 0
        """Calls whose capture was begun."""
        self.bytes = 0
        """Bytes written."""
        self.failed = 0
        """Captures that were given up because the disk did not take them."""
        self.deleted = 0
        """Old captures that were deleted to make room."""


class CaptureWriter:
    """Takes what calls have noted, once a second, compresses it and writes it.

    Each time is a Zstandard frame of its own, so that a file can be read up to the last of them,
    however the process ends.

    Args:
        folder: where to.
        most_bytes: what all captures may take of the disk.
        figures: counts.

    """

    def __init__(
        self, folder: CaptureFolder, *, most_bytes: int, figures: WriterFigures | None = None
    ) -> None:
        self.folder = folder
        self.figures = figures or WriterFigures()
        self._most_bytes = most_bytes
        self._wires: dict[KeptWire, Path | None] = {}
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="captures")
        self._compressor = ZstdCompressor(
            options={
                CompressionParameter.compression_level: _LEVEL,
                CompressionParameter.checksum_flag: True,
            }
        )
        self._written_since = 0.0
        self._failing = False

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

        Raises:
            OSError: the folder cannot be made, or not be written to.

        """
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._executor, self.folder.prepare)
        except OSError as error:
            why = error.strerror or str(error)
            raise OSError(f"captures cannot be written to {self._name}: {why}") from error
        writing = loop.create_task(self._run(), name="captures")
        try:
            yield
        finally:
            writing.cancel()
            await asyncio.wait([writing])
            await loop.run_in_executor(self._executor, self.write, self._taken())
            self._executor.shutdown(wait=False)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            writing = loop.run_in_executor(self._executor, self.write, self._taken())
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

    def _taken(self) -> list[tuple[KeptWire, bytearray]]:
        return [(wire, wire.take()) for wire in list(self._wires)]

    @property
    def _name(self) -> str:
        return str(self.folder.path)

    def write(self, taken: list[tuple[KeptWire, bytearray]]) -> None:
        """Write what was taken of each call. It runs in a thread."""
        self.folder.look()
        for wire, noted in taken:
            if not noted or wire not in self._wires:
                continue
            try:
                text = wire.redacted(noted)
                path = self._wires[wire]
                if path is None:
                    name = self.folder.name(wire.head.began, wire.head.call or "unknown")
                    path = self._wires[wire] = self.folder.create(name)
                    text = wire.first_line() + text
                data = self._compressor.compress(text, ZstdCompressor.FLUSH_FRAME)
                self.folder.append(path, data)
                self.figures.bytes += len(data)
                self._failing = False
            except Exception as error:  # whatever is wrong with one call harms no other
                self._give_up(wire, error)
            else:
                if wire.ended:
                    self._wires.pop(wire, None)
        self._make_room()

    def _give_up(self, wire: KeptWire, error: Exception) -> None:
        self._wires.pop(wire, None)
        wire.ended = wire.full = True
        self.figures.failed += 1
        if not self._failing:
            self._failing = True
            log.error(
                "a call is not captured any more",
                call=wire.head.call,
                folder=self._name,
                reason=getattr(error, "strerror", None) or str(error) or repr(error),
            )

    def _make_room(self) -> None:
        self._written_since += WRITE_SECONDS
        if self._written_since < _ROOM_SECONDS:
            return
        self._written_since = 0.0
        try:
            keep = {path for path in list(self._wires.values()) if path is not None}
            self.figures.deleted += self.folder.make_room(self._most_bytes, keep=keep)
        except OSError as error:
            log.warning("the folder of captures cannot be read", reason=error.strerror)
