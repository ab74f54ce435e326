import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiocodecs import L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.turns import (
    CallerSilent,
    SpeechConfirmed,
    SpeechDropped,
    SpeechStarted,
    TurnEnded,
    TurnEvent,
    TurnSettings,
    TurnTaker,
)
from mediaserver.call import Frame


class Probabilities:
    """A detector that says what it was told to, 20 ms after 20 ms, and then 0."""

    def __init__(self, probabilities: Iterable[float]) -> None:
        self._probabilities = iter(probabilities)

    def probability(self, frame: Frame) -> float:
        assert frame.seconds == pytest.approx(0.02)
        return next(self._probabilities, 0.0)


def track(*pieces: tuple[float, float]) -> list[float]:
    """Return probabilities, from (seconds, probability)."""
    return [probability for seconds, probability in pieces for _ in range(round(seconds * 50))]


def frame(seconds: float = 0.02, format: AudioFormat = MULAW_8K) -> Frame:
    return Frame(bytes(round(seconds * format.bytes_per_second)), format)


def taker_of(probabilities: Iterable[float], **settings: object) -> TurnTaker:
    return TurnTaker(
        TurnSettings(**{"silence": None} | settings),  # type: ignore[arg-type]
        Probabilities(probabilities),
    )


def hear(taker: TurnTaker, seconds: float, *, agent_speaking: bool = False) -> list[TurnEvent]:
    heard = (taker.hear(frame(), agent_speaking=agent_speaking) for _ in range(round(seconds * 50)))
    return [event for event in heard if event is not None]


def test_a_sentence_while_the_agent_is_silent_is_a_turn() -> None:
    taker = taker_of(track((1, 0), (2, 1)), end_of_turn=0.6, shortest=0.16, onset=0.04)

    assert hear(taker, 5) == [
        SpeechStarted(1.04),
        SpeechConfirmed(1.16),
        TurnEnded(at=3.6, speech_ended_at=3.0, speech_seconds=2.0),
    ]


def test_a_pause_shorter_than_the_end_of_turn_does_not_end_it() -> None:
    taker = taker_of(track((1, 1), (0.5, 0), (1, 1)), end_of_turn=0.6)

    (end,) = hear(taker, 4)[2:]

    assert end == TurnEnded(at=3.1, speech_ended_at=2.5, speech_seconds=2.5)


def test_speech_that_grows_fainter_goes_on() -> None:
    taker = taker_of(track((1, 1), (1, 0.4), (1, 0)), stop_below=0.35)

    assert hear(taker, 4)[-1] == TurnEnded(at=2.6, speech_ended_at=2.0, speech_seconds=2.0)


def test_a_click_while_the_agent_is_silent_is_dropped() -> None:
    taker = taker_of(track((1, 0), (0.1, 1)))

    assert hear(taker, 4) == [SpeechStarted(1.02), SpeechDropped(1.3, "noise")]


def test_one_step_is_no_onset_when_two_are_wanted() -> None:
    assert hear(taker_of([0, 1, 0, 1, 0], onset=0.04), 1) == []


def test_an_interruption_is_confirmed_by_its_length() -> None:
    taker = taker_of(track((1, 0), (2, 1)), confirm=0.6)

    events = hear(taker, 3, agent_speaking=True)

    assert events == [SpeechStarted(1.02), SpeechConfirmed(1.6)]


def test_a_cough_while_the_agent_speaks_is_dropped_after_some_quiet() -> None:
    taker = taker_of(track((1, 0), (0.4, 0.95)), drop_after=0.5)

    events = hear(taker, 5, agent_speaking=True)

    assert events == [SpeechStarted(1.02), SpeechDropped(1.9, "too_short")]
    assert not taker.speaking


def test_an_interruption_is_decided_within_its_time() -> None:
    """This noise never stops, and is never beyond doubt."""
    taker = taker_of(track((10, 0.7)), decide_within=1.5)

    events = hear(taker, 3, agent_speaking=True)

    assert events == [SpeechStarted(0.02), SpeechDropped(1.52, "too_short")]


def test_after_a_drop_there_must_be_a_dip_before_the_next_start() -> None:
    taker = taker_of(track((2, 0.7), (0.1, 0), (1, 0.7)), decide_within=1.5)

    events = hear(taker, 3, agent_speaking=True)

    assert [event.at for event in events if isinstance(event, SpeechStarted)] == [0.02, 2.12]


def test_speech_right_after_a_noise_was_dropped_is_heard() -> None:
    """The noise is dropped at 0.22 s; there is no more quiet in between."""
    taker = taker_of(track((0.02, 0.7), (0.2, 0), (2, 1)))

    events = hear(taker, 2, agent_speaking=True)

    assert events == [
        SpeechStarted(0.02),
        SpeechDropped(0.22, "noise"),
        SpeechStarted(0.24),
        SpeechConfirmed(0.82),
    ]


