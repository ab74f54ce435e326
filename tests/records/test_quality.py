from typing import Any

import pytest

from mediaserver.records.batches import Batch
from mediaserver.records.quality import complaints, slow_stage
from tests.records.conftest import over, turn


def call(**more: Any) -> dict[str, Any]:
    return Batch([over(**more)], "j1").over[0]


def turns(*events: Any) -> list[dict[str, Any]]:
    return Batch(events, "j1").turns


def test_of_a_good_call_there_is_nothing_to_say() -> None:
    assert complaints(call(loop_lag=0.05, slowest_answer=1.2, first_audio=0.1)) == []


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (
            {"counts": {"underruns": 2, "underrun_seconds": 0.4}},
            "audio that was ready was sent too late: 2 gaps, 0.40 s",
        ),
        (
            {"counts": {"producer_gaps": 3, "producer_gap_seconds": 1.5}},
            "speech had 3 gaps, 1.50 s",
        ),
        ({"counts": {"frames_lost": 50}}, "50 frames of the caller's audio never came (1.0 s)"),
        ({"counts": {"frames_dropped": 50}}, "50 frames of the caller's audio were dropped"),
        ({"loop_lag": 0.35}, "the event loop stood still for 0.35 s"),
        ({"slowest_answer": 3.25}, "the slowest answer came after 3.25 s"),
        ({"turns": 4, "turns_failed": 1}, "1 of 4 turns failed"),
        ({"cause": "handler_error", "error": "KeyError"}, "the handler raised KeyError"),
        ({"cause": "lost", "reason": "nothing came for 30 s"}, "was lost: nothing came for 30 s"),
        ({"cause": "process_lost"}, "the process node1/w1 died while it had the call"),
    ],
)
def test_what_was_bad_is_said_in_a_sentence(more: dict[str, Any], text: str) -> None:
    (sentence,) = complaints(call(**more))
    assert text in sentence


def test_the_slow_stage_of_the_slowest_turn_is_named() -> None:
    own = turns(
        turn(position=0, audio_heard=9.0),
        turn(position=1, audio_heard=1.0, first_token=0.9),
        turn(
            position=2,
            end_of_turn=0.3,
            transcript=0.5,
            first_token=2.5,
            audio_sent=3.0,
            audio_heard=3.1,
        ),
    )
    assert slow_stage(own) == "in turn 2, the language model took 2.00 s of it"
    found = complaints(call(slowest_answer=3.1), own)
    assert found[1] == "in turn 2, the language model took 2.00 s of it"


def test_without_an_answer_no_stage_was_slow() -> None:
    assert slow_stage(turns(turn(position=0, audio_heard=9.0), turn(position=1))) is None


def test_what_services_said_is_shown_once() -> None:
    own = turns(turn(position=1, error="no answer"), turn(position=2, error="no answer"))
    assert complaints(call(), own) == ["a turn failed: no answer"]
