"""Noises of telephone calls, synthesised from a seed: coughs, typing, a street, hold music."""

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray


Signal: TypeAlias = NDArray[np.float64]
RATE: Final = 16_000


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


NOISES: Final[dict[str, Callable[[float, np.random.Generator], Signal]]] = {
    "coughing": coughing,
    "typing": typing,
    "street": street,
    "hold music": hold_music,
}
"""By name: functions that make a number of seconds of a noise at 16 kHz, at an arbitrary level."""
