"""When the carrier plays which position, at 8,000 bytes a second."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediaserver.call.runs import Runs


@pytest.fixture
def runs() -> Runs:
    return Runs(8_000)


def test_a_carrier_that_was_sent_nothing_has_nothing_to_play(runs: Runs) -> None:
    assert runs.unplayed(0, 0.0) == 0
    assert runs.unplayed(0, 1_000.0) == 0


def test_the_first_run_follows_none(runs: Runs) -> None:
    assert runs.begin(0, 5.0) is None


def test_what_was_sent_is_played_as_time_goes_by(runs: Runs) -> None:
    runs.begin(0, 5.0)
    assert runs.unplayed(4_000, 5.0) == 4_000
    assert runs.unplayed(4_000, 5.25) == 2_000
    assert runs.unplayed(4_000, 5.5) == 0
    assert runs.unplayed(4_000, 60.0) == 0


def test_a_run_reaches_each_position_at_its_time(runs: Runs) -> None:
    runs.begin(800, 5.0)
    assert runs.reached(4.0) == 800
    assert runs.reached(5.125) == 1_800
    assert runs.time_of(1_800) == 5.125


def test_what_was_played_before_a_run_counts_as_played_at_its_start(runs: Runs) -> None:
    runs.begin(800, 5.0)
    assert runs.time_of(0) == 5.0


def test_a_run_knows_when_the_one_before_it_ran_dry(runs: Runs) -> None:
    runs.begin(0, 5.0)
    assert runs.begin(800, 7.0) == pytest.approx(5.1)


def test_a_run_that_was_stopped_did_not_run_dry(runs: Runs) -> None:
    runs.begin(0, 5.0)
    runs.stop(800)
    assert runs.unplayed(800, 5.0) == 0
    assert runs.begin(800, 7.0) is None


def test_when_audio_was_played_is_known_over_several_runs(runs: Runs) -> None:
    runs.begin(0, 5.0)
    runs.begin(800, 7.0)
    assert runs.played_at(400) == pytest.approx(5.05)
    assert runs.played_at(800) == 7.0
    assert runs.played_at(1_600) == pytest.approx(7.1)


def test_audio_before_any_run_was_never_played(runs: Runs) -> None:
    assert runs.played_at(0) is None


def test_the_last_32_runs_are_remembered(runs: Runs) -> None:
    for number in range(40):
        runs.begin(number * 160, number)
    assert runs.played_at(8 * 160 - 1) is None
    assert runs.played_at(8 * 160) == 8.0


@given(st.integers(0, 100_000), st.integers(0, 100_000), st.floats(0, 100))
def test_what_is_reached_and_what_is_unplayed_make_up_what_was_sent(
    position: int, size: int, elapsed: float
) -> None:
    runs = Runs(8_000)
    runs.begin(position, 3.0)
    sent, now = position + size, 3.0 + elapsed
    assert min(runs.reached(now), sent) + runs.unplayed(sent, now) == sent


def test_what_was_played_in_the_past_is_known_over_several_runs(runs: Runs) -> None:
    assert runs.reached_at(3.0) == 0
    runs.begin(0, 5.0)
    runs.begin(800, 7.0)
    assert runs.reached_at(4.0) == 0
    assert runs.reached_at(5.0625) == 500
    assert runs.reached_at(6.0) == 800
    assert runs.reached_at(7.125) == 1_800
