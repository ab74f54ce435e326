"""Reading and writing WAV files through libsndfile."""

import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from audiocodecs.errors import AudioError, shown
from audiocodecs.riff import FileOf, find_audio
from audiocodecs.samples import INT16, Payload, Samples, as_bytes, require_channels


_CONTAINERS = ("WAV", "WAVEX", "RF64", "FLAC")
_FLOATS = ("FLOAT", "DOUBLE")
_PIECE = 65536
_ENDLESS = 2**62
"""libsndfile counts so many samples, or more, in a FLAC file that does not say how many it has."""


@dataclass(frozen=True, slots=True, eq=False)
class Wav:
    """A clip read from a file."""

    samples: Samples
    """int16, of shape ``(n,)`` if mono, otherwise ``(n, channels)``."""
    rate: int
    """Samples per second, in Hz, as the file says."""

    @property
    def seconds(self) -> float:
        """The clip's duration in seconds."""
        return len(self.samples) / self.rate

    def mono(self) -> Samples:
        """Return the mean of all channels: int16, one-dimensional."""
        if self.samples.ndim == 1:
            return self.samples
        mean: NDArray[np.float64] = self.samples.mean(axis=1)
        return np.rint(mean).astype(INT16)


class WavReader:
    """Reads a WAV or FLAC file piece by piece, however long it is.

        with WavReader("hours.wav") as reader:
            while len(samples := reader.read(reader.rate)):
                ...

    What it reads, and how it turns it into samples, is described at `decode_wav`.

    Args:
        file: a path, or a file that is open for reading bytes and can seek.

    Raises:
        AudioError: if the file holds no readable audio, or is a pipe.
        OSError: if the file cannot be opened.

    """

    def __init__(self, file: str | bytes | os.PathLike[str] | BinaryIO) -> None:
        if isinstance(file, str | bytes | os.PathLike):
            self._source = repr(os.fspath(file))
            if stat.S_ISFIFO(os.stat(file).st_mode):
                # Opening it would wait for a writer.
                raise AudioError(
                    f"{self._source} is a pipe: write it to a file, or give decode_wav its bytes"
                )
            self._raw: BinaryIO = open(file, "rb")  # noqa: SIM115 - closed by close()
        elif not hasattr(file, "seek"):
            raise AudioError(f"audio is read from a path or an open file, not {shown(file)}")
        else:
            size = file.seek(0, io.SEEK_END)
            self._source = f"the data ({size} bytes)"
            self._raw = file
        try:
            self._file = self._open()
        except BaseException:
            self._raw.close()
            raise
        self.rate: int = self._file.samplerate
        """Samples per second, in Hz, as the file says."""
        self.channels: int = self._file.channels
        self._subtype = "float64" if self._file.subtype in _FLOATS else "int16"

    def __enter__(self) -> "WavReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, count: int) -> Samples:
        """Return the next `count` samples of each channel, or fewer at the end of the file.

        Returns:
            int16, of shape ``(n,)`` if mono, otherwise ``(n, channels)``.

        Raises:
            AudioError: if the file is damaged here.

        """
        try:
            samples = self._file.read(count, self._subtype)
        except soundfile.LibsndfileError as error:
            raise self._refusal(error.error_string) from None
        return samples if self._subtype == "int16" else _from_float(samples)

    def skip(self, count: int) -> None:
        """Leave out the next `count` samples of each channel.

        Raises:
            AudioError: if the file is damaged here.

        """
        try:
            if self._file.seekable():
                self._file.seek(min(self._file.tell() + count, self._file.frames))
                return
        except soundfile.LibsndfileError as error:
            raise self._refusal(error.error_string) from None
        while count and (skipped := len(self.read(min(count, _PIECE)))):
            count -= skipped

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._raw.close()

    def _open(self) -> soundfile.SoundFile:
        try:
            audio = find_audio(self._raw)
            self._raw.seek(0)
            file = soundfile.SoundFile(FileOf(self._raw, audio) if audio else self._raw)
        except EOFError:
            raise self._refusal("it ends before its audio") from None
        except soundfile.LibsndfileError as error:
            raise self._refusal(error.error_string) from None
        if file.format not in _CONTAINERS:
            raise AudioError(f"only WAV and FLAC can be read, and {self._source} is {file.format}")
        if file.frames >= _ENDLESS:
            # FLAC whose writer could not seek back: soundfile seeks after each read, and that fails
            file.seekable = lambda: False
        return file

    def _refusal(self, reason: str) -> AudioError:
        reason = reason or "it is damaged, or was cut short"
        return AudioError(f"{self._source} cannot be read as WAV or FLAC: {reason}")


def read_wav(path: str | os.PathLike[str]) -> Wav:
    """Read a WAV or FLAC file; see `decode_wav`.

    Raises:
        AudioError: if the file holds no readable audio, or is a pipe.
        OSError: if the file cannot be opened.

    """
    return _read(WavReader(path))


def write_wav(path: str | os.PathLike[str], samples: Samples, rate: int) -> None:
    """Write ``samples`` as a 16-bit WAV file; see `encode_wav`.

    Raises:
        AudioError: if ``samples`` or ``rate`` cannot be written.
        OSError: if the file cannot be opened.

    """
    Path(path).write_bytes(encode_wav(samples, rate))


def decode_wav(data: Payload) -> Wav:
    """Read the content of a WAV or FLAC file: PCM of 8 to 32 bits, float, mu-law, A-law, ADPCM.

    Wider samples are cut to 16 bits; floats are scaled so that 1.0 is full scale, and saturate. The
    audio of a WAV whose writer left its size open, or that was cut short, ends where the data ends.

    Raises:
        AudioError: if ``data`` holds no readable audio.

    """
    return _read(WavReader(io.BytesIO(as_bytes(data))))


def encode_wav(samples: Samples, rate: int) -> bytes:
    """Return the content of a 16-bit WAV file.

    Args:
        samples: int16, of shape ``(n,)`` for mono or ``(n, channels)``.
        rate: samples per second, in Hz.

    Raises:
        AudioError: if ``samples`` has another type or shape, or ``rate`` is not a positive whole
            number.

    """
    require_channels(samples)
    if not isinstance(rate, int | np.integer) or rate <= 0:
        raise AudioError(f"a sample rate is a whole number of Hz above 0, not {shown(rate)}")
    file = io.BytesIO()
    try:
        soundfile.write(file, samples, int(rate), format="WAV", subtype="PCM_16")
    except (soundfile.LibsndfileError, OverflowError):
        raise AudioError(
            f"a WAV file holds up to 1024 channels at up to 2147483647 Hz, "
            f"not samples of shape {samples.shape} at {shown(rate)} Hz"
        ) from None
    return file.getvalue()


def _read(reader: WavReader) -> Wav:
    # piece by piece, because the header may promise more samples than the file or memory holds
    with reader:
        pieces = [reader.read(_PIECE)]
        while len(pieces[-1]):
            pieces.append(reader.read(_PIECE))
        return Wav(np.concatenate(pieces), reader.rate)


def _from_float(values: NDArray[np.float64]) -> Samples:
    scaled: NDArray[np.float64] = np.rint(np.nan_to_num(values).clip(-1.0, 1.0) * 32768.0)
    return np.minimum(scaled, 32767.0).astype(INT16)