def test_a_backchannel_that_goes_on_without_a_pause_is_an_interruption_by_its_length() -> None:
    taker = taker_of(track((3, 1)), confirm=0.6)
    hear(taker, 0.4, agent_speaking=True)
    taker.understood("okay", final=True)

    assert hear(taker, 2, agent_speaking=True) == [
        SpeechStarted(1.0, resumes=True),
        SpeechConfirmed(1.0),
    ]


def test_speech_that_began_before_the_agent_spoke_needs_the_length_of_an_interruption() -> None:
    taker = taker_of(track((0.1, 1), (0.3, 1), (2, 0)))

    started = hear(taker, 0.1)
    rest = hear(taker, 2, agent_speaking=True)

    assert started == [SpeechStarted(0.02)]
    assert rest == [SpeechDropped(0.9, "too_short")]


def test_an_interruption_stays_one_when_the_agent_falls_silent() -> None:
    taker = taker_of(track((0.4, 1)), confirm=0.6)
    hear(taker, 0.1, agent_speaking=True)

    assert not any(isinstance(event, SpeechConfirmed) for event in hear(taker, 3))


def test_words_confirm_what_is_too_short() -> None:
    taker = taker_of(track((0.4, 1)))
    hear(taker, 0.5, agent_speaking=True)

    assert taker.understood("Stop!", final=False) == SpeechConfirmed(0.5)
    assert hear(taker, 1, agent_speaking=True) == [
        TurnEnded(at=1.0, speech_ended_at=0.4, speech_seconds=0.4)
    ]


def test_words_confirm_what_was_dropped_already() -> None:
    taker = taker_of(track((0.4, 1)))
    hear(taker, 2, agent_speaking=True)
    assert not taker.speaking

    confirmed = taker.understood("stop", final=True)
    assert (confirmed, taker.speaking) == (SpeechConfirmed(2.0), True)
    assert hear(taker, 0.02, agent_speaking=True) == [
        TurnEnded(at=2.02, speech_ended_at=0.4, speech_seconds=0.4)
    ]


def test_words_confirm_once() -> None:
    taker = taker_of(track((0.4, 1)))
    hear(taker, 0.5, agent_speaking=True)
    taker.understood("stop", final=False)

    assert taker.understood("stop it", final=True) is None
    hear(taker, 1, agent_speaking=True)
    assert taker.understood("stop it", final=True) is None


@pytest.mark.parametrize("text", ["Okay.", "uh-huh", "Yeah, I see", "MM-HMM!"])
def test_a_backchannel_drops_an_interruption(text: str) -> None:
    taker = taker_of(track((0.4, 1)))
    hear(taker, 0.5, agent_speaking=True)

    assert taker.understood(text, final=True) == SpeechDropped(0.5, "backchannel")
    assert hear(taker, 2, agent_speaking=True) == []


def test_a_backchannel_that_goes_on_is_an_interruption() -> None:
    taker = taker_of(track((0.4, 1)))
    hear(taker, 0.5, agent_speaking=True)

    assert taker.understood("yeah", final=False) is None
    assert taker.understood("yeah but wait", final=False) == SpeechConfirmed(0.5)


def test_a_backchannel_confirms_nothing_that_was_dropped() -> None:
    taker = taker_of(track((0.4, 1)))
    hear(taker, 2, agent_speaking=True)

    assert taker.understood("okay", final=True) is None
    assert not taker.speaking


def test_a_backchannel_is_an_answer_when_the_agent_is_silent() -> None:
    taker = taker_of(track((0.1, 1)))
    hear(taker, 1)

    assert taker.understood("okay", final=True) == SpeechConfirmed(1.0)


@pytest.mark.parametrize("seconds", [0.5, 2.0], ids=["before it is dropped", "after that"])
def test_a_backchannel_is_an_answer_to_an_agent_that_has_finished(seconds: float) -> None:
    taker = taker_of(track((0.4, 1)))
    hear(taker, seconds, agent_speaking=True)
    taker.agent_has_finished()

    assert taker.understood("okay", final=True) == SpeechConfirmed(seconds)


def test_words_count_silences_anew_even_if_they_only_show_that_someone_listens() -> None:
    taker = taker_of(track((1, 0), (0.4, 1)), silence=1.0)
    assert hear(taker, 1.0) == [CallerSilent(1.0, 1)]
    hear(taker, 1.0, agent_speaking=True)
    taker.understood("mhm", final=True)
    (silent,) = [each for each in hear(taker, 1.5) if isinstance(each, CallerSilent)]
    assert silent.count == 1


