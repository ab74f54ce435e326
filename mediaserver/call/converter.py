"""Conversion of any audio that a handler plays into the stream's format."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Iterator

import numpy as np
from numpy.typing import NDArray

from audiocodecs import AudioError, AudioFormat, Resampler, Wav
from audiocodecs.resampler import require_rate
from audiocodecs.samples import require_channels, require_mono
from mediaserver.call.frame import Frame
from mediaserver.call.whole_samples import WholeSamples


Audio = Frame | Wav | bytes | bytearray | memoryview | NDArray[np.int16]
"""Audio that can be played: a received frame, a clip, bytes of a known format, or int16 samples."""

Wire = bytes | bytearray | memoryview

_LONGEST_STEP = 1.0
"""Seconds of audio converted in one step: about half a millisecond of CPU."""


class Converter:
    """Converts one run of pieces to one format.

    What a piece leaves in the resampler, and the part of a sample at its end, go with the next one.

    Args:
        format: the stream's format.

    """

    __slots__ = ("_format", "_resampler", "_whole")

    def __init__(self, format: AudioFormat) -> None:
        self._format = format
        self._resampler: Resampler | None = None
        self._whole = WholeSamples()

    @property
    def waits(self) -> bool:
        """Whether the last piece ended within a sample."""
        return self._whole.waits

    def is_clip(self, audio: Audio, rate: int | None, format: AudioFormat | None) -> bool:
        """Tell whether `audio`, which was checked, is a whole recording and not a piece of one."""
        if isinstance(audio, Wav):
            return audio.seconds > _LONGEST_STEP
        if isinstance(audio, np.ndarray):
            return len(audio) > (self._format.rate if rate is None else rate) * _LONGEST_STEP
        if isinstance(audio, Frame) or self._whole.waits:
            return False
        format = format or self._format
        size = memoryview(audio).nbytes
        return size > format.bytes_per_second * _LONGEST_STEP and not size % format.sample_bytes

    def convert(
        self,
        audio: Audio,
        rate: int | None = None,
        format: AudioFormat | None = None,
    ) -> Iterator[Wire]:
        """Yield bytes in the stream's format, converted at most a second of audio at a time.

        Args:
            audio: a `Frame`; a `Wav`, whose channels are mixed; bytes in `format`, cut anywhere; or
                int16 samples at `rate`.
            rate: the rate of samples in Hz; the stream's own if None.
            format: the format of bytes; the stream's own if None.

        Raises:
            AudioError: if `audio` is of another type or shape, or `rate` or `format` does not go
                with it.

        """
        check_audio(audio, rate, format)
        samples: NDArray[np.int16]
        if isinstance(audio, Wav):
            self._whole.forget()
            samples, rate = audio.mono(), audio.rate
        elif isinstance(audio, np.ndarray):
            self._whole.forget()
            samples, rate = audio, self._format.rate if rate is None else rate
        else:
            # Mutable audio is copied: sent audio is kept until it has been heard.
            if isinstance(audio, Frame):
                payload, format = bytes(audio.payload), audio.format
            else:
                payload, format = bytes(audio), format or self._format
            payload = self._whole.take(payload, format)
            if format == self._format:
                yield payload
                return
            samples, rate = format.decode(payload), format.rate
        if self._resampler is None or self._resampler.rate_in != rate:
            self._resampler = Resampler(rate, self._format.rate)
        step = round(rate * _LONGEST_STEP)
        for first in range(0, len(samples), step):
            piece = self._resampler.process(samples[first : first + step])
            yield self._format.encode(piece)

    def flush(self) -> Wire:
        """Return the last samples that the resampler holds back, at the end of an utterance."""
        self._whole.forget()
        if self._resampler is None:
            return b""
        return self._format.encode(self._resampler.flush())

    def flush_late(self) -> Wire:
        """Return what the resampler holds back if that is long enough to be missed.

        A piece that may be the last one loses some milliseconds at most. Between unusual rates it
        would lose a tenth of a second; so there the next piece does not continue the filter.
        """
        if self._resampler is None or not self._resampler.is_late:
            return b""
        return self._format.encode(self._resampler.flush())

    def reset(self) -> None:
        """Drop what is carried on: the next audio does not continue the last."""
        self._whole.forget()
        if self._resampler is not None:
            self._resampler.reset()


def check_audio(audio: object, rate: object = None, format: object = None) -> None:
    """Raise AudioError unless `audio` can be played, and `rate` and `format` go with it."""
    if format is not None and not isinstance(format, AudioFormat):
        raise AudioError(f"format must be an AudioFormat such as L16_24K, not {format!r}")
    if rate is not None:
        require_rate(rate)
    if isinstance(audio, Frame):
        return
    if isinstance(audio, Wav):
        if rate not in (None, audio.rate) or format is not None:
            raise AudioError(f"a Wav has a rate of its own, here {audio.rate}: leave out the rest")
        require_rate(audio.rate)
        require_channels(audio.samples)
    elif isinstance(audio, np.ndarray):
        require_mono(audio)
        if format is not None:
            raise AudioError(f"format={format} is for bytes: give a numpy array its rate=")
    elif isinstance(audio, bytes | bytearray | memoryview):
        if format is None and rate is not None:
            raise AudioError(
                f"cannot play {type(audio).__name__} by rate={rate} alone: give bytes a format=, "
                "such as L16_24K, or give a numpy array of int16"
            )
        if format is not None and rate not in (None, format.rate):
            raise AudioError(f"rate={rate} contradicts format={format}: leave it out")
    else:
        raise AudioError(
            f"cannot play {type(audio).__name__}: give a Frame, a Wav, bytes (with format=), "
            f"or a numpy array of int16 (with rate=){_hint(audio)}"
        )


def _hint(audio: object) -> str:
    if isinstance(audio, os.PathLike):
        return "; read_wav reads a file"
    if isinstance(audio, str):
        return "; read_wav reads a file, and a text_to_speech service speaks text"
    if isinstance(audio, AsyncIterable):
        return "; say takes an async iterator of these"
    if isinstance(audio, list | tuple):
        return "; np.array(…, np.int16) makes an array of samples"
    return ""
