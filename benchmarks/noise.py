"""What noise cancellation gains on noisy speech and costs on clean speech, by level.

    python -m benchmarks.noise [--json FILE] [--quick]

Everything is synthesised: the speech by eSpeak NG; the noises from random numbers, harmonics of a
motor, and six more voices talking at once. Real rooms and people differ; compare the levels, not
the absolute figures.

Between words: by how much the noise is reduced where nobody speaks. With the words: the gain in
SI-SDR (Le Roux et al., 2019) against the clean speech, so that damage to the speech counts too. The
reference and the noisy original pass the same high-pass filter with the same delay, so that neither
counts for or against the canceller.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from audiocodecs import Samples, resample
from mediaserver.espeak import speak
from mediaserver.sandbox.audio.noise import NoiseCanceller, reduction


RATE = 16_000
LEVELS = (60, 70, 80, 85, 90, 100)
SNRS = (0, 5, 10, 20)

SENTENCES = (
    ("en-gb-x-rp", "I would like a table for two, tonight at eight, by the window if you can."),
    ("en-us+f3", "My order has not arrived yet, and the number is four seven one one nine."),
    ("en-us", "Could you please tell me when the next train to the airport leaves?"),
    ("en-gb-x-rp+f2", "No, not on Tuesday. Thursday afternoon would suit me a good deal better."),
)
CROWD = ("en-us+m1", "en-us+f1", "en-gb-x-rp", "en-us+m4", "en-gb-x-rp+f4", "en-us+f5")

# The suppressor learns a noise in the first second or two; the time after that is measured.
LEARNING_SECONDS = 2

Signal: TypeAlias = NDArray[np.float64]


def voice(text: str, name: str) -> Signal:
    wav = speak(text, name)
    return resample(wav.samples, wav.rate, RATE).astype(np.float64)


def speech() -> Signal:
    """Return the sentences, with pauses as between the turns of two people."""
    pause = np.zeros(RATE // 2)
    pieces = [piece for name, text in SENTENCES for piece in (voice(text, name), pause)]
    return 0.5 * np.concatenate(pieces)


def noises(length: int, rng: np.random.Generator) -> dict[str, Signal]:
    """Return the kinds of noise, `length` samples each, at arbitrary levels."""
    white = rng.normal(0, 1, length)
    spectrum = np.fft.rfft(rng.normal(0, 1, length))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    times = np.arange(length) / RATE
    motor = sum(np.sin(2 * np.pi * 97 * n * times + n * n) / n for n in range(1, 25))
    text = " ".join(words for _, words in SENTENCES)
    crowd = np.zeros(length)
    for index, name in enumerate(CROWD):
        crowd += np.roll(np.resize(voice(text, name), length), index * RATE)
    return {
        "white": white,
        "pink": np.fft.irfft(spectrum, length),
        "motor": motor + 0.5 * white,
        "babble": crowd,
    }


def power(signal: Signal) -> float:
    return float(np.mean(np.square(signal)))


def at_snr(clean: Signal, noise: Signal, snr: float) -> Samples:
    """Return the mixture; the level of the speech is that of its louder parts, without pauses."""
    spoken = clean[np.abs(clean) > 100]
    scale = math.sqrt(power(spoken) / power(noise) / 10 ** (snr / 10))
    return np.rint(clean + scale * noise).clip(-32_768, 32_767).astype(np.int16)


def si_sdr(signal: Signal, reference: Signal) -> float:
    """Return the scale-invariant signal-to-distortion ratio in decibels."""
    target = reference * (np.dot(signal, reference) / np.dot(reference, reference))
    return 10 * math.log10(power(target) / power(signal - target))


def spectral_distance(signal: Signal, reference: Signal) -> float:
    """Return the log-spectral distance in decibels, over blocks of 32 ms that contain speech."""
    size = 512
    count = len(signal) // size
    window = np.hanning(size)
    ours, theirs = (
        np.abs(np.fft.rfft(each[: count * size].reshape(count, size) * window)) ** 2 + 1e4
        for each in (signal, reference)
    )
    spoken = np.mean(theirs, axis=1) > 1e6
    apart = 10 * np.log10(ours[spoken] / theirs[spoken])
    return float(np.mean(np.sqrt(np.mean(apart**2, axis=1))))


def unsuppressed(samples: Samples) -> Signal:
    """Return the reference for the canceller: filtered and delayed alike, otherwise unchanged."""
    canceller = NoiseCanceller(100, RATE)
    canceller._dry = 1.0
    return canceller.process(samples).astype(np.float64)


def suppressed(samples: Samples, level: int) -> Signal:
    return NoiseCanceller(level, RATE).process(samples).astype(np.float64)


def measure_gains(clean: Signal, kinds: dict[str, Signal], snrs: Sequence[int]) -> list[Any]:
    """Return the effect of each level between the words and with them, by noise and SNR."""
    lead_in = LEARNING_SECONDS * RATE
    padded = np.concatenate([np.zeros(lead_in), clean])
    reference = unsuppressed(np.rint(padded).astype(np.int16))[lead_in:]
    blocks = np.abs(reference[: len(reference) // 320 * 320].reshape(-1, 320)).max(axis=1)
    quiet = np.repeat(blocks < 20, 320)
    rows = []
    for kind, noise in kinds.items():
        for snr in snrs:
            noisy = at_snr(padded, noise, snr)
            original = unsuppressed(noisy)[lead_in:]
            row: dict[str, Any] = {"noise": kind, "snr": snr, "before": si_sdr(original, reference)}
            for level in LEVELS:
                ours = suppressed(noisy, level)[lead_in:]
                pauses = (power(each[: len(quiet)][quiet]) for each in (original, ours))
                row[str(level)] = {
                    "pauses": 10 * math.log10(next(pauses) / next(pauses)),
                    "gain": si_sdr(ours, reference) - row["before"],
                }
            rows.append(row)
    return rows


def measure_costs(clean: Signal) -> list[Any]:
    """Return the loss of clean speech and the processor time, by level."""
    samples = np.rint(clean).astype(np.int16)
    reference = unsuppressed(samples)
    rows = []
    for level in LEVELS:
        canceller = NoiseCanceller(level, RATE)
        frames = [samples[start : start + 320] for start in range(0, len(samples) - 319, 320)]
        began = time.process_time()
        out = np.concatenate([canceller.process(frame) for frame in frames]).astype(np.float64)
        spent = time.process_time() - began
        reached = reference[: len(out)]
        rows.append(
            {
                "level": level,
                "reduction": reduction(level),
                "si_sdr": si_sdr(out, reached),
                "loss": 10 * math.log10(power(reached) / power(out)),
                "distance": spectral_distance(out, reached),
                "delay_ms": 1000 * canceller.delay,
                "cpu_ms": 1000 * spent / (len(out) / RATE),
            }
        )
    return rows


def gain_table(rows: list[Any]) -> Table:
    table = Table(
        title="Noisy speech, by level: dB less noise between words / dB of SI-SDR gained",
        title_justify="left",
    )
    for heading in ("noise", "SNR", "SI-SDR", *map(str, LEVELS)):
        table.add_column(heading, justify="left" if heading == "noise" else "right", no_wrap=True)
    for row in rows:
        cells = (row[str(level)] for level in LEVELS)
        shown = (f"{cell['pauses']:.0f} / {cell['gain']:+.1f}" for cell in cells)
        table.add_row(row["noise"], f"{row['snr']} dB", f"{row['before']:.1f}", *shown)
    return table


def cost_table(rows: list[Any]) -> Table:
    table = Table(title="Clean speech, and what it takes", title_justify="left")
    columns: dict[str, Callable[[Any], str]] = {
        "level": lambda row: str(row["level"]),
        "steady noise": lambda row: f"-{row['reduction']:.1f} dB",
        "SI-SDR": lambda row: f"{row['si_sdr']:.1f} dB",
        "power lost": lambda row: f"{row['loss']:.2f} dB",
        "spectral distance": lambda row: f"{row['distance']:.1f} dB",
        "delay": lambda row: f"{row['delay_ms']:.0f} ms",
        "CPU per second": lambda row: f"{row['cpu_ms']:.1f} ms",
    }
    for heading in columns:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*(show(row) for show in columns.values()))
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.noise", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--quick", action="store_true", help="use only two levels of noise")
    options = parser.parse_args(arguments)
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    clean = speech()
    kinds = noises(len(clean) + LEARNING_SECONDS * RATE, np.random.default_rng(1))
    gains = measure_gains(clean, kinds, (5, 20) if options.quick else SNRS)
    costs = measure_costs(clean)
    console.print(gain_table(gains))
    console.print(cost_table(costs))
    console.print("Speech and noise are synthesised; the line runs at 16 kHz.")
    if options.json is not None:
        options.json.write_text(json.dumps({"gains": gains, "costs": costs}, indent=2))


if __name__ == "__main__":
    main()
