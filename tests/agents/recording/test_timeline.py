from typing import Any

import numpy as np

from audiocodecs import L16_8K, Samples
from mediaserver.agents.recording.timeline import AGENT, CALLER, LONGEST_KEPT, Timeline
from mediaserver.call import Frame


LOUD = b"\x10\x10" * 160


def frame(timestamp: int | None = None, track: str = "inbound") -> Frame:
    return Frame(LOUD, L16_8K, track, timestamp)


def loud(samples: Samples, side: int) -> Any:
    """Return from where to where one side is loud, in seconds."""
    places = np.flatnonzero(samples[:, side])
    return (places[0] / 8000, (places[-1] + 1) / 8000) if len(places) else None


def test_frames_are_placed_by_their_timestamps() -> None:
    timeline = Timeline(L16_8K, 100.0)
    for number, late in enumerate((0.0, 0.05, 0.03, 0.01)):
        timeline.received(frame(5000 + 20 * number), 100.02 + 0.02 * number + late)
    assert loud(timeline.take(101.0), CALLER) == (0.0, 0.08)


def test_a_frame_that_never_came_leaves_silence() -> None:
    timeline = Timeline(L16_8K, 100.0)
    timeline.received(frame(5000), 100.02)
    timeline.received(frame(5100), 100.12)
    samples = timeline.take(100.2)
    assert not samples[160:800, CALLER].any()
    assert samples[800:960, CALLER].all()


def test_timestamps_that_jump_are_not_believed() -> None:
    timeline = Timeline(L16_8K, 100.0)
    timeline.received(frame(5000), 100.02)
    timeline.received(frame(90_000_000), 100.04)
    timeline.received(frame(90_000_020), 100.06)
    assert loud(timeline.take(100.2), CALLER) == (0.0, 0.06)


def test_what_the_caller_hears_on_the_outbound_track_is_not_the_caller() -> None:
    timeline = Timeline(L16_8K, 100.0)
    timeline.received(frame(5000, "outbound"), 100.02)
    assert loud(timeline.take(100.2), CALLER) is None


def test_a_cut_reaches_what_has_its_time_already() -> None:
    timeline = Timeline(L16_8K, 100.0)
    timeline.sent(LOUD * 10, 100.1)
    timeline.take(100.15)
    timeline.cut(100.2)
    assert loud(timeline.take(101.0), AGENT)[1] <= 0.0501


def test_memory_is_bounded_when_nobody_takes() -> None:
    timeline = Timeline(L16_8K, 0.0)
    for number in range(50 * 70):
        timeline.received(frame(20 * number), 0.02 * (number + 1))
    assert 9 < timeline.lost < 11
    assert len(timeline.take(70.0)) == LONGEST_KEPT * 8000


def test_speech_of_the_agent_is_bounded_when_nobody_takes() -> None:
    timeline = Timeline(L16_8K, 0.0)
    for number in range(50 * 70):
        timeline.sent(LOUD, 0.02 * number)
    assert 9 < timeline.lost < 11
    assert loud(timeline.take(70.0), AGENT) == (0.0, LONGEST_KEPT)


def test_clocks_that_drift_are_followed() -> None:
    timeline = Timeline(L16_8K, 0.0)
    # Plivo's clock gains a millisecond in a second: after a minute both sides are still together.
    for number in range(50 * 60):
        now = 0.02 * (number + 1) * 0.999
        timeline.received(frame(20 * number), now)
        if number % 50 == 0:
            timeline.take(now - 0.5)
    heard_at = 0.02 * 3000 * 0.999
    timeline.sent(LOUD, heard_at)
    before = timeline._taken / 8000
    start, _ = loud(timeline.take(heard_at + 0.1), AGENT)
    assert abs(before + start - 60.0) < 0.04


def test_the_other_party_is_mixed_with_what_is_played() -> None:
    timeline = Timeline(L16_8K, 100.0)
    timeline.received(frame(5000), 100.02)
    for number in range(10):
        timeline.received(frame(5100 + 20 * number, "outbound"), 100.12 + 0.02 * number)
    timeline.sent(b"\x00\x70" * 800, 100.2)
    timeline.cut(100.25)
    samples = timeline.take(100.5)
    assert loud(samples, CALLER) == (0.0, 0.02)
    assert loud(samples, AGENT) == (0.1, 0.3)
    levels = [int(samples[at, AGENT]) for at in (1000, 1800, 2200)]
    # As loud as both, and no louder than samples can be.
    assert levels == [0x1010, 0x7FFF, 0x1010]
