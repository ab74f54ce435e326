"""Conversion of any audio that a handler plays into the stream's format."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from audiocodecs import AudioError, AudioFormat, Resampler
from mediaserver.call.frame import Frame


Audio = Frame | bytes | bytearray | memoryview | NDArray[np.int16]
"""Audio that can be played: a received frame, bytes of a known format, or int16 samples."""

Wire = bytes | bytearray | memoryview

_LONGEST_STEP = 1.0
"""Seconds of audio converted in one step: about half a millisecond of CPU."""


class Converter:
    """Converts audio to one format, keeping the resampler's state between pieces.

    Args:
        format: the stream's format.

    """

    __slots__ = ("_format", "_resampler")

    def __init__(self, format: AudioFormat) -> None:
        self._format = format
        self._resampler: Resampler | None = None

    def passes(self, audio: Audio, format: AudioFormat | None) -> bool:
        """Tell whether `audio` needs no conversion."""
        if isinstance(audio, Frame):
            return audio.format == self._format
        return isinstance(audio, bytes | bytearray | memoryview) and (
            format is None or format == self._format
        )

    def is_clip(self, audio: Audio, rate: int | None, format: AudioFormat | None) -> bool:
        """Tell whether `audio` is a complete recording, rather than a piece of one."""
        if isinstance(audio, np.ndarray):
            return len(audio) > (rate or self._format.rate) * _LONGEST_STEP
        if isinstance(audio, bytes | bytearray | memoryview):
            return len(audio) > (format or self._format).bytes_per_second * _LONGEST_STEP
        return False

    def convert(
        self,
        audio: Audio,
        rate: int | None = None,
        format: AudioFormat | None = None,
    ) -> Iterator[Wire]:
        """Yield bytes in the stream's format, converted at most a second of audio at a time.

        Args:
            audio: a `Frame`; bytes in `format`; or int16 samples at `rate`.
            rate: the rate of samples in Hz; the stream's own if None.
            format: the format of bytes; the stream's own if None.

        Raises:
            AudioError: if `audio` is of another type, or its bytes end in the middle of a sample.

        """
        if format is not None and not isinstance(format, AudioFormat):
            raise AudioError(f"format must be an AudioFormat such as L16_24K, not {format!r}")
        if rate is not None and format is None and not isinstance(audio, Frame | np.ndarray):
            raise AudioError(
                f"cannot play {type(audio).__name__} by rate={rate} alone: give bytes a format=, "
                "such as L16_24K, or give a numpy array of int16"
            )
        if self.passes(audio, format):
            # Mutable audio is copied: sent audio is kept until it has been heard.
            wire = audio.payload if isinstance(audio, Frame) else bytes(audio)
            if len(wire) % self._format.sample_bytes:
                raise AudioError(
                    f"{len(wire)} bytes are not whole samples of {self._format}, "
                    f"which has {self._format.sample_bytes} bytes a sample"
                )
            yield wire
            return
        samples, rate = self._samples(audio, rate, format)
        if self._resampler is None or self._resampler.rate_in != rate:
            self._resampler = Resampler(rate, self._format.rate)
        step = round(rate * _LONGEST_STEP)
        for first in range(0, len(samples), step):
            piece = self._resampler.process(samples[first : first + step])
            yield self._format.encode(piece)

    def flush(self) -> Wire:
        """Return the last samples that the resampler holds back, at the end of an utterance."""
        if self._resampler is None:
            return b""
        return self._format.encode(self._resampler.flush())

    def reset(self) -> None:
        """Drop what the resampler holds back: the next audio does not continue the last."""
        if self._resampler is not None:
            self._resampler.reset()

    def _samples(
        self,
        audio: Audio,
        rate: int | None,
        format: AudioFormat | None,
    ) -> tuple[NDArray[np.int16], int]:
        if isinstance(audio, Frame):
            return audio.samples, audio.format.rate
        if isinstance(audio, np.ndarray):
            return audio, self._format.rate if rate is None else rate
        if isinstance(audio, bytes | bytearray | memoryview) and format is not None:
            return format.decode(audio), format.rate
        raise AudioError(
            f"cannot play {type(audio).__name__}: give a Frame, bytes (with format=), "
            "or a numpy array of int16 (with rate=)"
        )
