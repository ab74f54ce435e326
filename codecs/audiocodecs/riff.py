"""Finds the audio of a WAV file whose sizes may be wrong.

A writer that cannot seek back, such as one that writes to a pipe, leaves any size in the header: 0,
0xFFFFFFFF, 0x7FFFFFFF and others. A file that was cut short has less than its header says. In all
these files the audio ends where the file ends. The layout is that of Microsoft and IBM's
"Multimedia Programming Interface and Data Specifications 1.0" (RIFF, and RIFX with the most
significant byte first), of EBU Tech 3306 for RF64, and of ITU-R BS.2088 for BW64.
"""

import io
import struct
from typing import Any, BinaryIO, Literal, NamedTuple, TypeAlias


_Order: TypeAlias = Literal["little", "big"]

_MOST_CHUNKS = 1000
"""Number of chunks before the audio; files have a handful."""
_LONGEST_FORMAT = 1024
_LONGEST_AUDIO = 0xFFFF_0000
_IN_DS64 = 0xFFFF_FFFF
"""The size of the audio when the chunk ``ds64`` has it, in 64 bits."""
_ORDERS: dict[bytes, _Order] = {
    b"RIFF": "little",
    b"RF64": "little",
    b"BW64": "little",
    b"RIFX": "big",
}
_HEAD = 8
"""Bytes before the content of a chunk: its name and its size."""
_HEADS = {"little": struct.Struct("<4sI"), "big": struct.Struct(">4sI")}


class RiffAudio(NamedTuple):
    """Where a WAV file has its audio, and how it is encoded."""

    format: bytes
    """The content of the chunk ``fmt ``."""
    start: int
    """Position of the first byte of audio."""
    size: int
    """In bytes."""
    order: _Order
    """The order of the bytes in a number."""

    @property
    def header(self) -> bytes:
        """The header of a file that has only this audio, with sizes that are right."""
        format = self.format + bytes(len(self.format) % 2)
        pack = _HEADS[self.order].pack
        return b"".join(
            (
                pack(
                    b"RIFF" if self.order == "little" else b"RIFX",
                    4 + 8 + len(format) + 8 + self.size + self.size % 2,
                ),
                b"WAVE",
                pack(b"fmt ", len(self.format)),
                format,
                pack(b"data", self.size),
            )
        )


def find_audio(file: BinaryIO) -> RiffAudio | None:
    """Return where `file` has its audio; None if it is no WAV file, or has an unusual header.

    Raises:
        EOFError: if the file ends before its audio.

    """
    end = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(12)
    order = _ORDERS.get(head[:4])
    if order is None or head[8:] != b"WAVE":
        return None
    chunks = _Chunks(file, order, end)
    closed = int.from_bytes(head[4:8], order) + 8 == end
    format = b""
    long_size = 0
    position = 12
    for _ in range(_MOST_CHUNKS):
        name, size = chunks.at(position)
        position += _HEAD
        if name == b"data":
            found = chunks.audio_size(position, long_size if size == _IN_DS64 else size)
            if found < int.from_bytes(format[12:14], order) and (size or not closed):
                raise EOFError
            return (
                RiffAudio(format, position, found, order) if 0 < found <= _LONGEST_AUDIO else None
            )
        if not name or position + size > end:
            raise EOFError
        if name == b"fmt " and size <= _LONGEST_FORMAT:
            format = file.read(size)
        elif name == b"ds64":
            long_size = int.from_bytes(file.read(16)[8:], order)
        position = chunks.following(position + size) if size % 2 else position + size
    return None


class FileOf(io.RawIOBase):
    """A file that has a new header, and behind it the audio of another file."""

    def __init__(self, file: BinaryIO, audio: RiffAudio) -> None:
        self._file = file
        self._header = audio.header
        self._start = audio.start
        self._end = len(self._header) + audio.size
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to another position, and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._end}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read into `buffer`, and return the number of bytes."""
        size = min(len(buffer), max(0, self._end - self._position))
        found = self._header[self._position : self._position + size]
        if size > len(found):
            behind = self._position + len(found) - len(self._header)
            self._file.seek(self._start + behind)
            found += self._file.read(size - len(found))
        buffer[: len(found)] = found
        self._position += len(found)
        return len(found)


class _Chunks:
    """The chunks of a file that is `end` bytes long."""

    def __init__(self, file: BinaryIO, order: _Order, end: int) -> None:
        self._file = file
        self._struct = _HEADS[order]
        self._end = end

    def at(self, position: int) -> tuple[bytes, int]:
        """Return the name and the size of the chunk at `position`; no name if there is none."""
        self._file.seek(position)
        head = self._file.read(_HEAD)
        return self._struct.unpack(head) if len(head) == _HEAD else (b"", 0)

    def following(self, position: int) -> int:
        """Return where the chunk after one of odd size begins: some writers leave out the pad."""
        known = (b"data", b"fmt ", b"fact", b"LIST")
        if self.at(position)[0] in known and self.at(position + 1)[0] not in known:
            return position
        return position + 1

    def audio_size(self, start: int, size: int) -> int:
        """Return the size of the audio at `start`, of which the header says that it is `size`."""
        available = self._end - start
        if size > available or (not size and not self._are_all_from(start)):
            return available
        return size

    def _are_all_from(self, position: int) -> bool:
        """Tell whether only whole chunks follow `position`, so that the size 0 is right."""
        for _ in range(_MOST_CHUNKS):
            if position >= self._end:
                return True
            name, size = self.at(position)
            if not name or not all(0x20 <= letter < 0x7F for letter in name):
                return False
            position += _HEAD + size + size % 2
            if position > self._end + 1:
                return False
        return False
