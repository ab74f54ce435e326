"""Noises of telephone calls, synthesised: coughs, typing, a street, hold music, and a bad line."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from audiocodecs import Resampler, Samples
from mediaserver.sandbox.audio.playback import TICKS_PER_SECOND


Signal: TypeAlias = NDArray[np.float64]
"""Samples at an arbitrary level."""

RATE: Final = 16_000
"""Sample rate of all noises, in Hz."""

DEFAULT_NOISE_LEVEL: Final = -35.0
"""dBFS: clearly heard, and 10 to 15 dB below speech."""

_LEAST_LEVEL: Final = -70.0
_MOST_LEVEL: Final = -6.0

_LOOP_SECONDS: Final = 20
_SEAM: Final = RATE // 2


def at_level(signal: Signal, decibels: float) -> Signal:
    """Return `signal` with the louder fifth of its blocks of 20 ms at a level in dBFS."""
    blocks = np.mean(np.square(signal[: len(signal) // 320 * 320].reshape(-1, 320)), axis=1)
    loud = np.sort(blocks)[-max(1, len(blocks) // 5) :]
    return np.asarray(signal * (32_768 * 10 ** (decibels / 20) / np.sqrt(np.mean(loud) + 1e-12)))


def _place(onto: Signal, sound: Signal, second: float) -> None:
    start = int(second * RATE)
    room = onto[start : start + len(sound)]
    room += sound[: len(room)]


def _band(count: int, low: float, high: float, rng: np.random.Generator) -> Signal:
    """Return noise between two frequencies, of power 1."""
    spectrum = np.fft.rfft(rng.normal(0, 1, count))
    frequencies = np.fft.rfftfreq(count, 1 / RATE)
    spectrum[(frequencies < low) | (frequencies > high)] = 0
    noise = np.fft.irfft(spectrum, count)
    return np.asarray(noise / (np.std(noise) + 1e-9))


def _formants(signal: Signal, centres: tuple[float, ...], width: float) -> Signal:
    """Return `signal` as a throat would colour it."""
    spectrum = np.fft.rfft(signal)
    frequencies = np.fft.rfftfreq(len(signal), 1 / RATE)
    colour = sum(np.exp(-(((frequencies - centre) / width) ** 2)) for centre in centres)
    return np.fft.irfft(spectrum * (0.05 + colour), len(signal))


def cough(rng: np.random.Generator) -> Signal:
    """Return one cough: a burst, rushing air, and often a voiced end."""
    count = int(rng.uniform(0.25, 0.45) * RATE)
    times = np.arange(count) / RATE
    burst = np.exp(-times / 0.025) * (1 - np.exp(-times / 0.002))
    rush = 0.35 * np.exp(-times / rng.uniform(0.06, 0.14))
    centres = (rng.uniform(500, 800), rng.uniform(1200, 1700), rng.uniform(2400, 3000))
    air = _formants(_band(count, 150, 6000, rng), centres, 350)
    pitch = rng.uniform(110, 260)
    phase = 2 * np.pi * np.cumsum(pitch * (1 - 0.4 * times / times[-1])) / RATE
    voiced = sum(np.sin(n * phase) / n for n in range(1, 20))
    voice = _formants(np.asarray(voiced), centres, 250)
    swell = np.exp(-(((times - 0.6 * times[-1]) / (0.15 * times[-1])) ** 2))
    share = rng.choice([0.0, 0.3, 0.6])
    return np.asarray((burst + rush) * air + share * 0.5 * swell * voice)


def coughing(seconds: float, rng: np.random.Generator) -> Signal:
    """Return fits of one to three coughs, some seconds apart."""
    out = np.zeros(int(seconds * RATE))
    second = rng.uniform(0.5, 2)
    while second < seconds:
        for _ in range(rng.integers(1, 4)):
            _place(out, rng.uniform(0.6, 1.2) * cough(rng), second)
            second += rng.uniform(0.35, 0.6)
        second += rng.uniform(2, 6)
    return out


def typing(seconds: float, rng: np.random.Generator) -> Signal:
    """Return the sound of keys going down and up, in bursts as long as words."""
    out = np.zeros(int(seconds * RATE))
    times = np.arange(int(0.03 * RATE)) / RATE
    second = 0.3
    while second < seconds:
        for _ in range(rng.integers(3, 25)):
            for delay, strength in ((0.0, 1.0), (rng.uniform(0.05, 0.09), 0.5)):
                tones = sum(
                    np.sin(2 * np.pi * rng.uniform(800, 5000) * times + rng.uniform(0, 6))
                    for _ in range(4)
                )
                click = np.exp(-times / 0.004) * (tones + rng.normal(0, 1, len(times)))
                thump = np.exp(-times / 0.01) * np.sin(2 * np.pi * rng.uniform(150, 400) * times)
                _place(out, strength * rng.uniform(0.5, 1.2) * (click + thump), second + delay)
            second += rng.uniform(0.08, 0.25)
        second += rng.uniform(0.3, 2)
    return out


def street(seconds: float, rng: np.random.Generator) -> Signal:
    """Return the rumble of traffic, passing cars, and now and then a horn."""
    count = int(seconds * RATE)
    spectrum = np.fft.rfft(rng.normal(0, 1, count))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    rumble = np.fft.irfft(spectrum, count)
    out = rumble / np.std(rumble)
    times = np.arange(count) / RATE
    second = 2.0
    while second < seconds:
        width = rng.uniform(0.8, 2.5)
        swell = np.exp(-(((times - second) / width) ** 2))
        out += rng.uniform(1, 3) * swell * _band(count, 100, rng.uniform(800, 2500), rng)
        if rng.random() < 0.3:
            horn = np.arange(int(rng.uniform(0.2, 0.8) * RATE)) / RATE
            tones = sum(
                np.sin(2 * np.pi * base * n * horn) / n for base in (420, 530) for n in range(1, 6)
            )
            _place(out, 1.5 * np.asarray(tones), second + rng.uniform(-1, 1) if second > 1 else 0)
        second += rng.uniform(3, 9)
    return np.asarray(out)


def hold_music(seconds: float, rng: np.random.Generator) -> Signal:
    """Return hold music: chords and a melody at a hundred beats a minute."""
    out = np.zeros(int(seconds * RATE))
    chords = ((0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14))
    scale = (0, 2, 4, 7, 9, 12)
    beat = 0.6

    def note(semitone: float, length: float, strength: float) -> Signal:
        times = np.arange(int(length * RATE)) / RATE
        base = 220 * 2 ** (semitone / 12)
        wobble = 0.004 * np.sin(2 * np.pi * 5 * times)
        tones = sum(
            np.sin(2 * np.pi * base * n * (times + wobble / 30)) / n**1.5 for n in range(1, 9)
        )
        fade = np.minimum(1, times / 0.02) * np.exp(-times / (0.8 * length))
        return np.asarray(strength * fade * tones)

    for number in range(int(seconds / beat)):
        if number % 4 == 0:
            for tone in chords[number // 4 % 4]:
                _place(out, note(tone, 4 * beat, 0.4), number * beat)
        for half in range(rng.integers(1, 3)):
            semitone = 12 + float(rng.choice(scale))
            _place(out, note(semitone, beat, 0.7), (number + half / 2) * beat)
        drum = _band(int(0.06 * RATE), 2000, 7000, rng) * np.exp(-np.arange(960) / 200)
        _place(out, 0.3 * drum, number * beat)
    return out


def hiss(seconds: float, rng: np.random.Generator) -> Signal:
    """Return the white noise of an analogue line."""
    return np.asarray(rng.normal(0, 1, int(seconds * RATE)))


def hum(seconds: float, rng: np.random.Generator) -> Signal:
    """Return what the mains induce in a line: 50 Hz and its harmonics."""
    times = np.arange(int(seconds * RATE)) / RATE
    harmonics = ((1, 1.0), (2, 0.5), (3, 0.6), (5, 0.3), (7, 0.2), (9, 0.1))
    return np.asarray(
        sum(
            strength * np.sin(2 * np.pi * 50 * number * times + rng.uniform(0, 6))
            for number, strength in harmonics
        )
    )


def crackle(seconds: float, rng: np.random.Generator) -> Signal:
    """Return the cracks of a loose contact, some ten a second."""
    out = 0.01 * hiss(seconds, rng)
    times = np.arange(int(0.008 * RATE)) / RATE
    for second in rng.uniform(0, seconds, round(10 * seconds)):
        crack = np.exp(-times / rng.uniform(0.0003, 0.002)) * rng.normal(0, 1, len(times))
        _place(out, rng.exponential(1) * crack, second)
    return out


NOISES: Final[dict[str, Callable[[float, np.random.Generator], Signal]]] = {
    "coughing": coughing,
    "typing": typing,
    "street": street,
    "hold music": hold_music,
    "hiss": hiss,
    "hum": hum,
    "crackle": crackle,
}
"""By name: functions that make a number of seconds of a noise at 16 kHz, at an arbitrary level."""


class BackgroundNoise:
    """A noise that goes on for ever, in frames of 20 ms.

    The first of a kind takes up to a second to synthesise, in whatever thread makes it.

    Args:
        kind: One of `NOISES`.
        level: How loud its louder fifth is, in dBFS, from -70 to -6.
        rate: Sample rate in Hz.

    Attributes:
        kind: The noise.
        level: How loud it is, in dBFS.

    Raises:
        ValueError: There is no such noise, or the level is out of range.

    """

    def __init__(self, kind: str, level: float = DEFAULT_NOISE_LEVEL, *, rate: int = RATE) -> None:
        if kind not in NOISES:
            raise ValueError(f"there is no noise {kind!r}; allowed: {', '.join(NOISES)}")
        check_noise_level(level)
        self.kind = kind
        self.level = level
        self._loop = np.rint(at_level(_loop(kind), level)).clip(-32_768, 32_767).astype(np.int16)
        self._resampler = Resampler(RATE, rate)
        self._offset = 0

    def take(self) -> Samples:
        """Return the next 20 ms."""
        end = self._offset + RATE // TICKS_PER_SECOND
        frame = self._loop[self._offset : end]
        self._offset = end % len(self._loop)
        return self._resampler.process(frame)


def check_noise_level(level: float) -> None:
    """Check the level of a noise.

    Raises:
        ValueError: It is not -70 to -6 dBFS.

    """
    if not math.isfinite(level) or not _LEAST_LEVEL <= level <= _MOST_LEVEL:
        raise ValueError(
            f"a noise's level is {_LEAST_LEVEL:g} to {_MOST_LEVEL:g} dBFS, not {level!r}"
        )


@lru_cache(maxsize=len(NOISES))
def _loop(kind: str) -> Signal:
    """Return some seconds of a noise whose end leads into its beginning."""
    whole = np.array(NOISES[kind](_LOOP_SECONDS + _SEAM / RATE, np.random.default_rng(1)))
    fade = np.sqrt(np.linspace(0.0, 1.0, _SEAM))
    whole[:_SEAM] = fade * whole[:_SEAM] + fade[::-1] * whole[-_SEAM:]
    return whole[:-_SEAM]
