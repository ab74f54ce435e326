"""Sounds to say into a phone, and to find in what was heard."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audiocodecs import AudioFormat, Samples, Wav, resample


RATE = 16_000


def sweep(low: float, high: float, seconds: float = 1.0) -> Wav:
    """Make a tone that rises from `low` to `high` Hz, so that no two of its moments are alike."""
    time = np.arange(round(seconds * RATE)) / RATE
    turns = low * time + (high - low) * time**2 / (2 * seconds)
    edge = np.minimum(1.0, np.minimum(time, seconds - time) / 0.02)
    return Wav((8_000 * edge * np.sin(2 * np.pi * turns)).astype(np.int16), RATE)


def greeting(format: AudioFormat) -> bytes:
    """Return a short sound by which a server says that it takes the call: phones wait for it."""
    samples = sweep(500, 600, 0.4).mono()
    return format.encode(resample(samples, RATE, format.rate))


@dataclass(frozen=True)
class Found:
    """Where a sound was found.

    Attributes:
        likeness: 1 if the sound is there unchanged, at any loudness; about 0 if it is not there.
        seconds: Where it begins.

    """

    likeness: float
    seconds: float


def find(clip: Samples, sound: Samples, rate: int = RATE) -> Found:
    """Return the place in `sound` that is most like `clip`; both are `int16[n]` at `rate`."""
    if len(sound) < len(clip):
        return Found(0.0, 0.0)
    wanted, whole = clip.astype(np.float64), sound.astype(np.float64)
    size = 1 << (len(whole) + len(wanted)).bit_length()
    spectrum = np.fft.rfft(whole, size) * np.conj(np.fft.rfft(wanted, size))
    places = len(whole) - len(wanted) + 1
    products = np.fft.irfft(spectrum, size)[:places]
    power = np.concatenate([[0.0], np.cumsum(whole**2)])
    local = np.sqrt(np.maximum(power[len(wanted) :] - power[: -len(wanted)], 1.0))
    likeness = products / (local * max(1.0, float(np.linalg.norm(wanted))))
    best = int(np.argmax(likeness))
    return Found(float(likeness[best]), best / rate)


def loud(sound: Samples, rate: int = RATE, level: float = 300.0) -> npt.NDArray[np.bool_]:
    """Return for each 20 ms whether it is audible."""
    size = rate // 50
    frames = sound[: len(sound) // size * size].reshape(-1, size).astype(np.float64)
    return np.asarray(np.sqrt(np.mean(frames**2, axis=1)) > level)
