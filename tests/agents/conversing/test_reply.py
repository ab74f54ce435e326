import pytest

from mediaserver.agents.conversing.reply import SHORTEST_REPLY, Reply, ReplyState
from mediaserver.agents.services import Tokens
from mediaserver.call import Usage


class Sound:
    def __init__(self, seconds_heard: float = 0.0, begins_at: float | None = None) -> None:
        self.seconds_heard = seconds_heard
        self.begins_at = begins_at


def test_times_count_from_the_end_of_the_callers_speech() -> None:
    reply = Reply(3, since=10.0, caller="Hello?")
    reply.turn_ended_at, reply.transcribed_at, reply.first_token_at = 10.6, 10.5, 11.0
    reply.audio_sent_at, reply.playback = 11.25, Sound(begins_at=11.5)
    turn = reply.report()
    assert (turn.number, turn.caller) == (3, "Hello?")
    assert (turn.end_of_turn, turn.transcript, turn.first_token) == pytest.approx((0.6, 0.5, 1.0))
    assert (turn.audio_sent, turn.audio_heard) == (1.25, 1.5)


def test_what_never_happened_has_no_time() -> None:
    turn = Reply(1, since=10.0).report()
    assert (turn.end_of_turn, turn.first_token, turn.audio_sent, turn.audio_heard) == (None,) * 4


def test_what_came_before_the_caller_finished_took_no_time() -> None:
    reply = Reply(1, since=10.0)
    reply.transcribed_at = 9.0
    assert reply.report().transcript == 0.0


def test_costs_are_added_up() -> None:
    reply = Reply(1, since=0.0)
    reply.spend(Tokens(10, 2, 5))
    reply.spend(Tokens(20, 3, 0))
    reply.characters, reply.speech_seconds = 12, 1.5
    assert reply.report().usage == Usage(
        tokens_in=30, tokens_out=5, tokens_cached=5, characters=12, speech_seconds=1.5
    )


@pytest.mark.parametrize(
    ("heard", "seconds", "noticed"),
    [
        ("", None, False),
        ("", SHORTEST_REPLY / 2, False),
        ("", SHORTEST_REPLY, True),
        ("Yes", 0.1, True),
    ],
)
def test_a_reply_is_noticed_by_a_word_or_by_its_length(
    heard: str, seconds: float | None, noticed: bool
) -> None:
    reply = Reply(1, since=0.0)
    reply.heard = heard
    reply.playback = None if seconds is None else Sound(seconds)
    assert reply.was_noticed is noticed


def test_a_new_attempt_has_the_number_the_words_and_the_cost_of_the_former() -> None:
    former = Reply(4, since=2.0, caller="Hello?")
    former.spend(Tokens(10, 2, 5))
    former.turn_ended_at = 2.5
    former.state, former.interrupted, former.heard = ReplyState.GIVEN_UP, True, ""
    again = former.again()
    assert (again.number, again.since, again.caller) == (4, 2.0, "Hello?")
    assert (again.tokens_in, again.turn_ended_at) == (10, 2.5)
    assert (again.state, again.interrupted, again.began) == (ReplyState.OWED, False, False)


def test_the_number_of_a_greeting_is_not_handed_on() -> None:
    reply = Reply(None, since=2.0)
    reply.carry_on(Reply(0, since=0.0))
    assert reply.number is None
