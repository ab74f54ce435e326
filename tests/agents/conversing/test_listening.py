import asyncio
from typing import Any, cast

import pytest

from audiocodecs import MULAW_8K
from mediaserver.agents import Listener, Utterance
from mediaserver.agents.turns import TurnSettings, TurnTaker
from mediaserver.call import Frame


class ByValue:
    """Speech is what has a one in it."""

    def probability(self, frame: Frame) -> float:
        return float(1 in frame.payload)


class FakeStream:
    format = MULAW_8K

    def __init__(self) -> None:
        self.unheard = 0.0
        self.did: list[Any] = []
        self.now = 100.0
        self.followed = False
        self.told: list[tuple[Any, ...]] = []

    def clock(self) -> float:
        return self.now

    def pause(self) -> None:
        self.did.append("pause")

    def resume(self) -> None:
        self.did.append("resume")

    def interrupt(self) -> None:
        self.did.append("interrupt")

    def decided(self, what: str, /, **details: Any) -> None:
        self.told.append((what, *details.values()))


class Ear:
    """A listener, and what it told."""

    def __init__(
        self,
        *,
        speaking: bool = False,
        answering: bool = False,
        settings: TurnSettings | None = None,
        **kwargs: Any,
    ) -> None:
        self.stream = FakeStream()
        self.stream.unheard = 1.0 if speaking else 0.0
        self.started: list[Any] = []
        self.finished: list[Any] = []
        self.dropped: list[Any] = []
        self.barged_in: list[Any] = []
        self.silent = 0
        settings = settings or TurnSettings(silence=2.0)
        self.listener = Listener(
            cast(Any, self.stream),
            TurnTaker(settings, ByValue()),
            preroll=settings.preroll,
            started=self.started.append,
            finished=self.finished.append,
            dropped=self.dropped.append,
            barged_in=self.barged_in.append,
            answering=lambda: answering,
            silent=self._silent,
            **kwargs,
        )

    def _silent(self) -> None:
        self.silent += 1

    def hear(self, seconds: float, speech: bool = True) -> None:
        for _ in range(round(seconds / 0.02)):
            self.stream.now += 0.02
            self.listener.hear(Frame(bytes([1 if speech else 0]) * 160, MULAW_8K))


async def frames_of(utterance: Utterance) -> list[Frame]:
    return [frame async for frame in utterance]


async def test_an_utterance_has_all_its_frames_and_those_just_before() -> None:
    ear = Ear()
    ear.hear(1.0, speech=False)
    ear.hear(1.0)
    ear.hear(1.0, speech=False)
    (utterance,) = ear.finished
    assert ear.started == [utterance]
    frames = await frames_of(utterance)
    loud = [1 in frame.payload for frame in frames]
    assert loud.count(True) == 50
    assert loud.index(True) * 0.02 == pytest.approx(0.4 - 0.04, abs=0.021)
    assert utterance.confirmed
    assert not utterance.dropped


async def test_times_of_an_utterance_are_on_the_calls_clock() -> None:
    ear = Ear()
    ear.hear(1.0, speech=False)
    ear.hear(1.0)
    ear.hear(1.0, speech=False)
    (utterance,) = ear.finished
    assert utterance.started_at == pytest.approx(101.0, abs=0.05)
    assert utterance.ended_at == pytest.approx(102.0, abs=0.03)
    assert utterance.finished_at == pytest.approx(102.6, abs=0.03)


async def test_frames_can_be_read_while_they_come() -> None:
    ear = Ear()
    ear.hear(0.1)
    (utterance,) = ear.started
    read = []

    async def reader() -> None:
        read.extend(await frames_of(utterance))

    reading = asyncio.create_task(reader())
    for _ in range(20):
        ear.hear(0.02)
        await asyncio.sleep(0)
    ear.hear(1.0, speech=False)
    await reading
    assert len(read) >= 25


async def test_the_end_of_an_utterance_is_told_at_once() -> None:
    ended = []
    utterance = Utterance((), started_at=0.0)
    utterance.on_end = lambda: ended.append(utterance.dropped)
    utterance.end(dropped=True)
    assert ended == [True]
    assert await frames_of(utterance) == []


