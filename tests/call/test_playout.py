from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from audiocodecs import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat
from mediaserver.call import Heard
from mediaserver.protocol import MAX_PLAY_BYTES, PlayAudio, ProtocolError, decode_command


FORMATS = [MULAW_8K, L16_8K, L16_16K, L16_24K]


# Sending.


def test_audio_within_the_lead_goes_out_at_once(bench: Any) -> None:
    bench.playout.play(bench.audio(0.6))
    assert bench.payloads == [bench.audio(0.6)]


def test_audio_beyond_the_lead_waits(bench: Any) -> None:
    bench.playout.play(bench.audio(2.0))
    assert bench.playout.backlog == pytest.approx(1.4)


def test_play_returns_where_the_audio_starts(bench: Any) -> None:
    assert bench.playout.play(bench.audio(0.5)) == 0
    assert bench.playout.play(bench.audio(2.0)) == 4000
    assert bench.playout.queued == 20_000


def test_empty_audio_sends_nothing(bench: Any) -> None:
    assert bench.playout.play(b"") == 0
    assert bench.messages == []


def test_small_pieces_go_out_as_they_come_while_the_lead_has_room(bench: Any) -> None:
    for _ in range(3):
        bench.playout.play(bench.audio(0.02))
    assert len(bench.payloads) == 3


def test_small_pieces_share_messages_once_they_have_to_wait(bench: Any) -> None:
    for _ in range(150):
        bench.playout.play(bench.audio(0.02))
    sent = len(bench.payloads)
    bench.run(3.0)
    assert all(len(payload) >= 0.1 * 8000 for payload in bench.payloads[sent:-1])
    assert bench.playout.backlog == 0


def test_messages_are_whole_frames_where_there_is_more_to_come(bench: Any) -> None:
    bench.playout.play(bench.audio(3.0))
    bench.run(2.0, tick=0.0333)
    assert all(len(payload) % 160 == 0 for payload in bench.payloads)


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_no_message_is_longer_than_the_carrier_takes(
    make_bench: type[Any], format: AudioFormat
) -> None:
    bench = make_bench(format, lead=5.0, message_length=4.0)
    bench.playout.play(bench.audio(8.0))
    bench.run(8.0)
    assert max(map(len, bench.payloads)) <= MAX_PLAY_BYTES
    assert b"".join(bench.payloads) == bench.audio(8.0)


@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_the_caller_hears_everything_in_order(make_bench: type[Any], format: AudioFormat) -> None:
    bench = make_bench(format)
    bench.playout.play(bench.audio(5.0))
    bench.run(6.0)
    assert bench.carrier.heard == bench.audio(5.0)
    assert bench.carrier.gaps == []


@pytest.mark.parametrize("lead", [0.02, 0.05, 0.1, 0.6, 3.0])
def test_every_lead_is_filled_and_never_passed(make_bench: type[Any], lead: float) -> None:
    bench = make_bench(lead=lead)
    bench.playout.play(bench.audio(2.0))
    for _ in range(400):
        assert bench.carrier.unplayed <= lead + 1e-9
        bench.run(0.01, tick=0.01)
    assert bench.carrier.heard == bench.audio(2.0)
    assert bench.carrier.gaps == [] or lead < 0.1


def test_messages_shorter_than_a_frame_are_not_made(make_bench: type[Any]) -> None:
    bench = make_bench(message_length=0.005)
    bench.playout.play(bench.audio(2.0))
    bench.run(2.5, tick=0.005)
    assert bench.carrier.heard == bench.audio(2.0)
    assert min(map(len, bench.payloads)) == 160


