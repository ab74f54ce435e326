"""Reading and writing WAV files through libsndfile."""

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from audiocodecs.errors import AudioError, shown
from audiocodecs.samples import INT16, Payload, Samples, as_bytes, require_channels


_CONTAINERS = ("WAV", "WAVEX", "RF64", "FLAC")
_FLOATS = ("FLOAT", "DOUBLE")
_PIECE = 65536


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


def read_wav(path: str | os.PathLike[str]) -> Wav:
    """Read a WAV or FLAC file; see `decode_wav`.

    Raises:
        AudioError: if the file holds no readable audio.
        OSError: if the file cannot be opened.

    """
    return _decode(Path(path).read_bytes(), repr(os.fspath(path)))


def write_wav(path: str | os.PathLike[str], samples: Samples, rate: int) -> None:
    """Write ``samples`` as a 16-bit WAV file; see `encode_wav`.

    Raises:
        AudioError: if ``samples`` or ``rate`` cannot be written.
        OSError: if the file cannot be opened.

    """
    Path(path).write_bytes(encode_wav(samples, rate))


def decode_wav(data: Payload) -> Wav:
    """Read the content of a WAV or FLAC file: PCM of 8 to 32 bits, float, mu-law, A-law, ADPCM.

    Wider samples are cut to 16 bits; floats are scaled so that 1.0 is full scale, and saturate.

    Raises:
        AudioError: if ``data`` holds no readable audio.

    """
    data = as_bytes(data)
    return _decode(data, f"the data ({len(data)} bytes)")


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


def _decode(data: bytes | bytearray, source: str) -> Wav:
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if file.format not in _CONTAINERS:
                raise AudioError(f"only WAV and FLAC can be read, and {source} is {file.format}")
            if file.subtype in _FLOATS:
                samples = _from_float(_read(file, "float64"))
            else:
                samples = _read(file, "int16")
            return Wav(samples, file.samplerate)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{source} cannot be read as WAV or FLAC: {error.error_string}") from None


def _read(file: soundfile.SoundFile, dtype: str) -> NDArray[Any]:
    # piece by piece, because the header may promise more samples than the file or memory holds
    pieces = [file.read(_PIECE, dtype)]
    while len(pieces[-1]):
        pieces.append(file.read(_PIECE, dtype))
    return np.concatenate(pieces)


def _from_float(values: NDArray[np.float64]) -> Samples:
    scaled: NDArray[np.float64] = np.rint(np.nan_to_num(values).clip(-1.0, 1.0) * 32768.0)
    return np.minimum(scaled, 32767.0).astype(INT16)