async def test_while_the_agent_is_silent_nothing_is_paused() -> None:
    ear = Ear()
    ear.hear(1.0)
    ear.hear(1.0, speech=False)
    assert ear.stream.did == []
    assert ear.barged_in == []


async def test_decide_pauses_then_interrupts() -> None:
    ear = Ear(speaking=True)
    ear.hear(0.1)
    assert ear.stream.did == ["pause"]
    ear.hear(0.9)
    assert ear.stream.did == ["pause", "interrupt"]
    assert ear.barged_in == [True]


async def test_decide_goes_on_after_a_noise() -> None:
    ear = Ear(speaking=True)
    ear.hear(0.1)
    ear.hear(0.5, speech=False)
    assert ear.stream.did == ["pause", "resume"]
    assert ear.barged_in == [False]
    (utterance,) = ear.dropped
    assert utterance.dropped
    assert utterance.ended
    assert ear.finished == []


async def test_decide_holds_an_answer_that_is_about_to_come() -> None:
    ear = Ear(answering=True)
    ear.hear(0.1)
    assert ear.stream.did == ["pause"]
    ear.hear(0.5)
    assert ear.stream.did == ["pause", "interrupt"]
    # It was no barge-in: the agent had not said anything.
    assert ear.barged_in == []


async def test_at_once_interrupts_and_does_so_once() -> None:
    ear = Ear(speaking=True, barge_in="at_once")
    ear.hear(0.06)
    assert ear.stream.did == ["interrupt"]
    ear.hear(1.0)
    assert ear.stream.did == ["interrupt"]
    assert ear.barged_in == [True]


async def test_notify_does_nothing_to_the_stream() -> None:
    ear = Ear(speaking=True, barge_in="notify")
    ear.hear(1.0)
    assert ear.stream.did == []
    assert ear.barged_in == [True]


async def test_a_transcript_confirms_early() -> None:
    ear = Ear(speaking=True)
    ear.hear(0.2)
    ear.listener.understood(ear.started[0], "stop", final=False)
    assert ear.stream.did == ["pause", "interrupt"]


async def test_a_backchannel_lets_the_agent_go_on() -> None:
    ear = Ear(speaking=True)
    ear.hear(0.3)
    ear.listener.understood(ear.started[0], "mhm", final=True)
    assert ear.stream.did == ["pause", "resume"]
    assert ear.dropped == ear.started


async def test_a_transcript_may_come_after_the_utterance_was_dropped() -> None:
    ear = Ear(speaking=True)
    ear.hear(0.3)
    ear.hear(1.0, speech=False)
    (utterance,) = ear.dropped
    ear.listener.understood(utterance, "Stop!", final=True)
    assert ear.stream.did == ["pause", "resume", "interrupt"]
    assert utterance.confirmed
    assert not utterance.dropped
    assert ear.barged_in == [False, True]


async def test_a_late_transcript_interrupts_though_something_else_has_begun() -> None:
    ear = Ear(speaking=True)
    ear.hear(0.3)
    ear.hear(1.5, speech=False)
    ear.hear(0.3)
    word, noise = ear.started
    ear.listener.understood(word, "Stop!", final=True)
    assert ear.stream.did[-1] == "interrupt"
    assert word.confirmed
    assert not word.dropped
    assert not noise.confirmed


async def test_a_late_backchannel_is_left_alone() -> None:
    ear = Ear(speaking=True)
    ear.hear(0.3)
    ear.hear(1.5, speech=False)
    ear.hear(0.3)
    ear.listener.understood(ear.started[0], "okay", final=True)
    assert "interrupt" not in ear.stream.did
    assert ear.started[0].dropped


QUIETLY = TurnSettings(decide_within=1.5, confirm=1.5, end_of_turn=0.6)


class Halves:
    """Speech is what has a one in it, and never beyond doubt."""

    def probability(self, frame: Frame) -> float:
        return 0.6 * (1 in frame.payload)


