"""Codecs and resamplers side by side, in one run on one core.

    python -m benchmarks.codecs [--json FILE] [--quick]

Three tables: G.711 and L16 per 20 ms frame, the same per block, and streaming resamplers. Inputs
vary from frame to frame. Peers take turns within each repeat; the figures are those of the best and
the median repeat. A peer that is not installed is reported and left out.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

import audiocodecs
from audiocodecs import Samples


with warnings.catch_warnings():
    # deprecated in the standard library of 3.11 and 3.12; audioop-lts replaces it from 3.13 on
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop
try:
    import soxr
except ImportError:
    soxr = None
try:
    import samplerate
except ImportError:
    samplerate = None


RATIOS = [
    (8000, 16000),
    (16000, 8000),
    (24000, 8000),
    (8000, 24000),
    (48000, 8000),
    (8000, 48000),
    (16000, 24000),
    (24000, 16000),
]
FRAME = 160
BLOCK = 480_000


class Timing(NamedTuple):
    """Seconds per call."""

    best: float
    median: float


def timings(
    functions: Mapping[str, Callable[[Any], object]], inputs: Sequence[Any], repeats: int
) -> dict[str, Timing]:
    """Time each function over all inputs, in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            for each in inputs:
                function(each)
            seconds[name].append((time.perf_counter() - start) / len(inputs))
    return {name: Timing(min(taken), statistics.median(taken)) for name, taken in seconds.items()}


def speech_like(count: int, rng: np.random.Generator) -> Samples:
    """Return noise whose level rises and falls several times a second, as in speech."""
    knots = count // 800 + 2
    swell = np.interp(np.arange(count), 800 * np.arange(knots), rng.uniform(0, 1, knots))
    return (rng.normal(0, 6000, count) * swell**2).clip(-32768, 32767).astype(np.int16)


# G.711 and L16


def codecs() -> dict[str, dict[str, Callable[[Any], object]]]:
    """Return, by operation and by peer, functions of a payload or of samples."""
    every = np.arange(65536, dtype=np.uint16).view(np.int16)
    codes = np.arange(256, dtype=np.uint8).tobytes()
    decoded = {
        "mu-law": audiocodecs.mulaw_decode(codes),
        "A-law": audiocodecs.alaw_decode(codes),
    }
    encoded = {
        "mu-law": np.frombuffer(audiocodecs.mulaw_encode(every), np.uint8),
        "A-law": np.frombuffer(audiocodecs.alaw_encode(every), np.uint8),
    }

    def take_decode(table: Samples) -> Callable[[bytes], object]:
        return lambda payload: table.take(np.frombuffer(payload, np.uint8))

    def take_encode(table: NDArray[np.uint8]) -> Callable[[Samples], object]:
        return lambda samples: table.take(samples.view(np.uint16)).tobytes()

    return {
        "mu-law decode": {
            "audiocodecs": audiocodecs.mulaw_decode,
            "audioop": lambda payload: audioop.ulaw2lin(payload, 2),
            "numpy take": take_decode(decoded["mu-law"]),
        },
        "mu-law encode": {
            "audiocodecs": audiocodecs.mulaw_encode,
            "audioop": lambda samples: audioop.lin2ulaw(samples, 2),
            "numpy take": take_encode(encoded["mu-law"]),
        },
        "A-law decode": {
            "audiocodecs": audiocodecs.alaw_decode,
            "audioop": lambda payload: audioop.alaw2lin(payload, 2),
            "numpy take": take_decode(decoded["A-law"]),
        },
        "A-law encode": {
            "audiocodecs": audiocodecs.alaw_encode,
            "audioop": lambda samples: audioop.lin2alaw(samples, 2),
            "numpy take": take_encode(encoded["A-law"]),
        },
        "L16 decode": {"audiocodecs": audiocodecs.l16_decode},
        "L16 encode": {"audiocodecs": audiocodecs.l16_encode},
    }


def codec_inputs(operation: str, count: int, size: int, rng: np.random.Generator) -> list[Any]:
    """Return ``count`` different inputs of ``size`` samples for an operation."""
    samples = np.split(speech_like(count * size, rng), count)
    encode = {
        "mu-law decode": audiocodecs.mulaw_encode,
        "A-law decode": audiocodecs.alaw_encode,
        "L16 decode": audiocodecs.l16_encode,
    }.get(operation)
    return [encode(each) for each in samples] if encode else samples


