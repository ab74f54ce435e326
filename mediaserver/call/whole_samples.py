"""Joins pieces of audio that were cut in the middle of a sample."""

from __future__ import annotations

import msgspec

from audiocodecs import AudioFormat
from mediaserver.call.frame import Frame


class WholeSamples:
    """Cuts one run of pieces at whole samples.

    Speech services cut audio at any byte. What a piece has of its last sample is kept for the next
    piece; if none follows, there is no such sample.
    """

    __slots__ = ("_format", "_part")

    def __init__(self) -> None:
        self._format: AudioFormat | None = None
        self._part = b""

    @property
    def waits(self) -> bool:
        """Whether the last piece ended within a sample."""
        return bool(self._part)

    def take(self, piece: bytes, format: AudioFormat) -> bytes:
        """Return the samples that are whole once `piece`, in `format`, has come."""
        size = format.sample_bytes
        if self._part:
            # A piece of another format does not continue the last one.
            if format is self._format:
                piece = self._part + piece
            self._part = b""
        if odd := len(piece) % size:
            self._format = format
            self._part = piece[-odd:]
            piece = piece[:-odd]
        return piece

    def frame(self, frame: Frame) -> Frame:
        """Return the frame with the samples that are whole once it has come."""
        payload = self.take(frame.payload, frame.format)
        return (
            frame if payload is frame.payload else msgspec.structs.replace(frame, payload=payload)
        )

    def forget(self) -> None:
        """Begin another run."""
        self._part = b""