def test_a_playout_asks_for_ticks_when_audio_waits(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    assert bench.ticks_wanted == 0
    bench.playout.play(bench.audio(0.5))
    assert bench.ticks_wanted == 1


def test_it_works_where_nobody_gives_ticks(bench: Any) -> None:
    bench.playout.need_ticks = None
    bench.playout.play(bench.audio(1.0))
    bench.watch()
    bench.clock.now += 0.5
    bench.playout.play(bench.audio(0.02))
    assert bench.playout.backlog == 0


def test_ticks_are_wanted_until_all_is_sent(bench: Any) -> None:
    bench.playout.play(bench.audio(1.0))
    assert bench.playout.tick()
    bench.clock.now += 0.5
    assert not bench.playout.tick()


def test_ticks_are_wanted_while_somebody_waits_to_hear(bench: Any) -> None:
    bench.playout.play(bench.audio(0.1))
    bench.watch()
    assert bench.playout.tick()
    bench.run(0.2)
    assert not bench.playout.tick()


def test_no_ticks_are_wanted_while_paused(bench: Any) -> None:
    bench.playout.play(bench.audio(2.0))
    bench.playout.pause()
    assert not bench.playout.tick()


def test_no_ticks_are_wanted_after_the_end(bench: Any) -> None:
    bench.playout.play(bench.audio(2.0))
    bench.playout.end()
    assert not bench.playout.tick()


def test_nothing_goes_out_while_the_socket_is_blocked(bench: Any) -> None:
    bench.playout.blocked = True
    bench.playout.play(bench.audio(0.5))
    bench.playout.tick()
    assert bench.payloads == []


def test_unblocking_sends_what_waited(bench: Any) -> None:
    bench.playout.blocked = True
    bench.playout.play(bench.audio(0.5))
    bench.playout.unblock()
    assert bench.payloads == [bench.audio(0.5)]


def test_unblocking_an_ended_call_sends_nothing(bench: Any) -> None:
    bench.playout.blocked = True
    bench.playout.play(bench.audio(0.5))
    bench.playout.end()
    bench.playout.unblock()
    assert bench.payloads == []


def test_seconds_sent_are_counted(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    assert bench.counters.audio_out == 0.5


# Underruns and producer gaps.


def test_a_producer_that_falls_silent_for_a_moment_is_a_producer_gap(bench: Any) -> None:
    bench.playout.play(bench.audio(0.1))
    bench.run(0.3)
    bench.playout.play(bench.audio(0.1))
    assert bench.counters.producer_gaps == 1
    assert bench.counters.producer_gap_seconds == pytest.approx(0.2)
    assert bench.counters.underruns == 0


def test_a_long_silence_was_meant(bench: Any) -> None:
    bench.playout.play(bench.audio(0.1))
    bench.run(2.0)
    bench.playout.play(bench.audio(0.1))
    assert bench.counters.producer_gaps == 0


def test_a_long_silence_within_an_utterance_is_a_producer_gap(bench: Any) -> None:
    bench.playout.speaking = 1
    bench.playout.play(bench.audio(0.1))
    bench.run(2.0)
    bench.playout.play(bench.audio(0.1))
    assert bench.counters.producer_gap_seconds == pytest.approx(1.9)


def test_the_first_audio_follows_no_gap(bench: Any) -> None:
    bench.clock.now += 0.2
    bench.playout.play(bench.audio(0.1))
    assert bench.counters.producer_gaps == 0


def test_silence_after_an_interruption_is_no_gap(bench: Any) -> None:
    bench.playout.play(bench.audio(0.1))
    bench.playout.interrupt()
    bench.run(0.2)
    bench.playout.play(bench.audio(0.1))
    assert bench.counters.producer_gaps == 0


def test_queued_audio_that_misses_its_playout_is_an_underrun(bench: Any) -> None:
    bench.playout.play(bench.audio(2.0))
    bench.clock.now += 0.75
    bench.playout.tick()
    assert bench.counters.underruns == 1
    assert bench.counters.underrun_seconds == pytest.approx(0.15)
    assert bench.counters.producer_gaps == 0


def test_audio_that_comes_late_and_is_then_held_up_is_both(bench: Any) -> None:
    bench.playout.play(bench.audio(0.1))
    bench.playout.blocked = True
    bench.clock.now += 0.3
    bench.playout.play(bench.audio(0.1))
    bench.clock.now += 0.1
    bench.playout.unblock()
    assert bench.counters.producer_gap_seconds == pytest.approx(0.2)
    assert bench.counters.underrun_seconds == pytest.approx(0.1)


# What was heard.


def test_confirmed_audio_was_heard_in_full(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    waiter = bench.watch()
    bench.run(0.6)
    assert waiter.woken
    assert bench.playout.outcome(0, 4000, 0) == Heard(0.5, interrupted=False, confirmed=True)


def test_nothing_is_known_before_the_audio_is_played(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    bench.watch()
    bench.run(0.4)
    assert bench.playout.outcome(0, 4000, 0) is None


def test_unconfirmed_audio_was_heard_when_its_time_and_a_margin_are_over(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    waiter = bench.watch()
    bench.run(1.4, acknowledge=False)
    assert not waiter.woken
    bench.run(0.2, acknowledge=False)
    assert waiter.woken
    assert bench.playout.outcome(0, 4000, 0) == Heard(0.5, interrupted=False, confirmed=False)


def test_a_later_checkpoint_is_not_waited_for(bench: Any) -> None:
    """What is played in one go is confirmed as one; each part is known to be heard by the clock."""
    first = bench.playout.play(bench.audio(0.2))
    bench.playout.play(bench.audio(0.3))
    waiter = bench.watch(end=1600)
    bench.watch()
    bench.run(0.3, tick=0.02)
    assert waiter.woken
    assert bench.playout.outcome(first, 1600, 0) == Heard(0.2, interrupted=False, confirmed=False)


def test_audio_that_is_still_queued_is_not_overdue(bench: Any) -> None:
    bench.playout.blocked = True
    bench.playout.play(bench.audio(0.1))
    waiter = bench.watch()
    bench.run(5.0)
    assert not waiter.woken


def test_an_interruption_settles_what_was_heard(bench: Any) -> None:
    bench.playout.play(bench.audio(2.0))
    waiter = bench.watch()
    bench.run(0.5)
    bench.playout.interrupt()
    assert waiter.woken
    heard = bench.playout.outcome(0, 16_000, 0)
    assert heard == Heard(0.5, interrupted=True, confirmed=False)


def test_audio_heard_and_confirmed_before_the_interruption_was_not_interrupted(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    bench.watch()
    bench.run(0.6)
    bench.playout.play(bench.audio(2.0))
    bench.playout.interrupt()
    assert bench.playout.outcome(0, 4000, 0) == Heard(0.5, interrupted=False, confirmed=True)


def test_audio_that_never_began_was_heard_for_no_time(bench: Any) -> None:
    bench.playout.play(bench.audio(1.0))
    start = bench.playout.play(bench.audio(1.0))
    bench.run(0.5)
    bench.playout.interrupt()
    heard = bench.playout.outcome(start, 16_000, 0)
    assert heard == Heard(0.0, interrupted=True, confirmed=False)


def test_the_end_of_the_call_settles_what_was_heard(bench: Any) -> None:
    bench.playout.play(bench.audio(2.0))
    waiter = bench.watch()
    bench.run(0.5)
    bench.playout.end()
    assert waiter.woken
    assert bench.playout.outcome(0, 16_000, 0) == Heard(0.5, interrupted=True, confirmed=False)


def test_nothing_played_after_the_end_is_heard(bench: Any) -> None:
    bench.playout.end()
    start = bench.playout.play(bench.audio(0.5))
    generation = bench.playout.generation
    assert bench.playout.outcome(start, start, generation).seconds == 0


def test_interruptions_long_past_are_remembered_as_unheard(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    bench.run(1.0)
    for _ in range(70):
        bench.playout.interrupt()
    heard = bench.playout.outcome(0, 4000, 0)
    assert heard == Heard(0.0, interrupted=True, confirmed=False)
    assert bench.playout.heard_seconds(0, 4000, 0) == 0


def test_seconds_heard_follow_the_clock(bench: Any) -> None:
    bench.playout.play(bench.audio(1.0))
    bench.run(0.25)
    assert bench.playout.heard_seconds(0, 8000, 0) == pytest.approx(0.25)


def test_seconds_heard_stop_at_the_end_of_the_audio(bench: Any) -> None:
    bench.playout.play(bench.audio(0.2))
    bench.run(5.0)
    assert bench.playout.heard_seconds(0, 1600, 0) == 0.2


def test_seconds_heard_stop_at_an_interruption(bench: Any) -> None:
    bench.playout.play(bench.audio(1.0))
    bench.run(0.25)
    bench.playout.interrupt()
    bench.run(0.5)
    assert bench.playout.heard_seconds(0, 8000, 0) == pytest.approx(0.25)


def test_unheard_is_what_was_played_and_has_not_reached_the_ear(bench: Any) -> None:
    bench.playout.play(bench.audio(2.0))
    bench.run(0.5)
    assert bench.playout.unheard == pytest.approx(1.5)


def test_a_place_is_heard_after_the_network_and_the_carriers_delay(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    bench.watch()
    bench.clock.now += 0.53
    bench.playout.played(bench.names[0])
    bench.playout.round_trip = 0.05
    bench.playout.play(bench.audio(2.0))
    assert bench.playout.heard_in(1.5) == pytest.approx(0.5 + 0.03 + 0.05)
    bench.run(0.4, acknowledge=False)
    assert bench.playout.heard_in(1.5) == pytest.approx(0.1 + 0.03 + 0.05)
    bench.playout.pause()
    assert bench.playout.heard_in(1.5) == pytest.approx(0.5 - 0.37 + 0.03 + 0.05, abs=0.001)


def test_heard_positions_are_whole_samples(make_bench: type[Any]) -> None:
    bench = make_bench(L16_16K)
    bench.playout.play(bench.audio(1.0))
    bench.clock.now += 0.100_05
    bench.playout.pause()
    assert bench.playout.sent % 2 == 0


def test_a_confirmation_corrects_the_reckoning(bench: Any) -> None:
    """The carrier says that audio is heard 80 ms later than the clock alone would have it."""
    bench.playout.play(bench.audio(0.5))
    bench.watch()
    bench.clock.now += 0.58
    bench.playout.played(bench.names[0])
    bench.playout.play(bench.audio(1.0))
    bench.clock.now += 0.5
    assert bench.playout.heard_seconds(4000, 12_000, 0) == pytest.approx(0.42, abs=0.001)


def test_the_networks_own_time_is_not_taken_for_delay(bench: Any) -> None:
    bench.playout.round_trip = 0.08
    bench.playout.play(bench.audio(0.5))
    bench.watch()
    bench.clock.now += 0.58
    bench.playout.played(bench.names[0])
    bench.playout.play(bench.audio(1.0))
    bench.clock.now += 0.5
    assert bench.playout.heard_seconds(4000, 12_000, 0) == pytest.approx(0.5, abs=0.001)


def test_a_delay_that_is_a_fault_is_not_reckoned_with(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    bench.watch()
    bench.clock.now += 60
    bench.playout.played(bench.names[0])
    bench.playout.play(bench.audio(5.0))
    bench.run(4.0, acknowledge=False)
    assert bench.playout.heard_seconds(4000, 44_000, 0) == pytest.approx(2.0, abs=0.01)


def test_a_confirmation_that_is_read_late_is_outweighed_by_the_others(bench: Any) -> None:
    """A stalled event loop reads late; audio is not heard later for that."""
    for lateness in (0.02, 0.02, 0.5):
        bench.playout.play(bench.audio(2.0))
        bench.watch()
        bench.run(1.5)
        bench.clock.now += 0.5 + lateness
        bench.playout.played(bench.names[-1])
    start = bench.playout.play(bench.audio(1.0))
    bench.clock.now += 0.5
    end = bench.playout.queued
    assert bench.playout.heard_seconds(start, end, 0) == pytest.approx(0.48, abs=0.001)


def test_a_checkpoint_set_after_its_audio_had_ended_corrects_nothing(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    bench.run(1.5)
    bench.playout.checkpoint("late")
    bench.acknowledge()
    assert bench.reports == [("late", True)]
    start = bench.playout.play(bench.audio(1.0))
    bench.clock.now += 0.5
    end = bench.playout.queued
    assert bench.playout.heard_seconds(start, end, 0) == pytest.approx(0.5, abs=0.001)


def test_a_confirmation_moves_heard_forward_at_once(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    bench.watch()
    bench.clock.now += 0.45
    bench.playout.played(bench.names[0])
    assert bench.playout.unheard == 0


# Checkpoints.


def test_a_checkpoint_goes_out_right_after_its_audio(bench: Any) -> None:
    bench.playout.play(bench.audio(0.1))
    bench.playout.checkpoint("end")
    assert bench.kinds == ["playAudio", "checkpoint"]


def test_a_checkpoint_waits_for_its_audio(bench: Any) -> None:
    bench.playout.play(bench.audio(1.0))
    bench.playout.checkpoint("end")
    assert bench.names == []
    bench.run(0.5)
    assert bench.kinds[-1] == "checkpoint"


def test_a_checkpoint_stands_between_its_audio_and_the_next(bench: Any) -> None:
    bench.playout.play(bench.audio(0.7))
    bench.playout.checkpoint("middle")
    bench.playout.play(bench.audio(0.7))
    bench.run(2.0)
    place = bench.kinds.index("checkpoint")
    assert sum(len(payload) for payload in bench.payloads[:place]) == 0.7 * 8000


def test_checkpoints_keep_their_order(bench: Any) -> None:
    bench.playout.play(bench.audio(1.0))
    bench.playout.checkpoint("a")
    bench.playout.checkpoint("b")
    bench.playout.play(bench.audio(0.1))
    bench.playout.checkpoint("c")
    bench.run(2.0)
    assert bench.names == ["a", "b", "c"]


def test_a_checkpoint_of_heard_inserts_itself_in_order(bench: Any) -> None:
    bench.playout.play(bench.audio(0.8))
    bench.playout.play(bench.audio(0.8))
    bench.playout.checkpoint("end")
    bench.watch(end=6400)
    bench.run(2.0)
    assert bench.names == ["heard-1", "end"]


def test_a_checkpoint_that_was_reached_is_reported(bench: Any) -> None:
    bench.playout.play(bench.audio(0.1))
    bench.playout.checkpoint("end")
    bench.run(0.2)
    assert bench.reports == [("end", True)]


def test_a_checkpoint_that_was_cleared_is_reported(bench: Any) -> None:
    bench.playout.play(bench.audio(2.0))
    bench.playout.checkpoint("end")
    bench.playout.interrupt()
    assert bench.reports == [("end", False)]


def test_checkpoints_sent_and_unsent_are_both_reported_as_cleared(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    bench.playout.checkpoint("sent")
    bench.playout.play(bench.audio(2.0))
    bench.playout.checkpoint("unsent")
    bench.playout.interrupt()
    assert bench.reports == [("sent", False), ("unsent", False)]


def test_a_checkpoint_whose_audio_was_heard_was_reached_though_the_answer_is_on_its_way(
    bench: Any,
) -> None:
    bench.playout.play(bench.audio(0.5))
    bench.playout.checkpoint("end")
    bench.run(0.55, acknowledge=False)
    bench.playout.interrupt()
    assert bench.reports == [("end", True)]


def test_a_checkpoint_is_reported_once(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    bench.playout.checkpoint("end")
    bench.run(0.55, acknowledge=False)
    bench.playout.interrupt()
    bench.playout.played("end")
    assert len(bench.reports) == 1


def test_the_end_of_the_call_reports_checkpoints(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    bench.playout.checkpoint("end")
    bench.playout.end()
    assert bench.reports == [("end", False)]


def test_a_checkpoint_after_the_end_is_neither_sent_nor_reported(bench: Any) -> None:
    bench.playout.end()
    bench.playout.checkpoint("end")
    assert bench.reports == bench.messages == []


def test_an_answer_to_a_later_checkpoint_answers_those_before(bench: Any) -> None:
    bench.playout.play(bench.audio(0.1))
    bench.playout.checkpoint("a")
    bench.playout.play(bench.audio(0.1))
    bench.playout.checkpoint("b")
    bench.clock.now += 0.2
    bench.playout.played("b")
    assert bench.reports == [("a", True), ("b", True)]


def test_an_answer_to_an_unknown_checkpoint_is_ignored(bench: Any) -> None:
    bench.playout.play(bench.audio(0.1))
    bench.playout.played("what?")
    assert bench.counters.checkpoints_confirmed == 0


def test_a_bad_name_is_refused_at_once(bench: Any) -> None:
    with pytest.raises(ProtocolError, match="name"):
        bench.playout.checkpoint("")


def test_checkpoints_of_heard_are_at_most_one_a_second(bench: Any) -> None:
    for _ in range(100):
        bench.playout.play(bench.audio(0.05))
        bench.watch()
        bench.run(0.05, tick=0.05)
    assert 5 <= len(bench.names) <= 6


def test_those_who_wait_for_the_same_moment_share_a_checkpoint(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    bench.watch()
    bench.clock.now += 2.0
    bench.watch()
    assert len(bench.names) == 1


def test_heard_shares_the_handlers_checkpoint(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    bench.playout.checkpoint("end")
    waiter = bench.watch()
    assert bench.names == ["end"]
    bench.run(0.6)
    assert waiter.woken
    assert bench.playout.outcome(0, 4000, 0).confirmed


def test_checkpoints_without_answer_are_given_up_at_some_number(bench: Any) -> None:
    bench.playout.play(bench.audio(0.1))
    for number in range(1001):
        bench.playout.checkpoint(f"{number}")
    assert bench.reports == [("0", False)]


def test_checkpoints_are_counted(bench: Any) -> None:
    bench.playout.play(bench.audio(0.1))
    bench.playout.checkpoint("end")
    bench.run(0.2)
    assert bench.counters.checkpoints_sent == bench.counters.checkpoints_confirmed == 1


def test_a_carrier_that_never_confirms_is_noticed_once(bench: Any) -> None:
    for _ in range(3):
        bench.playout.play(bench.audio(0.5))
        bench.watch()
        bench.run(3.0, acknowledge=False)
    assert len(bench.notices) == 1
    assert 'bidirectional="true"' in bench.notices[0]
    assert "audio/x-mulaw;rate=8000" in bench.notices[0]


def test_a_carrier_that_once_confirmed_is_not_complained_about(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    bench.watch()
    bench.run(2.0)
    bench.playout.play(bench.audio(0.5))
    bench.watch()
    bench.run(5.0, acknowledge=False)
    assert bench.notices == []


def test_no_answer_is_overdue_before_its_time(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    bench.watch()
    bench.run(0.6)
    bench.playout.play(bench.audio(1.0))
    bench.playout.checkpoint("end")
    bench.clock.now += 0.9
    assert bench.playout.overdue() == 0


def test_an_answer_is_overdue_from_when_its_audio_was_played(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    bench.watch()
    bench.run(0.5)
    bench.playout.play(bench.audio(0.5))
    bench.playout.checkpoint("end")
    bench.clock.now += 7.5
    assert bench.playout.overdue() == pytest.approx(7.0)


def test_a_carrier_that_never_answers_owes_nothing(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    bench.playout.checkpoint("end")
    bench.clock.now += 60
    assert bench.playout.overdue() == 0


def test_nothing_is_overdue_while_paused(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    bench.watch()
    bench.run(0.6)
    bench.playout.play(bench.audio(0.5))
    bench.playout.pause()
    bench.playout.checkpoint("end")
    bench.clock.now += 60
    assert bench.playout.overdue() == 0


def test_one_answer_that_never_came_is_not_owed_for_ever(bench: Any) -> None:
    bench.playout.play(bench.audio(0.1))
    bench.playout.checkpoint("lost")
    bench.playout.play(bench.audio(0.1))
    bench.playout.checkpoint("end")
    bench.clock.now += 0.2
    bench.playout.played("end")
    bench.clock.now += 60
    assert bench.playout.overdue() == 0


# Interrupting.


def test_an_interruption_drops_the_queue(bench: Any) -> None:
    bench.playout.play(bench.audio(5.0))
    bench.playout.interrupt()
    bench.run(5.0)
    assert sum(map(len, bench.payloads)) == 0.6 * 8000


def test_an_interruption_clears_the_carrier(bench: Any) -> None:
    bench.playout.play(bench.audio(5.0))
    bench.playout.interrupt()
    assert bench.kinds[-1] == "clearAudio"
    assert bench.carrier.unplayed == 0


def test_an_interruption_returns_what_will_not_be_heard(bench: Any) -> None:
    bench.playout.play(bench.audio(2.0))
    bench.run(0.5)
    assert bench.playout.interrupt() == pytest.approx(1.5)


def test_an_interruption_begins_a_new_generation(bench: Any) -> None:
    bench.playout.interrupt()
    assert bench.playout.generation == 1


def test_an_interruption_of_an_ended_call_does_nothing(bench: Any) -> None:
    bench.playout.end()
    assert bench.playout.interrupt() is None
    assert bench.messages == []


def test_there_is_nothing_to_interrupt_before_anything_was_played(bench: Any) -> None:
    assert bench.playout.interrupt() is None
    assert bench.messages == []
    assert bench.counters.interrupts == 0


def test_an_interruption_ends_a_pause_in_which_nothing_was_played(bench: Any) -> None:
    bench.playout.pause()
    bench.playout.checkpoint("here")
    bench.playout.interrupt()
    assert not bench.playout.paused
    bench.playout.play(bench.audio(0.5))
    assert bench.playout.sent > 0
    assert any(b'"here"' in message for message in bench.messages)


def test_a_second_interruption_in_a_row_has_nothing_to_do(bench: Any) -> None:
    bench.playout.play(bench.audio(1.0))
    assert bench.playout.interrupt() is not None
    generation, sent = bench.playout.generation, len(bench.messages)
    assert bench.playout.interrupt() is None
    assert len(bench.messages) == sent
    assert bench.playout.generation > generation


def test_audio_after_an_interruption_is_heard_from_its_start(bench: Any) -> None:
    bench.playout.play(bench.audio(2.0))
    bench.run(0.5)
    bench.playout.interrupt()
    already = len(bench.carrier.heard)
    start = bench.playout.play(b"\x01" * 800)
    bench.run(0.2)
    assert bench.carrier.heard[already:] == b"\x01" * 800
    assert bench.playout.heard_seconds(start, start + 800, 1) == 0.1


def test_an_interruption_ends_a_pause(bench: Any) -> None:
    bench.playout.play(bench.audio(2.0))
    bench.playout.pause()
    bench.playout.interrupt()
    assert not bench.playout.paused
    bench.playout.play(b"\x01" * 80)
    assert bench.payloads[-1] == b"\x01" * 80


def test_interruptions_are_counted(bench: Any) -> None:
    for _ in range(2):
        bench.playout.play(bench.audio(0.1))
        bench.playout.interrupt()
    assert bench.counters.interrupts == 2


# Pausing.


def test_a_pause_silences_the_carrier(bench: Any) -> None:
    bench.playout.play(bench.audio(2.0))
    bench.run(0.5)
    bench.playout.pause()
    bench.run(5.0)
    assert len(bench.carrier.heard) == 4000


def test_resume_goes_on_where_the_caller_stopped_hearing(bench: Any) -> None:
    bench.playout.play(bench.audio(2.0))
    bench.run(0.5)
    bench.playout.pause()
    bench.run(5.0)
    bench.playout.resume()
    bench.run(2.0)
    assert bench.carrier.heard == bench.audio(2.0)


def test_a_pause_of_a_clip_sent_in_one_piece_cuts_it_in_the_middle(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    bench.run(0.2)
    bench.playout.pause()
    bench.playout.resume()
    assert bench.payloads == [bench.audio(0.5), bench.audio(0.5)[1600:]]


def test_pausing_again_and_again_loses_nothing(bench: Any) -> None:
    bench.playout.play(bench.audio(2.0))
    for _ in range(10):
        bench.run(0.13)
        bench.playout.pause()
        bench.run(0.31)
        bench.playout.resume()
    bench.run(2.0)
    assert bench.carrier.heard == bench.audio(2.0)


def test_pausing_twice_is_pausing_once(bench: Any) -> None:
    bench.playout.play(bench.audio(2.0))
    bench.playout.pause()
    bench.playout.pause()
    assert bench.kinds.count("clearAudio") == 1


def test_resuming_without_a_pause_does_nothing(bench: Any) -> None:
    bench.playout.play(bench.audio(2.0))
    sent = len(bench.messages)
    bench.playout.resume()
    assert len(bench.messages) == sent


def test_pausing_an_ended_call_does_nothing(bench: Any) -> None:
    bench.playout.end()
    bench.playout.pause()
    assert bench.messages == []
    assert not bench.playout.paused


def test_resuming_an_ended_call_does_nothing(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    bench.playout.pause()
    bench.playout.end()
    sent = len(bench.messages)
    bench.playout.resume()
    assert len(bench.messages) == sent


def test_audio_played_while_paused_waits(bench: Any) -> None:
    bench.playout.pause()
    bench.playout.play(bench.audio(0.5))
    assert bench.payloads == []
    bench.playout.resume()
    assert bench.payloads == [bench.audio(0.5)]


def test_time_spent_paused_is_no_underrun(bench: Any) -> None:
    bench.playout.play(bench.audio(2.0))
    bench.run(0.5)
    bench.playout.pause()
    bench.run(5.0)
    bench.playout.resume()
    bench.run(3.0)
    assert bench.counters.underruns == 0
    assert bench.counters.producer_gaps == 0


def test_a_watch_waits_through_a_pause(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    waiter = bench.watch()
    bench.run(0.2)
    bench.playout.pause()
    bench.run(10.0)
    assert not waiter.woken
    bench.playout.resume()
    bench.run(2.0)
    assert waiter.woken


def test_a_checkpoint_goes_out_again_with_the_audio_that_goes_out_again(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    bench.playout.checkpoint("end")
    bench.run(0.2)
    bench.playout.pause()
    bench.playout.resume()
    assert bench.names == ["end", "end"]
    bench.run(0.5)
    assert bench.reports == [("end", True)]


def test_a_checkpoint_within_the_audio_that_goes_out_again_keeps_its_place(bench: Any) -> None:
    bench.playout.play(bench.audio(0.3))
    bench.playout.checkpoint("middle")
    bench.playout.play(bench.audio(0.3))
    bench.run(0.1)
    bench.playout.pause()
    bench.playout.resume()
    assert bench.kinds[-3:] == ["playAudio", "checkpoint", "playAudio"]


def test_a_checkpoint_that_was_heard_before_the_pause_is_reported(bench: Any) -> None:
    """Its answer may be on its way, or may have been lost with the clear: it is not waited for."""
    bench.playout.play(bench.audio(0.5))
    bench.playout.checkpoint("end")
    bench.run(0.51, acknowledge=False)
    bench.playout.pause()
    bench.playout.resume()
    bench.run(60, acknowledge=False)
    assert bench.reports == [("end", True)]
    assert bench.playout.overdue() == 0


def test_a_checkpoint_asked_for_while_paused_comes_with_the_resume(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    bench.run(0.6)
    bench.playout.pause()
    bench.playout.checkpoint("end")
    assert bench.names == []
    bench.playout.resume()
    assert bench.names == ["end"]


def test_audio_after_such_a_checkpoint_is_sent_whole(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    bench.run(0.6)
    bench.playout.pause()
    bench.playout.checkpoint("end")
    bench.playout.play(bench.audio(0.1))
    bench.playout.resume()
    assert bench.kinds[-2:] == ["checkpoint", "playAudio"]
    assert bench.payloads[-1] == bench.audio(0.1)


def test_a_late_carrier_is_paused_without_losing_what_it_had_not_played(bench: Any) -> None:
    """Audio is kept as long as the carrier is late, beyond the lead."""
    bench.playout.play(bench.audio(0.5))
    bench.watch()
    bench.clock.now += 2.0
    bench.playout.played(bench.names[0])
    bench.playout.play(bench.audio(10.0))
    bench.run(5.0, acknowledge=False)
    heard = bench.playout.heard_seconds(4000, 84_000, 0)
    bench.playout.pause()
    assert heard == pytest.approx(3.5, abs=0.01)
    assert (bench.playout.sent - 4000) / 8000 == pytest.approx(heard, abs=0.01)


# Backpressure.


def test_there_is_room_below_the_high_water_mark(bench: Any) -> None:
    bench.playout.play(bench.audio(2.5))
    assert bench.playout.has_room


def test_there_is_no_room_above_the_high_water_mark(bench: Any) -> None:
    bench.playout.play(bench.audio(2.6))
    assert not bench.playout.has_room


def test_who_waits_for_room_is_woken_below_the_low_water_mark(
    bench: Any, make_waiter: type[Any]
) -> None:
    bench.playout.play(bench.audio(3.0))
    waiter = make_waiter()
    bench.playout.wait_for_room(waiter)
    bench.run(1.2)
    assert not waiter.woken
    bench.run(0.4)
    assert waiter.woken
    assert bench.playout.backlog <= 1.0


def test_unblocking_wakes_who_waits_for_room(make_bench: type[Any], make_waiter: type[Any]) -> None:
    bench = make_bench(queue_high=0.3, queue_low=0.1)
    bench.playout.blocked = True
    bench.playout.play(bench.audio(0.4))
    waiter = make_waiter()
    bench.playout.wait_for_room(waiter)
    bench.playout.unblock()
    assert waiter.woken


def test_an_interruption_wakes_who_waits_for_room(bench: Any, make_waiter: type[Any]) -> None:
    bench.playout.play(bench.audio(3.0))
    waiter = make_waiter()
    bench.playout.wait_for_room(waiter)
    bench.playout.interrupt()
    assert waiter.woken


def test_the_end_of_the_call_wakes_who_waits_for_room(bench: Any, make_waiter: type[Any]) -> None:
    bench.playout.play(bench.audio(3.0))
    waiter = make_waiter()
    bench.playout.wait_for_room(waiter)
    bench.playout.end()
    assert waiter.woken


def test_who_gave_up_waiting_is_left_alone(bench: Any, make_waiter: type[Any]) -> None:
    bench.playout.play(bench.audio(3.0))
    room, heard = make_waiter(), bench.watch()
    bench.playout.wait_for_room(room)
    room.cancelled = heard.cancelled = True
    bench.playout.interrupt()
    assert not room.woken
    assert not heard.woken


def test_ending_twice_is_ending_once(bench: Any) -> None:
    bench.playout.play(bench.audio(0.5))
    bench.playout.end()
    generation = bench.playout.generation
    bench.playout.end()
    assert bench.playout.generation == generation


class Conversation(RuleBasedStateMachine):
    """Whatever is done in whatever order, the caller hears what was played, once and in order.

    The model is a tape: what was played, at its position. An interruption cuts it off at what was
    sent. The carrier here plays continuously and at once, so the reckoning has no error but
    rounding to a sample, and the lateness of the answers by which it is corrected.
    """

    Bench: Any = None
    Waiter: Any = None
    acknowledges = True
    # Answers come up to this much late, in seconds.
    lateness = 0.01

    def __init__(self) -> None:
        super().__init__()
        self.bench = self.Bench(L16_8K)
        self.playout = self.bench.playout
        self.bench.tap = self.send
        self.tape = bytearray()
        # Where the carrier's next audio begins on the tape.
        self.position = 0
        self.waiters: list[Any] = []
        self.serial = 0
        self.names: list[Any] = []

    def send(self, message: bytes) -> None:
        command = decode_command(message)
        if isinstance(command, PlayAudio):
            payload = command.payload
            assert payload
            assert len(payload) <= MAX_PLAY_BYTES
            assert payload == self.tape[self.position : self.position + len(payload)]
            self.position += len(payload)
            assert self.playout.sent == self.position

    @rule(samples=st.integers(1, 12_000))
    def play(self, samples: int) -> None:
        audio = b"".join(
            ((self.serial + index) % 65_521).to_bytes(2, "little") for index in range(samples)
        )
        self.serial += samples
        self.tape += audio
        assert self.playout.play(audio) == len(self.tape) - len(audio)

    @property
    def error(self) -> float:
        """How far the reckoning may be off, in bytes."""
        return 2 + (2 * self.lateness * 16_000 if self.acknowledges else 0)

    @rule()
    def tick(self) -> None:
        self.playout.tick()

    @rule(seconds=st.floats(0.001, 1.5))
    def stall(self, seconds: float) -> None:
        until = self.bench.clock.now + seconds
        while self.bench.clock.now < until:
            self.bench.clock.now += self.lateness
            self.answer()

    @rule(seconds=st.floats(0.1, 2.0))
    def wait(self, seconds: float) -> None:
        until = self.bench.clock.now + seconds
        while self.bench.clock.now < until:
            self.stall(0.1)
            self.playout.tick()

    def answer(self) -> None:
        if self.acknowledges:
            self.bench.acknowledge()

    @rule()
    def interrupt(self) -> None:
        generation = self.playout.generation
        self.playout.interrupt()
        assert self.playout.generation == generation + 1
        assert self.playout.unheard == 0
        del self.tape[self.playout.sent :]
        self.position = self.playout.sent
        assert all(waiter.woken for waiter in self.waiters)

    @precondition(lambda self: not self.playout.paused)
    @rule()
    def pause(self) -> None:
        before = self.playout.sent
        unheard = self.bench.carrier.unplayed
        self.playout.pause()
        # What goes back to the queue is what the carrier had not played.
        assert abs((before - self.playout.sent) - unheard * 16_000) <= self.error
        self.position = self.playout.sent

    @rule()
    def resume(self) -> None:
        self.playout.resume()

    @rule()
    def checkpoint(self) -> None:
        self.names.append(f"{len(self.names)}")
        self.playout.checkpoint(self.names[-1])

    @rule(back=st.integers(0, 8000))
    def watch(self, back: int) -> None:
        waiter = self.Waiter()
        end = max(0, len(self.tape) - 2 * back)
        if self.playout.outcome(0, end, self.playout.generation) is None:
            self.playout.watch(end, waiter)
            self.waiters.append(waiter)

    @precondition(lambda self: not self.playout.has_room)
    @rule()
    def wait_for_room(self) -> None:
        waiter = self.Waiter()
        self.playout.wait_for_room(waiter)
        self.waiters.append(waiter)

    @rule()
    def block(self) -> None:
        self.playout.blocked = True

    @rule()
    def unblock(self) -> None:
        self.playout.unblock()

    @invariant()
    def positions_are_in_order(self) -> None:
        heard = self.playout.heard_seconds(0, len(self.tape), self.playout.generation) * 16_000
        assert heard <= self.playout.sent + 1e-6
        assert self.playout.sent <= self.playout.queued == len(self.tape)

    @invariant()
    def the_carrier_never_holds_more_than_the_lead(self) -> None:
        assert self.bench.carrier.unplayed <= 0.6 + 2 / 16_000

    @invariant()
    def heard_is_what_the_carrier_played(self) -> None:
        queued_there = self.bench.carrier.unplayed * 16_000
        unheard = self.playout.unheard * 16_000
        backlog = self.playout.queued - self.playout.sent
        assert abs(unheard - backlog - queued_there) <= self.error

    def teardown(self) -> None:
        self.playout.unblock()
        self.playout.resume()
        self.wait(self.playout.unheard + 2.5)
        assert not self.playout.tick()
        assert self.playout.unheard == 0
        assert all(waiter.woken for waiter in self.waiters)
        self.playout.end()
        reported = [name for name, _ in self.bench.reports]
        assert sorted(reported) == sorted(self.names)


def run_conversations(bench: type[Any], waiter: type[Any], acknowledges: bool) -> None:
    machine = type(
        "Conversation",
        (Conversation,),
        {"Bench": bench, "Waiter": waiter, "acknowledges": acknowledges},
    )
    run_state_machine_as_test(machine, settings=settings(stateful_step_count=40))


def test_any_conversation_with_a_carrier_that_answers(
    make_bench: type[Any], make_waiter: type[Any]
) -> None:
    run_conversations(make_bench, make_waiter, acknowledges=True)


def test_any_conversation_with_a_carrier_that_never_answers(
    make_bench: type[Any], make_waiter: type[Any]
) -> None:
    run_conversations(make_bench, make_waiter, acknowledges=False)


# When it is heard.


def begins_at(bench: Any, start: int) -> float | None:
    at = bench.playout.begins_at(start, bench.playout.generation)
    return None if at is None else at - 1000.0


def test_audio_begins_when_what_was_sent_before_has_been_heard(bench: Any) -> None:
    bench.playout.play(bench.audio(0.3))
    second = bench.playout.play(bench.audio(0.2))
    assert begins_at(bench, 0) == 0.0
    assert begins_at(bench, second) == pytest.approx(0.3)


def test_audio_that_was_not_sent_has_no_beginning_yet(bench: Any) -> None:
    bench.playout.play(bench.audio(2.0))
    later = bench.playout.play(bench.audio(0.2))
    assert begins_at(bench, later) is None
    bench.run(1.8)
    assert begins_at(bench, later) == pytest.approx(2.0)


def test_when_audio_began_is_known_long_after(bench: Any) -> None:
    bench.playout.play(bench.audio(0.2))
    bench.run(3.0)
    second = bench.playout.play(bench.audio(0.2))
    bench.run(3.0)
    bench.playout.play(bench.audio(0.2))
    assert begins_at(bench, 0) == 0.0
    assert begins_at(bench, second) == pytest.approx(3.0)


def test_audio_that_was_interrupted_before_it_began_has_no_beginning(bench: Any) -> None:
    generation = bench.playout.generation
    bench.playout.play(bench.audio(0.3))
    second = bench.playout.play(bench.audio(0.2))
    bench.run(0.1)
    bench.playout.interrupt()
    assert bench.playout.begins_at(0, generation) == 1000.0
    assert bench.playout.begins_at(second, generation) is None


def test_audio_after_a_pause_begins_later(bench: Any) -> None:
    bench.playout.play(bench.audio(0.3))
    second = bench.playout.play(bench.audio(0.2))
    bench.run(0.1)
    bench.playout.pause()
    assert begins_at(bench, second) is None
    bench.run(1.0)
    bench.playout.resume()
    assert begins_at(bench, second) == pytest.approx(1.3)


def test_the_network_delays_what_is_heard(bench: Any) -> None:
    bench.playout.round_trip = 0.08
    bench.playout.play(bench.audio(0.3))
    assert begins_at(bench, 0) == pytest.approx(0.08)


def test_only_so_many_beginnings_are_remembered(bench: Any) -> None:
    for _ in range(40):
        bench.playout.play(bench.audio(0.02))
        bench.run(0.5)
    assert begins_at(bench, 8 * 160 - 1) is None
    assert begins_at(bench, 8 * 160) == pytest.approx(4.0)


# Listening in.


class Tap:
    """Plays what it is told at the times it is told, as a caller hears it."""

    def __init__(self, bench: Any) -> None:
        self.bench = bench
        self.heard = bytearray()

    def _position(self, at: float) -> Any:
        return round((at - 1000.0) * self.bench.format.bytes_per_second)

    def sent(self, audio: bytes | memoryview, at: float) -> None:
        start = self._position(at)
        assert start >= len(self.heard)
        self.heard += bytes(start - len(self.heard)) + audio

    def cut(self, at: float) -> None:
        del self.heard[self._position(at) :]


def test_a_tap_is_told_what_is_heard_and_when(bench: Any) -> None:
    tap = bench.playout.tap = Tap(bench)
    bench.playout.play(bench.audio(1.5))
    bench.run(0.5)
    bench.playout.pause()
    bench.run(1.0)
    bench.playout.resume()
    bench.run(0.3)
    bench.playout.interrupt()
    bench.run(1.0)
    bench.playout.play(bench.audio(0.2))
    bench.run(0.5)
    speech = bench.audio(1.5)
    heard = speech[:4000] + bytes(8000) + speech[4000:6400] + bytes(8000) + bench.audio(0.2)
    assert len(tap.heard) == len(heard)
    # The clock's own error may be one sample at each cut.
    assert sum(a != b for a, b in zip(tap.heard, heard, strict=True)) <= 2


def test_a_tap_is_told_of_the_end(bench: Any) -> None:
    tap = bench.playout.tap = Tap(bench)
    bench.playout.play(bench.audio(0.5))
    bench.run(0.2)
    bench.playout.end()
    assert len(tap.heard) == 1600


def test_a_tap_is_told_of_an_underrun(bench: Any) -> None:
    tap = bench.playout.tap = Tap(bench)
    bench.playout.play(bench.audio(1.0))
    bench.clock.now += 0.9  # nothing was sent for longer than the lead
    bench.playout.tick()
    bench.run(0.5)
    audio = bench.audio(1.0)
    assert bytes(tap.heard) == audio[:4800] + bytes(2400) + audio[4800:]


# Losing the stream, and continuing on another.


@pytest.mark.parametrize("plays_on", [False, True, None])
def test_nothing_goes_out_while_the_stream_is_lost(make_bench: type[Any], plays_on: Any) -> None:
    bench = make_bench(plays_on_when_lost=plays_on)
    bench.playout.play(bench.audio(2.0))
    bench.run(1.0)
    sent = len(bench.messages)
    bench.playout.suspend()
    bench.playout.play(bench.audio(0.5))
    bench.playout.checkpoint("later")
    bench.run(1.0)
    assert [each for each in bench.kinds[sent:] if each == "playAudio"] == []


def lose_in_the_midst(bench: Any) -> int:
    """Lose the stream for 30 s after one of two seconds; return how many payloads were sent."""
    bench.playout.play(bench.audio(2.0))
    bench.run(1.0)
    sent = len(bench.payloads)
    bench.playout.suspend()
    bench.clock.now += 30
    return sent


def test_what_a_carrier_dropped_is_sent_again_from_where_the_caller_was(
    make_bench: type[Any],
) -> None:
    bench = make_bench(plays_on_when_lost=False)
    sent = lose_in_the_midst(bench)
    assert bench.playout.unheard == pytest.approx(1.0)
    count = len(bench.messages)
    bench.playout.reopen("another")
    assert bench.kinds[count] == "clearAudio"
    assert b'"another"' in bench.messages[count]
    bench.run(2.0)
    assert b"".join(bench.payloads[sent:]) == bench.audio(2.0)[8000:]
    assert bench.counters.underruns == 0


def test_what_a_carrier_played_on_is_not_sent_again(make_bench: type[Any]) -> None:
    bench = make_bench(plays_on_when_lost=True)
    sent = lose_in_the_midst(bench)
    bench.playout.reopen("stream")
    bench.run(2.0)
    again = b"".join(bench.payloads[sent:])
    assert again == bench.audio(2.0)[-len(again) :]
    assert len(again) == pytest.approx(0.4 * 8000, abs=0.1 * 8000)


def test_an_end_while_the_stream_is_lost_settles_by_what_was_heard(make_bench: type[Any]) -> None:
    bench = make_bench(plays_on_when_lost=False)
    start = bench.playout.play(bench.audio(2.0))
    bench.run(1.0)
    bench.playout.suspend()
    bench.clock.now += 3
    bench.playout.end()
    heard = bench.playout.outcome(start, 16_000, 0)
    assert heard.seconds == pytest.approx(1.0, abs=0.03)
    assert heard.interrupted
    bench.playout.suspend()


@pytest.mark.parametrize("silent", [1.0, 3.0, 8.0])
def test_what_went_into_a_dead_connection_is_sent_again(
    make_bench: type[Any], silent: float
) -> None:
    bench = make_bench()
    bench.playout.play(bench.audio(20.0))
    bench.run(2.0)
    quiet_since = bench.clock.now
    bench.run(0.9)
    bench.playout.keep_more()
    bench.run(silent - 0.9)
    sent = len(bench.payloads)
    bench.playout.suspend(quiet_since)
    assert bench.playout.unheard == pytest.approx(18.0, abs=0.03)
    count = len(bench.messages)
    bench.playout.reopen("another")
    # Nobody has to be asked: after a second the carrier has nothing left.
    assert bench.kinds[count] == "clearAudio"
    bench.run(20.0)
    again = b"".join(bench.payloads[sent:])
    assert again == bench.audio(20.0)[-len(again) :]
    assert len(again) == pytest.approx(18.0 * 8000, abs=0.03 * 8000)


def test_what_was_interrupted_is_not_sent_again(make_bench: type[Any]) -> None:
    bench = make_bench()
    bench.playout.play(bench.audio(20.0))
    bench.run(2.0)
    quiet_since = bench.clock.now
    bench.run(1.0)
    bench.playout.interrupt()
    bench.run(0.5)
    bench.playout.play(bench.audio(0.5))
    sent = len(bench.payloads)
    bench.playout.suspend(quiet_since)
    bench.playout.reopen("another")
    bench.run(5.0)
    assert len(b"".join(bench.payloads[sent:])) == 0.5 * 8000
