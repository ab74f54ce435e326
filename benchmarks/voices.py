"""What callers say to agents: clips of speech, and of noise, ready for a telephone line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from audiocodecs import mulaw_encode, resample
from mediaserver.espeak import speak
from mediaserver.sandbox.audio.background_noise import RATE as NOISE_RATE
from mediaserver.sandbox.audio.background_noise import cough, typing


RATE = 8_000
LEVEL = -20.0
"""Level of the louder parts of speech, in decibels relative to full scale."""

NOISE_LEVEL = -24.0
AUDIBLE = 30.0
"""Sound that is this many decibels quieter than the louder parts is not speech."""

LONGEST = 4.0

VOICES = ("en-us", "en-us+f3", "en-gb-x-rp", "en-us+m4", "en-gb-x-rp+f2", "en-us+f5")
QUESTIONS = (
    "When will my order arrive, and who is going to bring it?",
    "I would like a table for two by the window, tonight at eight.",
    "Could you please tell me when the next train leaves?",
    "My number is four seven one one nine, and my name is Miller.",
)
SHORT_QUESTION = "Where is my order?"
CUT_INS = (
    "No, wait a moment, that is not what I asked for.",
    "Stop, please, I have another question for you.",
    "Actually I wanted to know something else.",
    "Sorry, can I speak to a real person?",
    "That was Tuesday, and I am calling about Thursday.",
    "Hold on, let me write that down first.",
)

Signal = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Clip:
    """Something to say.

    Attributes:
        name: its name.
        payload: mu-law at 8 kHz, whole frames.
        onset: seconds to its first audible sample.

    """

    name: str
    payload: bytes
    onset: float

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.payload) / RATE


def questions(count: int) -> list[Clip]:
    """Return things to ask an agent, in as many voices."""
    return _synthesised(QUESTIONS, count)


def short_question() -> Clip:
    """Return a question that takes a second."""
    return _synthesised((SHORT_QUESTION,), 1)[0]


def cut_ins(count: int, recordings: Path | None = None) -> list[Clip]:
    """Return things to say while an agent speaks, synthesised or from a folder.

    Raises:
        FileNotFoundError: the folder holds no recording.

    """
    if recordings is None:
        return _synthesised(CUT_INS, count)
    return _recorded(recordings)


def disturbances(count: int, seed: int = 1) -> list[Clip]:
    """Return coughs and bursts of typing, alternating."""
    rng = np.random.default_rng(seed)
    clips = []
    for number in range(count):
        kind = ("cough", "typing")[number % 2]
        sound = cough(rng) if kind == "cough" else typing(2.0, rng)
        clips.append(_clip(kind, _to_line(sound, NOISE_RATE), NOISE_LEVEL))
    return clips


def _synthesised(texts: Sequence[str], count: int) -> list[Clip]:
    clips = []
    for number in range(count):
        text = texts[number % len(texts)]
        voice = VOICES[(number + number // len(texts)) % len(VOICES)]
        wav = speak(text, voice)
        signal = resample(wav.samples, wav.rate, RATE).astype(np.float64)
        clips.append(_clip(f"{voice}: {text}", signal, LEVEL))
    return clips


def _recorded(folder: Path) -> list[Clip]:
    suffixes = {".wav", ".flac", ".ogg"}
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    clips = []
    for path in paths:
        signal, rate = soundfile.read(path, dtype="int16", always_2d=True)
        mono = np.rint(signal.mean(axis=1)).astype(np.int16)
        clip = _clip(path.stem, resample(mono, rate, RATE).astype(np.float64), LEVEL)
        if clip.seconds >= 1:
            clips.append(clip)
    if not clips:
        raise FileNotFoundError(f"there is no WAV, FLAC or OGG file of a second in {folder}")
    return clips


def _to_line(signal: Signal, rate: int) -> Signal:
    """Return a signal at the rate of the telephone, at an arbitrary level."""
    peak = float(np.abs(signal).max()) or 1.0
    samples = np.rint(20_000 / peak * signal).astype(np.int16)
    return resample(samples, rate, RATE).astype(np.float64)


def _clip(name: str, signal: Signal, level: float) -> Clip:
    """Return a signal at a level, from just before its first sound to its last."""
    size = RATE // 200
    blocks = signal[: len(signal) // size * size].reshape(-1, size)
    powers = 10 * np.log10(np.mean(np.square(blocks), axis=1) + 1e-9)
    loud = np.mean(np.sort(powers)[-max(1, len(powers) // 5) :])
    audible = np.flatnonzero(powers > loud - AUDIBLE)
    first = max(0, int(audible[0]) - 4)
    last = min(int(audible[-1]) + 4, first + int(LONGEST * 200))
    gain = 10 ** ((level - loud) / 20) * 32_768
    kept = signal[first * size : last * size] * gain
    samples = np.rint(kept).clip(-32_768, 32_767).astype(np.int16)
    samples = np.pad(samples, (0, -len(samples) % 160))
    return Clip(name, mulaw_encode(samples), (int(audible[0]) - first) * size / RATE)
