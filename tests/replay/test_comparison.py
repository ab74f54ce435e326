from typing import Any

import numpy as np
import pytest

from audiocodecs import MULAW_8K
from mediaserver.captures.capture_lines import Capture, CapturedLine, CaptureHead
from mediaserver.replay.captured_call import CapturedCall, Decision
from mediaserver.replay.comparison import CallComparison, ShiftedAudio
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


def compare(
    captured: HeardCall, replayed: HeardCall, *errors: str, tolerance: float = 0.0
) -> CallComparison:
    return CallComparison(CALL, captured, replayed, errors, tolerance)


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


LATER = run((8_000, 800, 5)), run((8_000, 400, 5), (8_560, 400, 5))
"""A frame comes late in the second half of what is said."""


def test_audio_that_is_late_is_the_same_within_the_tolerance() -> None:
    comparison = compare(*LATER, tolerance=0.02)
    assert comparison.heard_alike
    assert comparison.difference == ""
    assert comparison.shifts == [ShiftedAudio(start=1.05, end=1.1, shift=0.02)]
    assert comparison.largest_shift == 0.02
    assert comparison.verdict == (
        "the caller hears the same audio, 0.05 s of it up to 20 ms earlier or later, from 1.05 s on"
    )


def test_without_a_tolerance_it_differs_but_the_tolerance_that_is_enough_is_known() -> None:
    comparison = compare(*LATER)
    assert not comparison.heard_alike
    assert (comparison.shifts, comparison.largest_shift) == ([], 0.0)
    assert comparison.verdict == comparison.difference
    enough = comparison.with_enough_tolerance
    assert enough is not None
    assert (enough.tolerance, enough.heard_alike) == (0.02, True)
    later = compare(run((8_000, 800, 5)), run((8_700, 800, 5)), tolerance=0.02)
    enough = later.with_enough_tolerance
    assert enough is not None
    assert (enough.tolerance, enough.largest_shift) == (0.1, 0.0875)
    assert compare(run((8_000, 800, 5)), run((8_000, 800, 6))).with_enough_tolerance is None
    assert compare(*LATER, "ValueError()").with_enough_tolerance is None


def test_other_audio_differs_whatever_the_tolerance() -> None:
    comparison = compare(
        run((8_000, 800, 5), (12_000, 160, 7)), run((8_160, 800, 5)), tolerance=0.02
    )
    assert comparison.first_difference == 1.5
    assert comparison.differing_stretches == [(1.5, 1.52)]
    assert [each.shift for each in comparison.shifts] == [0.02]


def test_exactly_the_same_audio_is_told_so_whatever_the_tolerance() -> None:
    for tolerance in (0.0, 0.02):
        same = compare(run((8_000, 800, 5)), run((8_000, 800, 5)), tolerance=tolerance)
        assert same.verdict == "the caller hears the same audio, sample for sample"


def test_what_pytest_shows_of_it_is_short() -> None:
    assert len(repr(compare(*LATER, tolerance=0.02))) < 100


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


def used(**usage: float) -> Decision:
    return Decision(1.0, "turn", {"usage": usage})


def test_what_services_cost_is_compared() -> None:
    then = run(decisions=[used(tokens_in=10, tokens_out=5), used(tokens_in=20)])
    now = run(decisions=[used(characters=40, speech_seconds=1.5)])
    figures = {each.name: [each.captured, each.replayed] for each in compare(then, now).figures}
    assert figures["tokens that models read"] == [30, 0]
    assert figures["tokens that models wrote"] == [5, 0]
    assert figures["characters synthesised"] == [0, 40]
    assert figures["speech transcribed"] == [0, 1.5]
    # A capture of an older version does not say it.
    old = compare(run(decisions=[turn(1.0, 0.5)]), now).figures
    assert [each.captured for each in old if each.name == "characters synthesised"] == [None]


def test_the_words_of_each_turn_stand_beside_each_other() -> None:
    then = run(decisions=[turn(1.0, 0.5, "", "Hi"), turn(2.0, 0.7, "So?", "Yes")])
    now = run(decisions=[Decision(1.0, "turn", {"words": "…"})])
    assert compare(then, now).words == [(["", "Hi"], []), (["So?", "Yes"], [])]
