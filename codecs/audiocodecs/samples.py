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
        raise AudioError(f"samples are a one-dimensional int16 array, not {_described(samples)}")


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
