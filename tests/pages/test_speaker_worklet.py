"""How the page plays the frames of the line."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest


SPEAKER = """async ({ steps, samples }) => {
    let Made;
    globalThis.AudioWorkletProcessor = class { port = { postMessage: () => { underruns += 1; } }; };
    globalThis.registerProcessor = (name, made) => { Made = made; };
    let underruns = 0;
    await import(location.origin + "/speaker-worklet.js");
    const speaker = new Made();
    const line = {};
    speaker.port.onmessage({ data: { line } });
    let next = 0;
    const heard = [];
    for (const step of steps) {
        if (step === "frame") {
            const sample = (_, index) => samples[(next + index) % samples.length];
            const frame = Int16Array.from({ length: 320 }, sample);
            line.onmessage({ data: frame.buffer });
            next += 320;
        } else {
            const block = [new Float32Array(128), new Float32Array(128)];
            speaker.process([], [block]);
            const differs = block[0].some((sample, index) => sample !== block[1][index]);
            if (differs) throw new Error("the channels differ");
            heard.push(...block[0].map((sample) => Math.round(sample * 32768)));
        }
    }
    // A text is handed over much faster than an array.
    return { heard: heard.join(), underruns };
}"""

TONE = np.rint(8_000 * np.sin(2 * np.pi * np.arange(80) / 80)).astype(int)
"""A period of 200 Hz."""

LEAD = 160
"""Samples of silence before the first frame."""


def steps_of(
    seconds: float, *, late: dict[int, float] | None = None, speed: float = 1.0
) -> list[str]:
    """Return what comes when frames come every 20 ms, those in `late` so many seconds later."""
    times = [0.02 / speed * number for number in range(int(seconds * 50 * speed))]
    came = [time + (late or {}).get(number, 0.0) for number, time in enumerate(times)]
    frames = [(time, 0, "frame") for time in np.maximum.accumulate(came)]
    blocks = [(0.008 * number + 0.004, 1, "play") for number in range(int(seconds * 125))]
    return [step for _, _, step in sorted(frames + blocks)]


def played(
    opened: Callable[..., Any], steps: list[str], samples: Sequence[int] = TONE.tolist()
) -> tuple[Any, int]:
    """Return what was heard, and how often there was nothing to play."""
    found = opened().evaluate(SPEAKER, {"steps": steps, "samples": list(samples)})
    return np.fromstring(found["heard"], int, sep=","), found["underruns"]


def steepest(samples: Any) -> int:
    return int(np.abs(np.diff(samples)).max())


def test_plays_what_comes_after_half_a_frame(opened: Callable[..., Any]) -> None:
    samples = list(range(1, 3_201))
    heard, underruns = played(opened, steps_of(0.2), samples)

    assert underruns == 0
    assert np.array_equal(heard[:LEAD], np.zeros(LEAD))
    assert np.array_equal(heard[LEAD:], samples[: len(heard) - LEAD])


def test_the_voice_goes_on_where_a_frame_is_late(opened: Callable[..., Any]) -> None:
    heard, underruns = played(opened, steps_of(1, late={20: 0.018}))

    assert underruns == 0
    assert steepest(heard[LEAD:]) <= 1.2 * steepest(TONE)
    assert len(np.flatnonzero(heard[LEAD:] == 0)) < 1.2 * len(heard) / 40


def test_falls_silent_after_a_frame_and_begins_anew(opened: Callable[..., Any]) -> None:
    heard, underruns = played(opened, steps_of(1, late={20: 0.15}))

    assert underruns == 1
    silent = np.flatnonzero(np.convolve(heard == 0, np.ones(128), "valid") == 128)
    assert 0.08 < len(silent) / 16_000 < 0.15
    assert heard[-200:].any()


def test_delay_that_is_not_needed_is_cut_out(opened: Callable[..., Any]) -> None:
    steps = ["frame", "frame", *steps_of(5)]
    heard, underruns = played(opened, steps)

    # Two frames more have come than were played at first.
    assert underruns == 0
    assert steepest(heard[LEAD:]) <= 1.2 * steepest(TONE)
    came, out = 320 * steps.count("frame"), 128 * steps.count("play")
    assert came + LEAD - out > 2 * 320, "all this would wait if nothing had been cut"
    rest, _ = played(opened, [*steps, *["play"] * 10])
    left = np.flatnonzero(rest[len(heard) :])[-1]
    assert left < 320 + 2 * 320


@pytest.mark.parametrize("speed", [0.99, 1.01])
def test_follows_a_clock_that_is_one_percent_off(opened: Callable[..., Any], speed: float) -> None:
    steps = steps_of(20, speed=speed)
    heard, underruns = played(opened, steps)

    assert underruns == 0
    assert steepest(heard[LEAD:]) <= 1.3 * steepest(TONE)
    rest, _ = played(opened, [*steps, *["play"] * 40])
    assert np.flatnonzero(rest[len(heard) :])[-1] < 4 * 320, "more than 80 ms wait at the end"


def test_drops_the_oldest_when_too_much_waits(opened: Callable[..., Any]) -> None:
    heard, _ = played(opened, ["frame"] * 11 + ["play"], list(range(1, 11 * 320 + 1)))

    assert heard[0] == 8 * 320 + 1