def hesitant(**kwargs: Any) -> Ear:
    ear = Ear(speaking=True, settings=QUIETLY, **kwargs)
    ear.listener.taker._detector = Halves()
    return ear


async def test_a_quiet_speaker_who_is_confirmed_late_has_said_all_of_it() -> None:
    ear = hesitant()
    ear.hear(1.0, speech=False)
    ear.hear(2.5)
    (dropped,) = ear.dropped
    ear.listener.understood(dropped, "wait I have", final=True)
    ear.hear(1.0)
    ear.hear(1.0, speech=False)
    assert ear.stream.did == ["pause", "resume", "interrupt"]
    assert ear.started == [dropped, *ear.finished]
    assert dropped.dropped
    (whole,) = ear.finished
    assert whole.confirmed
    assert whole.started_at == dropped.started_at
    frames = await frames_of(whole)
    assert sum(1 in frame.payload for frame in frames) == 175
    assert 1 not in frames[0].payload


async def test_what_was_said_before_the_words_were_known_is_in_it_though_the_turn_is_over() -> None:
    ear = hesitant()
    ear.hear(2.5)
    ear.hear(2.0, speech=False)
    ear.listener.understood(ear.dropped[0], "wait I have a question", final=False)
    ear.hear(0.1, speech=False)
    (whole,) = ear.finished
    assert sum(1 in frame.payload for frame in await frames_of(whole)) == 125


async def test_a_pause_for_breath_does_not_part_what_was_dropped_from_what_follows() -> None:
    ear = hesitant()
    ear.hear(2.0)
    ear.hear(0.3, speech=False)
    ear.hear(0.5)
    first, second = ear.started
    ear.listener.understood(first, "wait I have", final=True)
    assert ear.stream.did[-1] == "interrupt"
    ear.hear(1.0, speech=False)
    assert (first.dropped, ear.finished) == (True, [second])
    assert sum(1 in frame.payload for frame in await frames_of(second)) == 125


async def test_what_was_taken_up_again_is_not_answered_by_itself_however_late_its_words_come() -> (
    None
):
    ear = hesitant()
    ear.hear(2.0)
    ear.hear(0.3, speech=False)
    ear.hear(0.5)
    ear.hear(1.5, speech=False)
    ear.hear(0.1)
    first, second, third = ear.started
    ear.listener.understood(first, "wait I have", final=True)
    assert "interrupt" not in ear.stream.did
    assert (first.dropped, third.confirmed) == (True, False)
    ear.listener.understood(second, "wait I have a question", final=True)
    assert ear.stream.did[-1] == "interrupt"
    assert second.confirmed


async def test_a_word_that_was_dropped_in_silence_is_not_waited_for() -> None:
    ear = Ear(speaking=True, settings=TurnSettings(end_of_turn=3.0))
    ear.hear(0.3)
    ear.hear(0.7, speech=False)
    (word,) = ear.started
    ear.listener.understood(word, "Stop!", final=True)
    ear.hear(0.1, speech=False)
    ear.hear(1.0)
    ear.hear(4.0, speech=False)
    assert ear.started == [word, *ear.finished]
    assert sum(1 in frame.payload for frame in await frames_of(ear.finished[0])) == 50


async def test_what_is_kept_of_a_dropped_utterance_is_bounded_and_let_go() -> None:
    ear = hesitant()
    ear.hear(60.0)
    assert ear.listener._recent_bytes <= 80_000
    ear.listener.understood(ear.started[-1], "", final=True)
    ear.hear(0.02)
    assert ear.listener._recent_bytes <= 8000


async def test_who_speaks_for_too_long_is_not_heard_twice() -> None:
    ear = Ear(settings=TurnSettings(longest=2.0))
    ear.hear(3.0)
    ear.hear(1.0, speech=False)
    heard = [sum(1 in frame.payload for frame in await frames_of(each)) for each in ear.finished]
    assert heard == [101, 49]


async def test_silence_on_both_sides_is_told() -> None:
    ear = Ear()
    ear.hear(4.1, speech=False)
    assert ear.silent == 2


