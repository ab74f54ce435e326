import json
from typing import Any

import numpy as np
import pytest

from mediaserver.sandbox import CallReport
from mediaserver.sandbox.phone.report import (
    Gap,
    InterruptReport,
    ReplyReport,
    interrupts,
    mix,
    replies,
)
from mediaserver.sandbox.wire.ledger import TimelineEntry


def test_a_reply_is_timed_from_the_end_of_the_utterance() -> None:
    seconds: Any = pytest.approx(0.4)
    assert replies([(1.0, 2.0)], [(0.0, 0.5), (2.4, 3.0)]) == [ReplyReport(2.0, seconds)]


def test_each_utterance_has_its_own_reply() -> None:
    caller, agent = [(0.0, 1.0), (3.0, 4.0)], [(1.5, 2.5), (4.25, 5.0)]
    assert [reply.seconds for reply in replies(caller, agent)] == [0.5, 0.25]


def test_an_agent_that_waits_until_the_caller_speaks_again_has_not_replied() -> None:
    assert replies([(0.0, 1.0), (3.0, 4.0)], [(3.5, 5.0)])[0].seconds is None


def test_an_agent_that_talks_over_the_caller_has_not_replied() -> None:
    assert replies([(0.0, 1.0)], [(0.5, 2.0)]) == [ReplyReport(1.0, None)]


def test_an_interrupt_is_timed_to_the_end_of_the_speech_it_cut_into() -> None:
    found = interrupts([(2.0, "key 3")], [(1.0, 2.25), (4.0, 5.0)], [(2.24, 0.5)], 10.0)
    assert found == [InterruptReport(2.0, "key 3", 0.25, cleared=0.5)]
    assert not found[0].talked_on


def test_the_first_of_several_keys_is_the_interrupt() -> None:
    found = interrupts([(2.1, "key 2"), (2.0, "key 1")], [(1.0, 2.5)], [], 10.0)
    assert found == [InterruptReport(2.0, "key 1", 0.5)]


@pytest.mark.parametrize("time", [0.5, 3.5, 1.0, 3.0])
def test_a_key_while_the_agent_is_silent_is_no_interrupt(time: float) -> None:
    assert interrupts([(time, "key 1")], [(1.0, 3.0)], [], 10.0) == []


def test_a_pause_between_two_words_is_no_silence() -> None:
    (found,) = interrupts([(2.0, "key 1")], [(1.0, 2.02), (2.3, 4.0), (4.29, 5.0)], [], 10.0)
    assert (found.seconds, found.talked_on) == (3.0, True)


def test_a_key_in_a_pause_between_two_words_cuts_in() -> None:
    (found,) = interrupts([(2.1, "key 1")], [(1.0, 2.0), (2.25, 4.0)], [], 10.0)
    assert found.seconds == pytest.approx(1.9)


def test_what_is_said_right_after_a_clear_is_another_turn() -> None:
    agent, clears = [(1.0, 2.1), (2.2, 4.0)], [(2.09, 3.0)]
    (found,) = interrupts([(2.0, "key 1")], agent, clears, 10.0)
    assert found == InterruptReport(2.0, "key 1", pytest.approx(0.1), cleared=3.0)  # type: ignore[arg-type]


def test_cutting_in_between_two_words_counts_if_the_agent_then_cleared() -> None:
    agent = [(1.0, 2.0)]
    assert interrupts([(2.1, "speech")], agent, [(2.15, 0.3)], 10.0) == [
        InterruptReport(2.1, "speech", 0.0, cleared=0.3)
    ]
    assert interrupts([(2.1, "speech")], agent, [], 10.0) == []


def test_what_was_cleared_before_the_caller_cut_in_was_not_cleared_for_it() -> None:
    (found,) = interrupts([(2.0, "key 1")], [(1.0, 4.0)], [(1.0, 0.5)], 10.0)
    assert (found.cleared, found.talked_on) == (0.0, True)


def test_an_agent_that_clears_late_did_not_talk_on() -> None:
    (found,) = interrupts([(2.0, "key 1")], [(1.0, 4.0)], [(4.0, 0.5)], 10.0)
    assert (found.seconds, found.talked_on) == (2.0, False)


def test_an_agent_that_speaks_on_to_the_end_was_never_silent() -> None:
    (found,) = interrupts([(2.0, "key 1")], [(1.0, 10.0)], [], 10.01)
    assert found == InterruptReport(2.0, "key 1", None)
    assert found.talked_on


def test_a_recording_has_the_caller_left_and_the_agent_right() -> None:
    ones, twos = np.full(3, 1, np.int16), np.full(4, 2, np.int16)
    stereo = mix([(0, ones), (8, ones)], [(2, twos)], 10)
    assert stereo[:, 0].tolist() == [1, 1, 1, 0, 0, 0, 0, 0, 1, 1]
    assert stereo[:, 1].tolist() == [0, 0, 2, 2, 2, 2, 0, 0, 0, 0]
    assert stereo.dtype == np.int16


def test_what_was_still_to_be_said_when_the_call_ended_is_not_recorded() -> None:
    assert mix([(5, np.ones(3, np.int16))], [], 4).tolist() == [[0, 0]] * 4


def test_a_report_is_json(report: CallReport) -> None:
    report.gaps = [Gap(1.23456789, 0.5)]
    report.timeline = [TimelineEntry(0.0, "stream_started", "é")]
    report.recording = np.zeros((5, 2), np.int16)
    read = json.loads(report.to_json())
    assert read["gaps"] == [{"start": 1.234568, "seconds": 0.5}]
    assert read["timeline"] == [{"time": 0.0, "kind": "stream_started", "text": "é"}]
    assert read["ended_by"] == report.ended_by
    assert "recording" not in read
    assert read == report.to_dict()


def test_a_report_can_be_one_line(report: CallReport) -> None:
    assert "\n" not in report.to_json(indent=None)