def measure_codecs(count: int, size: int, repeats: int) -> list[dict[str, Any]]:
    """Return one row per operation and peer: nanoseconds per sample and per call."""
    rng = np.random.default_rng(1)
    rows = []
    for operation, functions in codecs().items():
        taken = timings(functions, codec_inputs(operation, count, size, rng), repeats)
        rows += [
            {
                "operation": operation,
                "peer": peer,
                "samples": size,
                "best_ns": timing.best * 1e9,
                "median_ns": timing.median * 1e9,
            }
            for peer, timing in taken.items()
        ]
    return rows


def codec_table(title: str, rows: list[dict[str, Any]], scale: float, digits: int) -> Table:
    peers = ["audiocodecs", "audioop", "numpy take"]
    table = Table("", *peers, title=title, caption="best of the repeats (median)")
    for column in table.columns[1:]:
        column.justify = "right"
    for operation, group in itertools.groupby(rows, lambda row: row["operation"]):
        cells = {
            row["peer"]: f"{row['best_ns'] * scale:.{digits}f} "
            f"({row['median_ns'] * scale:.{digits}f})"
            for row in group
        }
        table.add_row(operation, *(cells.get(peer, "-") for peer in peers))
    return table


# Streaming resamplers


Stream: TypeAlias = Callable[[Samples], Samples]
"""A resampler in the middle of a stream: takes a chunk and returns the output it has."""


def peers() -> dict[str, Callable[[int, int], Stream]]:
    """Return factories of streaming resamplers by name, from int16 to int16."""
    known: dict[str, Callable[[int, int], Stream]] = {"audiocodecs": ours}
    if soxr:
        known |= {f"soxr {quality}": soxr_stream(quality) for quality in SOXR_QUALITIES}
    if samplerate:
        known |= {f"libsamplerate {name}": samplerate_stream(name) for name in CONVERTERS}
    return known | {"audioop.ratecv": ratecv_stream}


SOXR_QUALITIES = ("QQ", "LQ", "MQ", "HQ", "VHQ")
CONVERTERS = ("linear", "sinc_fastest", "sinc_medium", "sinc_best")


def ours(rate_in: int, rate_out: int) -> Stream:
    return audiocodecs.Resampler(rate_in, rate_out).process


def soxr_stream(quality: str) -> Callable[[int, int], Stream]:
    def make(rate_in: int, rate_out: int) -> Stream:
        resampler = soxr.ResampleStream(rate_in, rate_out, 1, "int16", quality)
        process: Stream = resampler.resample_chunk
        return process

    return make


def samplerate_stream(converter: str) -> Callable[[int, int], Stream]:
    def make(rate_in: int, rate_out: int) -> Stream:
        resampler = samplerate.Resampler(converter, 1)
        ratio = rate_out / rate_in

        def process(samples: Samples) -> Samples:
            floats: NDArray[np.float32] = resampler.process(samples.astype(np.float32), ratio)
            rounded: Samples = np.rint(floats.clip(-32768, 32767)).astype(np.int16)
            return rounded

        return process

    return make


def ratecv_stream(rate_in: int, rate_out: int) -> Stream:
    state = None

    def process(samples: Samples) -> Samples:
        nonlocal state
        data, state = audioop.ratecv(samples.data, 2, 1, rate_in, rate_out, state)
        return np.frombuffer(data, np.int16)

    return process


def chunks(samples: Samples, size: int) -> Iterable[Samples]:
    return (samples[start : start + size] for start in range(0, len(samples), size))