async def test_at_the_end_of_the_call_an_utterance_ends_too() -> None:
    ear = Ear()
    ear.hear(0.1)
    ear.listener.end()
    ear.listener.end()
    (utterance,) = ear.started
    assert utterance.ended
    assert len(await frames_of(utterance)) == 5


@pytest.mark.parametrize("size", [1, 7, 160, 400, 4000])
async def test_frames_of_any_size_will_do(size: int) -> None:
    ear = Ear()
    audio = bytes(8000) + b"\1" * 8000 + bytes(8000)
    for start in range(0, len(audio), size):
        ear.listener.hear(Frame(audio[start : start + size], MULAW_8K))
    (utterance,) = ear.finished
    assert sum(len(frame.payload) for frame in await frames_of(utterance)) >= 8000 * 1.6


async def test_the_beginning_that_is_kept_is_bounded() -> None:
    ear = Ear()
    ear.hear(60.0, speech=False)
    assert sum(len(frame.payload) for frame in ear.listener._recent) <= 8000


# What comes when the agent has nothing left to say.


def at_the_end(left: float, **settings: Any) -> tuple[Ear, Utterance]:
    """Return an ear that has heard a short word while the agent had `left` seconds to say."""
    ear = Ear(speaking=True, left=lambda: left, **settings)
    ear.hear(0.3)
    ear.hear(1.0, speech=False)
    (utterance,) = ear.dropped
    return ear, utterance


@pytest.mark.parametrize(("left", "answers"), [(0.0, True), (0.4, True), (0.6, False)])
async def test_a_backchannel_in_the_last_word_of_the_agent_is_taken_back(
    left: float, answers: bool
) -> None:
    ear, utterance = at_the_end(left)
    ear.listener.understood(utterance, "okay", final=True)
    assert (utterance.answers, utterance.confirmed, utterance.dropped) == (
        answers,
        answers,
        not answers,
    )
    # What is left of the agent's speech is heard.
    assert ear.stream.did == ["pause", "resume"]


async def test_a_transcript_that_comes_before_the_drop_is_an_answer_as_well() -> None:
    ear = Ear(speaking=True, left=lambda: 0.2)
    ear.hear(0.3)
    (utterance,) = ear.started
    ear.listener.understood(utterance, "okay", final=True)
    assert utterance.confirmed


async def test_a_noise_in_the_last_word_of_the_agent_stays_one() -> None:
    ear = Ear(speaking=True, left=lambda: 0.2)
    ear.hear(0.1)
    ear.hear(1.0, speech=False)
    (utterance,) = ear.dropped
    assert not utterance.answers


async def test_an_utterance_whose_words_come_late_is_an_answer_though_another_has_begun() -> None:
    ear, utterance = at_the_end(0.2)
    ear.hear(0.3)
    ear.listener.understood(utterance, "okay", final=True)
    assert utterance.confirmed


async def test_an_utterance_may_be_accepted_whatever_its_words_are() -> None:
    ear, utterance = at_the_end(0.2)
    ear.listener.accept(utterance)
    assert (utterance.confirmed, utterance.dropped) == (True, False)


async def test_one_may_wait_until_an_utterance_is_over() -> None:
    ear = Ear()
    ear.hear(0.3)
    (utterance,) = ear.started
    waiting = [asyncio.create_task(utterance.over(limit)) for limit in (0.1, 60.0)]
    done, _ = await asyncio.wait(waiting, timeout=1.0)
    assert done == {waiting[0]}
    ear.hear(1.0, speech=False)
    await asyncio.wait_for(waiting[1], 1.0)
    await utterance.over(60.0)


async def test_followers_are_told_of_pauses_and_when_the_probability_changes() -> None:
    ear = Ear(speaking=True)
    ear.stream.followed = True
    ear.hear(0.2)
    ear.hear(2.0, speech=False)
    assert ear.stream.told == [("pauses",), ("vad", 1.0), ("vad", 0.0), ("goes on",)]
