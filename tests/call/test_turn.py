from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.call import StreamCounters, Turn, TurnCounters, Usage
from mediaserver.call.turn import BUCKETS, STAGES, Times


def counted(*turns: Any) -> TurnCounters:
    counters = TurnCounters()
    for turn in turns:
        counters.count(turn)
    return counters


def test_usage_adds_up() -> None:
    one = Usage(tokens_in=10, tokens_out=2, characters=30)
    other = Usage(tokens_in=5, tokens_cached=4, speech_seconds=1.5)
    assert one + other == Usage(
        tokens_in=15, tokens_out=2, tokens_cached=4, characters=30, speech_seconds=1.5
    )


def test_a_turn_is_counted_with_its_usage() -> None:
    counters = counted(
        Turn(number=0, usage=Usage(characters=20)),
        Turn(number=1, interrupted=True, usage=Usage(characters=5, tokens_in=100)),
    )
    assert (counters.turns, counters.interrupted) == (2, 1)
    assert counters.usage["characters"] == 25
    assert counters.usage["tokens_in"] == 100


def test_each_stage_that_was_reached_is_counted() -> None:
    counters = counted(Turn(number=1, end_of_turn=0.6, audio_heard=1.3), Turn(number=0))
    reached = {stage: sum(times.counts) for stage, times in counters.stages.items()}
    assert reached == {
        "end_of_turn": 1,
        "transcript": 0,
        "first_token": 0,
        "audio_sent": 0,
        "audio_heard": 1,
        "greeting": 0,
    }
    assert counters.stages["audio_heard"].sum == 1.3


def test_a_greeting_is_counted_apart_from_answers() -> None:
    counters = counted(Turn(number=0, audio_sent=0.1, audio_heard=0.4))
    reached = {stage: sum(times.counts) for stage, times in counters.stages.items()}
    assert {stage for stage, count in reached.items() if count} == {"greeting"}
    assert counters.stages["greeting"].sum == 0.4


@given(st.floats(-5, 30))
def test_a_time_is_counted_in_the_first_bucket_that_holds_it(seconds: float) -> None:
    times = Times()
    times.count(seconds)
    bucket = times.counts.index(1)
    bounds = (float("-inf"), *BUCKETS, float("inf"))
    assert bounds[bucket] < seconds <= bounds[bucket + 1]
    assert times.sum == max(0.0, seconds)


def test_barge_ins_are_counted_by_what_they_turned_out_to_be() -> None:
    counters = TurnCounters()
    for confirmed in (True, False, False):
        counters.count_barge_in(confirmed)
    assert counters.barge_ins == {"confirmed": 1, "false": 2}


@pytest.mark.parametrize("stage", STAGES)
def test_sums_have_everything(stage: str) -> None:
    seconds: dict[str, Any] = {stage: 0.7}
    one = counted(Turn(number=1, interrupted=True, usage=Usage(tokens_out=3), **seconds))
    one.count_barge_in(True)
    one.failures["speech"] += 2
    totals = TurnCounters()
    totals.add(one)
    totals.add(one)
    assert (totals.turns, totals.interrupted) == (2, 2)
    assert totals.barge_ins["confirmed"] == 2
    assert totals.failures == {"speech": 4}
    assert totals.usage["tokens_out"] == 6
    assert sum(totals.stages[stage].counts) == 2
    assert totals.stages[stage].sum == 1.4


def test_a_call_without_an_agent_has_no_counters_of_turns() -> None:
    counters, totals = StreamCounters(), StreamCounters()
    totals.add(counters)
    assert totals._turns is None


def test_the_counts_of_streams_have_those_of_their_turns() -> None:
    counters, totals = StreamCounters(), StreamCounters()
    counters.turns.count(Turn(number=1))
    totals.add(counters)
    totals.add(counters)
    assert totals.turns.turns == 2
    assert counters.turns.turns == 1