def stream_through(stream: Stream, samples: Samples, rate: int) -> Samples:
    """Return the output for ``samples`` given in chunks of 20 ms."""
    return np.concatenate([stream(chunk) for chunk in chunks(samples, rate // 50)])


def tone(frequency: float, rate: int, seconds: float = 0.6) -> Samples:
    turns = frequency * np.arange(round(seconds * rate)) / rate
    return np.rint(TONE * np.cos(2 * np.pi * turns + 0.5)).astype(np.int16)


TONE = 30000.0


def spectrum(samples: Samples, rate: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return frequencies and their amplitudes in the last 0.2 s, with side lobes below -100 dB."""
    tail = samples[-rate // 5 :]
    window = np.kaiser(len(tail), 14)
    size = 4 * len(tail)
    amplitudes = 2 * np.abs(np.fft.rfft(tail * window, size)) / window.sum()
    return np.arange(len(amplitudes)) * rate / size, amplitudes


def decibels(amplitude: float) -> float:
    return 20 * float(np.log10(max(amplitude / TONE, 1e-6)))


def stop_band(make: Callable[[int, int], Stream], rate_in: int, rate_out: int) -> float:
    """Return the loudest alias or image of a tone, in dB relative to the tone.

    Downwards, for tones above the lower Nyquist frequency, all output counts. Upwards, for tones
    below it, output above it counts.
    """
    nyquist = min(rate_in, rate_out) / 2
    if rate_in > rate_out:
        tones = np.linspace(1.01 * nyquist, 0.99 * rate_in / 2, 25)
        # at 0 Hz and at the Nyquist frequency a spectrum shows twice the amplitude
        tones = tones[np.abs(tones / nyquist - np.rint(tones / nyquist)) * nyquist > 30]
    else:
        tones = np.linspace(0.02, 0.99, 25) * nyquist
    worst = -200.0
    for frequency in tones:
        output = stream_through(make(rate_in, rate_out), tone(frequency, rate_in), rate_in)
        frequencies, amplitudes = spectrum(output, rate_out)
        stopped = (frequencies >= max(nyquist, frequency + 30)) | (frequency > nyquist)
        worst = max(worst, decibels(amplitudes[stopped].max()))
    return worst


def pass_band(make: Callable[[int, int], Stream], rate_in: int, rate_out: int) -> float:
    """Return the deviation, in dB, of the level of tones up to 0.85 of the lower Nyquist."""
    nyquist = min(rate_in, rate_out) / 2
    deviation = 0.0
    for part in np.linspace(0.05, 0.85, 17):
        frequency = part * nyquist
        output = stream_through(make(rate_in, rate_out), tone(frequency, rate_in), rate_in)
        frequencies, amplitudes = spectrum(output, rate_out)
        level = decibels(amplitudes[np.abs(frequencies - frequency) < 40].max())
        deviation = max(deviation, abs(level))
    return deviation


def impulse_to_peak(stream: Stream, rate_in: int, rate_out: int) -> float | None:
    """Return seconds of input from an impulse until its peak comes out, the worst of five.

    The input comes 1/8 ms at a time. None if an impulse never comes out.
    """
    step = rate_in // 8000
    impulses = [(1600 + 2001 * number) * step for number in range(5)]
    samples = np.zeros(2 * rate_in, np.int16)
    samples[impulses] = 30000
    outputs = [stream(chunk) for chunk in chunks(samples, step)]
    emitted = np.cumsum([len(output) for output in outputs])
    loudness = np.abs(np.concatenate(outputs).astype(int))
    worst = 0.0
    for at in impulses:
        # a resampler that holds output back aligns it with the input; others put it a bit later
        first = round((at / rate_in - 0.005) * rate_out)
        near = loudness[first : first + rate_out // 40]
        if not near.any():
            return None
        grain = int(np.searchsorted(emitted, first + near.argmax(), side="right"))
        worst = max(worst, (grain * step - at) / rate_in)
    return worst


def lateness(stream: Stream, rate_in: int, rate_out: int) -> float:
    """Return the most seconds by which the output trails the input after a 20 ms chunk."""
    given = returned = 0
    worst = 0.0
    for chunk in chunks(np.zeros(2 * rate_in, np.int16), rate_in // 50):
        given += len(chunk)
        returned += len(stream(chunk))
        worst = max(worst, given / rate_in - returned / rate_out)
    return worst


def chunk_invariant(make: Callable[[int, int], Stream], rate_in: int, rate_out: int) -> bool:
    """Return whether three ways of cutting the same input give the same bits."""
    rng = np.random.default_rng(7)
    samples = rng.integers(-20000, 20000, rate_in).astype(np.int16)
    cuts = np.sort(rng.integers(0, rate_in, 200))
    ways = [[samples], list(chunks(samples, rate_in // 50)), np.split(samples, cuts)]
    outputs = []
    for way in ways:
        stream = make(rate_in, rate_out)
        outputs.append(np.concatenate([stream(chunk) for chunk in way]))
    common = min(map(len, outputs))
    return all(np.array_equal(outputs[0][:common], output[:common]) for output in outputs)


def measure_resamplers(repeats: int) -> list[dict[str, Any]]:
    """Return one row per ratio and peer."""
    rng = np.random.default_rng(2)
    rows = []
    for rate_in, rate_out in track(RATIOS, "resamplers", transient=True):
        frames = list(chunks(speech_like(2 * rate_in, rng), rate_in // 50))
        makers = peers()
        streams = {name: make(rate_in, rate_out) for name, make in makers.items()}
        taken = timings(streams, frames, repeats)
        rows += [
            {
                "from": rate_in,
                "to": rate_out,
                "peer": name,
                "best_us": taken[name].best * 1e6,
                "median_us": taken[name].median * 1e6,
                "impulse_to_peak_s": impulse_to_peak(make(rate_in, rate_out), rate_in, rate_out),
                "lateness_s": lateness(make(rate_in, rate_out), rate_in, rate_out),
                "stop_band_db": stop_band(make, rate_in, rate_out),
                "pass_band_db": pass_band(make, rate_in, rate_out),
                "chunk_invariant": chunk_invariant(make, rate_in, rate_out),
            }
            for name, make in makers.items()
        ]
    return rows


def resampler_table(rows: list[dict[str, Any]]) -> Table:
    table = Table(
        "kHz",
        "resampler",
        "µs per 20 ms\n(median)",
        "impulse to\npeak, ms",
        "lateness\nms",
        "stop band\ndB",
        "pass band\ndB",
        "same bits in\nany chunks",
        title="Streaming resamplers, int16 in and out",
        caption="impulse to peak: input needed until an impulse's peak comes out, at worst, fed "
        "1/8 ms at a time. lateness: how far output trails input at worst, fed 20 ms at a time. "
        "stop band: loudest alias or image. pass band: largest deviation up to 0.85 of the lower "
        "Nyquist frequency. libsamplerate works on floats; the conversion is counted.",
    )
    for column in table.columns:
        column.no_wrap = True
    for column in table.columns[2:]:
        column.justify = "right"
    for (rate_in, rate_out), group in itertools.groupby(rows, lambda row: (row["from"], row["to"])):
        label = f"{rate_in // 1000} → {rate_out // 1000}"
        for row in group:
            peak = row["impulse_to_peak_s"]
            table.add_row(
                label,
                row["peer"],
                f"{row['best_us']:.1f} ({row['median_us']:.1f})",
                "lost" if peak is None else f"{peak * 1e3:.2f}",
                f"{row['lateness_s'] * 1e3:.1f}",
                f"{row['stop_band_db']:.0f}",
                f"±{row['pass_band_db']:.2f}",
                "yes" if row["chunk_invariant"] else "no",
                style="bold" if row["peer"] == "audiocodecs" else None,
            )
            label = ""
        table.add_section()
    return table


def pin_to_one_core() -> int | None:
    """Pin this process to the last allowed core and return it; None if the system cannot."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and write the rows as JSON if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.codecs", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to FILE")
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    options = parser.parse_args(arguments)
    repeats = 5 if options.quick else 40

    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    core = pin_to_one_core()
    for package, module in (("soxr", soxr), ("samplerate", samplerate)):
        if module is None:
            console.print(f"left out: {package} is not installed (pip install {package})")

    frames = measure_codecs(count=500, size=FRAME, repeats=repeats)
    blocks = measure_codecs(count=2, size=BLOCK, repeats=max(3, repeats // 4))
    console.print(codec_table(f"A frame of {FRAME} samples, ns", frames, 1, 0))
    console.print(codec_table(f"Blocks of {BLOCK:,} samples, ns a sample", blocks, 1 / BLOCK, 2))
    resamplers = measure_resamplers(repeats)
    console.print(resampler_table(resamplers))

    if options.json:
        report = {
            "machine": {
                "python": platform.python_version(),
                "platform": platform.platform(),
                "core": core,
                "numpy": np.__version__,
            },
            "frames": frames,
            "blocks": blocks,
            "resamplers": resamplers,
        }
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