@pytest.mark.parametrize("text", ["", "  ", "[cough]", "(typing)", "<unk>", "..."])
def test_no_words_drop_an_interruption_once_they_are_final(text: str) -> None:
    taker = taker_of(track((0.4, 1)))
    hear(taker, 0.5, agent_speaking=True)

    assert taker.understood(text, final=False) is None
    assert taker.understood(text, final=True) == SpeechDropped(0.5, "noise")


def test_words_without_speech_are_nothing() -> None:
    taker = taker_of([])
    hear(taker, 1)

    assert taker.understood("stop", final=True) is None


def test_a_later_utterance_takes_the_words() -> None:
    taker = taker_of(track((0.3, 1), (1, 0), (0.3, 1)))
    hear(taker, 1.4, agent_speaking=True)

    assert taker.understood("stop", final=True) == SpeechConfirmed(1.4)
    speech_seconds: Any = pytest.approx(0.3)
    assert hear(taker, 2, agent_speaking=True)[-1] == TurnEnded(2.2, 1.6, speech_seconds)


def test_words_of_a_quiet_speaker_who_speaks_on_take_the_turn_up_again() -> None:
    taker = taker_of(track((4, 0.6)), decide_within=1.5)
    hear(taker, 3, agent_speaking=True)

    assert taker.understood("wait I have", final=True) == SpeechConfirmed(3.0, resumes=True)
    assert hear(taker, 2, agent_speaking=True) == [
        TurnEnded(at=4.6, speech_ended_at=4.0, speech_seconds=4.0)
    ]


def test_an_utterance_that_does_not_end_is_a_turn_by_its_length() -> None:
    taker = taker_of(track((12, 1)), longest=5, onset=0.02, shortest=0.16)

    assert hear(taker, 12.1) == [
        SpeechStarted(0.02),
        SpeechConfirmed(0.16),
        TurnEnded(at=5.02, speech_ended_at=5.02, speech_seconds=5.02),
        SpeechStarted(5.04),
        SpeechConfirmed(5.18),
        TurnEnded(at=10.04, speech_ended_at=10.04, speech_seconds=5.02),
        SpeechStarted(10.06),
        SpeechConfirmed(10.2),
    ]


def test_an_utterance_may_be_as_long_as_it_likes() -> None:
    taker = taker_of(track((100, 1)), longest=None)

    assert len(hear(taker, 100)) == 2


def test_quiet_on_both_sides_is_told_again_and_again() -> None:
    taker = taker_of([], silence=2)

    assert hear(taker, 5) == [CallerSilent(2.0, 1), CallerSilent(4.0, 2)]


def test_silence_counts_from_the_last_speech_of_either_side() -> None:
    taker = taker_of(track((1, 0), (1, 1)), silence=2, end_of_turn=0.6)
    hear(taker, 3)

    hear(taker, 1, agent_speaking=True)
    assert hear(taker, 1.98) == []
    assert hear(taker, 0.02) == [CallerSilent(6.0, 1)]


def test_speech_begins_the_count_of_silences_anew() -> None:
    taker = taker_of(track((2.5, 0), (1, 1)), silence=2)

    silences = [event for event in hear(taker, 8) if isinstance(event, CallerSilent)]

    assert [event.count for event in silences] == [1, 1]


def test_noise_does_not_put_off_the_silence() -> None:
    taker = taker_of(track((1.5, 0), (0.1, 1)), silence=2)

    assert hear(taker, 2.5)[-1] == CallerSilent(2.0, 1)


def test_a_key_begins_the_silence_anew() -> None:
    taker = taker_of([], silence=2)
    hear(taker, 3)

    taker.reset_silence()

    assert hear(taker, 1.98) == []
    assert hear(taker, 0.02) == [CallerSilent(5.0, 1)]


def test_silence_may_be_left_out() -> None:
    assert hear(taker_of([], silence=None), 100) == []


def test_a_long_frame_gives_its_events_one_by_one() -> None:
    taker = taker_of(track((1, 1)))

    heard = [taker.hear(frame(3), agent_speaking=False)]
    heard += [taker.hear(frame(0), agent_speaking=False) for _ in range(3)]

    assert [type(event) for event in heard] == [
        SpeechStarted,
        SpeechConfirmed,
        TurnEnded,
        type(None),
    ]


