"""Listening in: when the page plays what a trace tells, on a clock that is not the server's."""

from collections.abc import Callable
from typing import Any

import pytest


LISTEN = """async ({ seconds, speed, stall }) => {
    const { Listening } = await import(location.origin + "/listening.js");
    let clock = 0;
    const played = []; // [seconds of the call, of the clock, seconds]
    let at = 0;
    globalThis.AudioContext = class {
        get currentTime() { return clock; }
        createBuffer(channels, length, rate) {
            return { seconds: length / rate, copyToChannel() {} };
        }
        createBufferSource() {
            return {
                connect() {}, stop() {},
                start(begin, offset) { played.push([at, begin, this.buffer.seconds - offset]); },
            };
        }
        close() {}
    };
    const trace = { caller: { rate: 8000 }, agent: { rate: 8000 } };
    const listening = new Listening(trace, 0);
    for (let frame = 0; frame < seconds * 50; frame++) {
        at = frame / 50;
        // What is told while the network stands still comes at once, later.
        const comes = at >= stall[0] && at < stall[1] ? stall[1] : at;
        clock = Math.max(clock, comes * speed);
        trace.caller.listener.add(new Float32Array(160), at);
    }
    return played;
}"""


@pytest.fixture
def listened(opened: Callable[..., Any]) -> Callable[..., list[list[float]]]:
    """Return what listens to a caller for some seconds, and returns what was played when."""
    page = opened()

    def listened(**how: Any) -> list[list[float]]:
        given = {"seconds": 20, "speed": 1.0, "stall": [0, 0]} | how
        played: list[list[float]] = page.evaluate(LISTEN, given)
        return played

    return listened


def test_all_is_played_a_moment_later(listened: Callable[..., list[list[float]]]) -> None:
    played = listened()
    assert len(played) == 1000
    assert {round(begin - at, 6) for at, begin, _ in played} == {0.4}


def test_a_faster_clock_does_not_end_what_is_heard(
    listened: Callable[..., list[list[float]]],
) -> None:
    last = [seconds for at, _, seconds in listened(seconds=300, speed=1.01) if at >= 200]
    assert sum(last) > 95


def test_after_a_stall_one_listens_as_soon_as_before(
    listened: Callable[..., list[list[float]]],
) -> None:
    played = listened(stall=[5.0, 8.0])
    assert {round(begin - at, 6) for at, begin, _ in played if at > 8} == {0.4}
