"""How the page plays the frames of the line."""

from collections.abc import Callable
from typing import Any


SPEAKER = """async (steps) => {
    let Made;
    globalThis.AudioWorkletProcessor = class { port = {}; };
    globalThis.registerProcessor = (name, made) => { Made = made; };
    await import(location.origin + "/speaker-worklet.js");
    const speaker = new Made();
    let next = 1;
    const heard = [];
    for (const step of steps) {
        if (step === "frame") {
            speaker.port.onmessage({ data: new Int16Array(320).fill(100 * next).buffer });
            next += 1;
        } else {
            const block = [new Float32Array(160), new Float32Array(160)];
            speaker.process([], [block]);
            heard.push(block.map((channel) => Math.round(channel[0] * 32768)));
        }
    }
    return heard;
}"""


def heard(opened: Callable[..., Any], *steps: str) -> list[int]:
    """Return the first sample of each block of 10 ms; both channels are alike."""
    blocks = opened().evaluate(SPEAKER, list(steps))
    assert all(left == right for left, right in blocks)
    return [left for left, _ in blocks]


def test_waits_for_two_frames(opened: Callable[..., Any]) -> None:
    steps = ["frame", "play", "frame", "play", "play", "play", "play", "play"]
    assert heard(opened, *steps) == [0, 100, 100, 200, 200, 0]


def test_waits_again_after_it_ran_empty(opened: Callable[..., Any]) -> None:
    steps = ["frame", "frame", *["play"] * 5, "frame", "play", "frame", "play"]
    assert heard(opened, *steps) == [100, 100, 200, 200, 0, 0, 300]


def test_drops_the_oldest_when_too_much_waits(opened: Callable[..., Any]) -> None:
    assert heard(opened, *["frame"] * 11, "play") == [900]