def test_words_do_not_overtake_events() -> None:
    taker = taker_of(track((0.4, 1)))

    assert taker.hear(frame(0.01), agent_speaking=True) is None
    taker.hear(frame(3), agent_speaking=True)

    assert taker.understood("stop", final=True) == SpeechDropped(0.9, "too_short")
    assert taker.hear(frame(0), agent_speaking=True) == SpeechConfirmed(3.0)


def test_the_format_does_not_change_in_a_call() -> None:
    taker = taker_of([])
    hear(taker, 1)

    with pytest.raises(ValueError, match="audio/x-mulaw;rate=8000 so far and must not be audio/x-"):
        taker.hear(frame(format=L16_16K), agent_speaking=False)


def test_elapsed_is_the_audio_that_was_heard() -> None:
    taker = taker_of([])

    taker.hear(frame(1.01), agent_speaking=False)

    assert taker.elapsed == 1.0


def drain(taker: TurnTaker, sizes: Sequence[float]) -> list[TurnEvent]:
    heard = [taker.hear(frame(size), agent_speaking=True) for size in sizes]
    heard += [taker.hear(frame(0), agent_speaking=True) for _ in range(100)]
    return [event for event in heard if event is not None]


levels = st.lists(
    st.tuples(st.integers(1, 40), st.sampled_from([0.0, 0.4, 0.6, 0.95])), min_size=1, max_size=12
)


@given(levels, st.lists(st.integers(1, 4000), max_size=40))
def test_any_cut_of_the_frames_gives_the_same_events(
    pieces: list[tuple[int, float]], sizes: list[int]
) -> None:
    probabilities = [probability for steps, probability in pieces for _ in range(steps)]
    total = len(probabilities) * 160
    whole = drain(taker_of(probabilities), [0.02] * len(probabilities))
    cut: list[float] = []
    for size in [*sizes, total]:
        size = min(size, total)
        total -= size
        cut.append(size / 8_000)

    assert drain(taker_of(probabilities), cut) == whole


@given(levels, st.lists(st.booleans(), min_size=1, max_size=12))
def test_events_come_in_an_order_that_makes_sense(
    pieces: list[tuple[int, float]], speaking: list[bool]
) -> None:
    """Started, then confirmed or dropped; confirmed once, then ended."""
    taker = taker_of([probability for steps, probability in pieces for _ in range(steps)])
    events: list[TurnEvent] = []
    for (steps, _), agent_speaking in zip([*pieces, (200, 0)], speaking * 13, strict=False):
        events += hear(taker, steps / 50, agent_speaking=agent_speaking)

    allowed: dict[type, set[type]] = {
        SpeechStarted: {SpeechConfirmed, SpeechDropped},
        SpeechConfirmed: {TurnEnded},
        SpeechDropped: {SpeechStarted},
        TurnEnded: {SpeechStarted},
    }
    if events:
        assert isinstance(events[0], SpeechStarted)
    for before, after in itertools.pairwise(events):
        assert type(after) in allowed[type(before)]
        assert before.at <= after.at
    assert not taker.speaking


@given(levels, st.booleans(), st.sampled_from([None, "okay", "[noise]"]))
def test_whatever_came_before_clear_speech_is_heard(
    pieces: list[tuple[int, float]], agent_speaking: bool, text: str | None
) -> None:
    before = [probability for steps, probability in pieces for _ in range(steps)]
    taker = taker_of([*before, *track((2, 1))])
    hear(taker, len(before) / 50, agent_speaking=agent_speaking)
    if text is not None:
        taker.understood(text, final=True)

    *_, last = hear(taker, 4, agent_speaking=agent_speaking)

    assert isinstance(last, TurnEnded)
    assert last.speech_ended_at == pytest.approx(len(before) / 50 + 2)


# What a recogniser knows.


def test_a_recogniser_may_end_a_turn_that_quiet_does_not() -> None:
    taker = TurnTaker(TurnSettings(), Probabilities(track((0.5, 1.0))))
    taker.waits = lambda: True
    events = [taker.hear(frame(), agent_speaking=False) for _ in range(100)]
    assert not any(isinstance(event, TurnEnded) for event in events)
    ended = taker.finish()
    assert isinstance(ended, TurnEnded)
    assert ended.speech_ended_at == pytest.approx(0.5)
    assert taker.finish() is None


def test_a_recogniser_may_have_noticed_speech_before() -> None:
    taker = TurnTaker(TurnSettings(), Probabilities([]))
    for _ in range(50):
        taker.hear(frame(), agent_speaking=False)
    started = taker.notice(0.4, agent_speaking=False)
    assert isinstance(started, SpeechStarted)
    assert started.at == pytest.approx(0.6)
    assert isinstance(taker.understood("Yes.", final=False), SpeechConfirmed)
    assert taker.notice(0.1, agent_speaking=False) is None
