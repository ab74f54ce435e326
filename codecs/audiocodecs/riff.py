"""Finds the audio of a WAV file whose sizes may be wrong.

A writer that cannot seek back, such as one that writes to a pipe, leaves any size in the header: 0,
0xFFFFFFFF, 0x7FFFFFFF and others. A file that was cut short has less than its header says. In all
these files the audio ends where the file ends. The layout is that of Microsoft and IBM's
"Multimedia Programming Interface and Data Specifications 1.0", and of EBU Tech 3306 for RF64.
"""

import io
import struct
from typing import Any, BinaryIO, NamedTuple


_MOST_CHUNKS = 1000
"""Number of chunks before the audio; files have a handful."""
_LONGEST_FORMAT = 1024
_LONGEST_AUDIO = 0xFFFF_0000
_CHUNK = struct.Struct("<4sI")


class RiffAudio(NamedTuple):
    """Where a WAV file has its audio, and how it is encoded."""

    format: bytes
    """The content of the chunk ``fmt ``."""
    start: int
    """Position of the first byte of audio."""
    size: int
    """In bytes."""

    @property
    def header(self) -> bytes:
        """The header of a file that has only this audio, with sizes that are right."""
        format = self.format + bytes(len(self.format) % 2)
        return b"".join(
            (
                _CHUNK.pack(b"RIFF", 4 + 8 + len(format) + 8 + self.size + self.size % 2),
                b"WAVE",
                _CHUNK.pack(b"fmt ", len(self.format)),
                format,
                _CHUNK.pack(b"data", self.size),
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
    if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        return None
    closed = int.from_bytes(head[4:8], "little") + 8 == end
    format = b""
    position = 12
    for _ in range(_MOST_CHUNKS):
        name, size = _chunk(file, position)
        position += _CHUNK.size
        if name == b"data":
            found = _audio_size(file, position, size, end)
            if found < int.from_bytes(format[12:14], "little") and (size or not closed):
                raise EOFError
            return RiffAudio(format, position, found) if 0 < found <= _LONGEST_AUDIO else None
        if not name or position + size > end:
            raise EOFError
        if name == b"fmt " and size <= _LONGEST_FORMAT:
            format = file.read(size)
        position = _following(file, position + size) if size % 2 else position + size
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


def _chunk(file: BinaryIO, position: int) -> tuple[bytes, int]:
    """Return the name and the size of the chunk at `position`; an empty name if there is none."""
    file.seek(position)
    head = file.read(_CHUNK.size)
    return _CHUNK.unpack(head) if len(head) == _CHUNK.size else (b"", 0)


def _following(file: BinaryIO, position: int) -> int:
    """Return where the chunk after one of an odd size begins: some writers leave out the pad."""
    known = (b"data", b"fmt ", b"fact", b"LIST")
    if _chunk(file, position)[0] in known and _chunk(file, position + 1)[0] not in known:
        return position
    return position + 1


def _audio_size(file: BinaryIO, start: int, size: int, end: int) -> int:
    available = end - start
    if size > available or (not size and not _are_chunks(file, start, end)):
        return available
    return size


def _are_chunks(file: BinaryIO, position: int, end: int) -> bool:
    """Tell whether there are only whole chunks from `position` to `end`, so that 0 is right."""
    for _ in range(_MOST_CHUNKS):
        if position >= end:
            return True
        name, size = _chunk(file, position)
        if not name or not all(0x20 <= letter < 0x7F for letter in name):
            return False
        position += _CHUNK.size + size + size % 2
        if position > end + 1:
            return False
    return False
