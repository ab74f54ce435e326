"""Samples in memory, 16-bit signed integers in numpy arrays, and checks of what callers pass."""

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from audiocodecs.errors import AudioError, shown


Samples: TypeAlias = NDArray[np.int16]
"""Audio as ``int16``: one-dimensional for mono, ``(n, channels)`` otherwise."""

Payload: TypeAlias = bytes | bytearray | memoryview
"""Encoded audio without a container, as a stream carries it."""

INT16 = np.dtype(np.int16)


def silence(seconds: float, rate: int) -> Samples:
    """Return ``seconds`` of mono silence at ``rate`` Hz, rounded to the nearest sample.

    Raises:
        AudioError: if ``seconds`` is negative or not finite, or ``rate`` is not positive.

    """
    if not math.isfinite(seconds) or seconds < 0:
        raise AudioError(f"silence lasts 0 seconds or more, not {shown(seconds)}")
    if rate <= 0:
        raise AudioError(f"a sample rate is above 0 Hz, not {shown(rate)}")
    return np.zeros(round(seconds * rate), INT16)


def require_mono(samples: Any) -> None:
    """Raise AudioError unless ``samples`` is a one-dimensional int16 array."""
    if not isinstance(samples, np.ndarray) or samples.dtype != INT16 or samples.ndim != 1:
        raise AudioError(
            f"samples are a one-dimensional int16 array, not {_described(samples)}{_mend(samples)}"
        )


def require_channels(samples: Any) -> None:
    """Raise AudioError unless ``samples`` is int16, of shape ``(n,)`` or ``(n, channels)``."""
    if (
        not isinstance(samples, np.ndarray)
        or samples.dtype != INT16
        or samples.ndim not in (1, 2)
        or samples.shape[1:] == (0,)
    ):
        raise AudioError(
            f"samples are an int16 array of shape (n,) or (n, channels), not {_described(samples)}"
            f"{_mend(samples, 2)}"
        )


def as_bytes(payload: Any) -> bytes | bytearray:
    """Return ``payload`` as bytes or bytearray; a memoryview of any layout is flattened.

    Raises:
        AudioError: if it is of another type. An array is refused, not read as bytes.

    """
    if isinstance(payload, bytes | bytearray):
        return payload
    if isinstance(payload, memoryview):
        return payload.tobytes()
    raise AudioError(f"encoded audio is bytes, bytearray or memoryview, not {_described(payload)}")


def _described(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    return f"{type(value).__name__} {shown(value)}"


def _mend(samples: Any, dimensions: int = 1) -> str:
    """Return how to make such samples of these, for an error message."""
    if not isinstance(samples, np.ndarray):
        return ""
    if samples.dtype.kind == "f":
        return "; (x * 32767).clip(-32768, 32767).astype(np.int16) converts floats from -1 to 1"
    if samples.dtype != INT16:
        return "; astype(np.int16) converts integers that are 16-bit samples"
    if samples.ndim == 2 and dimensions == 1:
        return "; Wav(samples, rate).mono() mixes the channels"
    return ""
