"""Reading a capture from its file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mediaserver.captures.capture_lines import (
    Capture,
    CapturedLine,
    CaptureError,
    CaptureHead,
    decode_capture,
    decode_head,
    decode_lines,
)
from mediaserver.captures.compression import ZstdDecompressor, ZstdError


SUFFIX: Final = ".wire.zst"
"""How the name of a capture's file ends."""

MOST_BYTES: Final = 1_000_000_000
"""Bytes of text that a capture may have: fifteen hours of a call. It is held in memory."""


def read_capture(path: Path) -> Capture:
    """Return the capture in a file, compressed or not.

    Of a capture that the server did not finish, everything is returned that is there.

    Raises:
        CaptureError: it is not a capture.
        OSError: it cannot be read.

    """
    data = path.read_bytes()
    try:
        text, whole = _decompressed(data) if data[:4] == _MAGIC else (data, True)
        return decode_capture(text, whole=whole)
    except CaptureError as error:
        raise CaptureError(f"{path}: {error}") from None


def open_capture(path: Path) -> tuple[CaptureHead, Iterator[CapturedLine]]:
    """Return what a capture says of its call, and its lines, which are read one after the other.

    So a long call takes little memory. Of a capture that is not finished, the whole lines are read.

    Raises:
        CaptureError: it is not a capture. As the lines are read: a line is not of a capture.
        OSError: it cannot be read.

    """
    return read_capture_head(path), _lines(_texts(path))


def _lines(texts: Iterator[bytes]) -> Iterator[CapturedLine]:
    rest, number = b"", 1
    for text in texts:
        if len(rest) > _LONGEST_LINE:
            raise CaptureError(
                f"line {number} of the capture has more than {_LONGEST_LINE:,} bytes"
            )
        whole, broken, rest = (rest + text).rpartition(b"\n")
        lines = whole + broken
        if number == 1 and broken:
            lines, number = lines.partition(b"\n")[2], 2
        yield from decode_lines(lines, number)
        number += lines.count(b"\n")


def _texts(path: Path) -> Iterator[bytes]:
    """Yield the text of a capture piece by piece."""
    with path.open("rb") as file:
        data = file.read(_CHUNK)
        compressed = data[:4] == _MAGIC
        frame = ZstdDecompressor()
        while data:
            if not compressed:
                yield data
            while compressed:
                try:
                    yield frame.decompress(data, max_length=_PIECE)
                except ZstdError as error:
                    raise CaptureError(f"its compression is damaged: {error}") from None
                data = b""
                if frame.eof:
                    data, frame = frame.unused_data, ZstdDecompressor()
                if not data and frame.needs_input:
                    break
            data = file.read(_CHUNK)


def read_capture_head(path: Path) -> CaptureHead:
    """Return what the first line of a capture says of its call, without reading the others.

    Raises:
        CaptureError: it is not a capture.
        OSError: it cannot be read.

    """
    with path.open("rb") as file:
        data = file.read(_LONGEST_HEAD)
    try:
        if data[:4] == _MAGIC:
            data = ZstdDecompressor().decompress(data, max_length=_LONGEST_HEAD)
        return decode_head(data.partition(b"\n")[0])
    except ZstdError as error:
        raise CaptureError(f"{path}: its compression is damaged: {error}") from None
    except CaptureError as error:
        raise CaptureError(f"{path}: {error}") from None


_LONGEST_HEAD: Final = 65_536

_LONGEST_LINE: Final = 16_000_000
"""Bytes of a line, if the capture is read line by line."""

_MAGIC: Final = b"\x28\xb5\x2f\xfd"
"""What a Zstandard frame begins with (RFC 8878, section 3.1.1)."""


_CHUNK: Final = 65_536
"""Bytes that are given to a frame at once."""

_PIECE: Final = 1_000_000
"""Bytes of text that are taken from a frame at once, if the capture is read line by line."""


def _decompressed(data: bytes) -> tuple[bytes, bool]:
    """Return the text of the frames, and whether the last of them is whole."""
    pieces: list[bytes] = []
    size = 0
    frame = ZstdDecompressor()
    # Each frame copies what follows it: of a long call that must not be the whole file.
    for position in range(0, len(data), _CHUNK):
        chunk = data[position : position + _CHUNK]
        while chunk:
            if frame.eof:
                frame = ZstdDecompressor()
            try:
                piece = frame.decompress(chunk, max_length=MOST_BYTES + 1 - size)
            except ZstdError as error:
                if pieces:
                    return b"".join(pieces), False
                raise CaptureError(f"its compression is damaged: {error}") from None
            size += len(piece)
            if size > MOST_BYTES:
                raise CaptureError(f"more than {MOST_BYTES:,} bytes of text")
            pieces.append(piece)
            chunk = frame.unused_data
    return b"".join(pieces), frame.eof
