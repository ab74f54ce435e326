from typing import Any

import numpy as np
import pytest

from audiocodecs import MULAW_8K
from mediaserver.captures.capture_lines import Capture, CapturedLine, CaptureHead
from mediaserver.replay.captured_call import CapturedCall, Decision
from mediaserver.replay.comparison import CallComparison
from mediaserver.replay.heard_call import HeardCall


START = b'{"event":"start","start":{"callId":"c","streamId":"s","accountId":"a"}}'
CALL = CapturedCall.read(Capture(CaptureHead(), [CapturedLine(0.0, "<", START)]))


def run(*stretches: tuple[int, int, int], seconds: float = 2.0, **more: Any) -> HeardCall:
    """A call in which samples of a value are heard: first, number, value."""
    return HeardCall(
        format=MULAW_8K,
        seconds=seconds,
        stretches=[(start, np.full(number, value, np.int16)) for start, number, value in stretches],
        **{
            "spells": [],
            "gaps": [],
            "checkpoints": [],
            "clears": [],
            "decisions": [],
            "messages": 1,
            **more,
        },
    )


def compare(captured: HeardCall, replayed: HeardCall, *errors: str) -> CallComparison:
    return CallComparison(CALL, captured, replayed, errors)


def test_equal_samples_at_equal_times_are_alike() -> None:
    comparison = compare(run((160, 800, 5)), run((160, 400, 5), (560, 400, 5)))
    assert comparison.heard_alike
    assert comparison.difference == ""
    assert not comparison.differing_stretches


def test_a_later_end_differs_only_if_something_is_heard_there() -> None:
    assert compare(run((0, 160, 5)), run((0, 160, 5), seconds=4.0)).heard_alike
    longer = run((0, 160, 5), (24_000, 160, 5), seconds=4.0)
    assert compare(run((0, 160, 5)), longer).first_difference == 3.0


def test_where_something_else_is_heard_is_told_in_frames() -> None:
    comparison = compare(run((8_000, 800, 5)), run((8_160, 800, 5)))
    assert not comparison.heard_alike
    assert comparison.first_difference == 1.0
    assert comparison.differing_stretches == [(1.0, 1.02), (1.1, 1.12)]
    assert comparison.difference == (
        "from 1.00 s on the caller hears something else, for 0.04 s in all"
    )
    assert comparison.both_heard.shape == (16_000, 2)
    assert comparison.both_heard[8_000].tolist() == [5, 0]


def test_what_a_handler_raised_is_the_difference() -> None:
    comparison = compare(run(), run(), "ValueError()")
    assert not comparison.heard_alike
    assert comparison.difference == "the handler raised ValueError()"


def turn(at: float, heard: float, *words: str) -> Decision:
    return Decision(at, "turn", {"audio_heard": heard, "words": list(words)})


def test_figures_are_those_of_both_runs() -> None:
    then = run(
        (80, 160, 5),
        gaps=[(0.5, 0.1), (0.8, 0.06)],
        decisions=[
            turn(1.0, 0.5, "", "Hi"),
            turn(2.0, 0.7, "So?", "Yes"),
            Decision(1, "barge-in", {}),
        ],
    )
    now = run(decisions=[turn(1.0, 0.6, "", "Hello")], cpu=0.25)
    comparison = compare(then, now)
    figures = {each.name: [each.captured, each.replayed] for each in comparison.figures}
    assert figures["first audio heard"] == [0.01, None]
    assert figures["gaps"] == [2, 0]
    assert figures["seconds of gaps"] == [pytest.approx(0.16), 0]
    assert figures["barge-ins"] == [1, 0]
    assert figures["median, caller's last word to audio heard"] == [pytest.approx(0.6), 0.6]
    assert figures["CPU of the call"] == [None, 0.25]
    assert "tools called" not in figures


def test_the_words_of_each_turn_stand_beside_each_other() -> None:
    then = run(decisions=[turn(1.0, 0.5, "", "Hi"), turn(2.0, 0.7, "So?", "Yes")])
    now = run(decisions=[Decision(1.0, "turn", {"words": "…"})])
    assert compare(then, now).words == [(["", "Hi"], []), (["So?", "Yes"], [])]
