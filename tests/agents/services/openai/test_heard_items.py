from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mediaserver.agents.services import (
    CallerFinished,
    CallerSpeaks,
    RecognizedWords,
    ServiceError,
    WordsComplete,
)
from mediaserver.agents.services.openai.heard_items import HeardItems


def heard(seconds: float) -> HeardItems:
    """Return items of which the first goes on."""
    items = HeardItems()
    items.begin(0.0)
    items.heard = seconds
    return items


def news(items: HeardItems) -> list[Any]:
    return list(items.news())


def next_utterance(items: HeardItems, seconds: float) -> None:
    items.begin(items.heard)
    items.heard += seconds


def test_words_that_come_before_the_commit_belong_to_the_audio_that_goes_on() -> None:
    items = heard(1.0)
    items.added("a", "Good")
    assert news(items) == [RecognizedWords("Good", 0.0, 1.0)]
    items.heard = 2.0
    items.added("a", " morning.")
    assert items.commit("commit-1")
    items.committed("a")
    items.transcribed("a", "Good morning!", 2.0)
    assert not items.finish()
    assert news(items) == [
        RecognizedWords("Good morning!", 0.0, 2.0, final=True, seconds=2.0),
        WordsComplete(2.0),
    ]
    assert news(items) == []


def test_a_later_item_that_is_done_first_is_told_in_its_order() -> None:
    items = heard(1.0)
    items.commit("commit-1")
    items.finish()
    items.committed("a")
    next_utterance(items, 1.0)
    items.commit("commit-2")
    items.finish()
    items.committed("b")
    items.added("b", "two")
    items.transcribed("b", "two.", 0.0)
    assert news(items) == []
    items.transcribed("a", "one.", 0.0)
    assert news(items) == [
        RecognizedWords("one.", 0.0, 1.0, final=True),
        WordsComplete(1.0),
        RecognizedWords("two.", 1.0, 2.0, final=True),
        WordsComplete(2.0),
    ]


def test_words_of_the_next_item_are_told_as_soon_as_they_are_its_turn() -> None:
    items = heard(1.0)
    items.commit("commit-1")
    items.committed("a")
    next_utterance(items, 0.5)
    items.added("b", "wait")
    assert news(items) == []
    items.transcribed("a", "one.", 0.0)
    assert news(items) == [
        RecognizedWords("one.", 0.0, 1.0, final=True),
        RecognizedWords("wait", 1.0, 1.5),
    ]


def test_finishing_nothing_is_answered_at_once() -> None:
    items = HeardItems()
    assert not items.commit("commit-1")
    assert items.finish()
    assert news(items) == [WordsComplete(0.0)]


def test_a_failure_is_told_with_the_answer_and_takes_back_what_was_told() -> None:
    items = heard(1.0)
    items.added("a", "Goo")
    news(items)
    items.commit("commit-1")
    items.committed("a")
    items.finish()
    failure = ServiceError("ears", "it failed")
    items.failed("a", failure)
    assert news(items) == [RecognizedWords("", 0.0, 1.0, final=True), WordsComplete(1.0, failure)]
    next_utterance(items, 1.0)
    items.commit("commit-2")
    items.committed("b")
    items.finish()
    items.transcribed("b", "", 0.0)
    assert news(items) == [WordsComplete(2.0)]


def test_turns_of_the_api_have_its_times() -> None:
    items = HeardItems()
    items.heard = 2.0
    items.begin(0.4, "a")
    items.end("a", 1.7)
    assert items.open is None
    items.committed("a")
    items.transcribed("a", "Hello.", 0.0)
    assert news(items) == [
        CallerSpeaks(),
        RecognizedWords("Hello.", 0.4, 1.7, final=True),
        CallerFinished(),
    ]
    items.heard = 4.0
    items.begin(1.5, "b")  # with some of the audio before it, which was understood
    items.end("b", 9.0)
    items.transcribed("b", "Yes.", 0.0)
    assert news(items)[1] == RecognizedWords("Yes.", 1.7, 4.0, final=True)


def test_a_turn_that_begins_before_the_words_of_the_last_are_final_begins_after_them() -> None:
    items = HeardItems()
    items.heard = 3.0
    items.begin(0.0, "a")
    assert news(items) == [CallerSpeaks()]
    items.end("a", 1.0)
    items.begin(2.0, "b")
    assert news(items) == []
    items.transcribed("a", "Hello.", 0.0)
    assert news(items) == [
        RecognizedWords("Hello.", 0.0, 1.0, final=True),
        CallerFinished(),
        CallerSpeaks(),
    ]


def test_a_turn_that_the_agent_ends_may_get_another_name() -> None:
    items = HeardItems()
    items.heard = 1.0
    items.begin(0.0, "a")
    assert items.commit("commit-1")
    items.committed("b")
    items.transcribed("b", "Hello.", 0.0)
    assert RecognizedWords("Hello.", 0.0, 1.0, final=True) in news(items)


def test_a_turn_that_the_api_commits_without_a_word_before_is_an_item() -> None:
    items = HeardItems()
    items.heard = 1.5
    items.committed("a")
    items.transcribed("a", "Hello.", 0.0)
    assert news(items) == [RecognizedWords("Hello.", 0.0, 1.5, final=True)]


def test_a_commit_that_is_refused_leaves_no_item_that_is_waited_for() -> None:
    items = heard(0.05)
    items.commit("commit-1")
    items.finish()
    assert not items.refused("commit-7")
    assert items.refused("commit-1")
    assert news(items) == [WordsComplete(0.05)]


def test_a_refused_commit_leaves_a_turn_of_the_api_to_the_api() -> None:
    items = HeardItems()
    items.heard = 1.0
    items.begin(0.0, "a")
    items.commit("commit-1")
    items.finish()
    assert items.refused("commit-1")
    assert news(items) == [CallerSpeaks()]
    items.transcribed("a", "Hm.", 0.0)
    assert news(items)[-1] == WordsComplete(1.0)


def test_what_is_said_of_unknown_items_is_passed_over() -> None:
    items = HeardItems()
    items.added("x", "a")
    items.transcribed("x", "a", 0.0)
    items.failed("x", ServiceError("ears", "no"))
    items.end("x", 1.0)
    assert news(items) == []


@given(st.permutations(range(4)), st.lists(st.booleans(), min_size=4, max_size=4))
def test_whatever_the_order_words_and_answers_come_in_the_order_of_the_audio(
    order: list[int], early: list[bool]
) -> None:
    items = HeardItems()
    told: list[Any] = []
    for number in range(4):
        next_utterance(items, 1.0)
        if early[number]:
            items.added(f"item-{number}", "w")
        items.commit(f"commit-{number}")
        items.finish()
        items.committed(f"item-{number}")
        told += news(items)
    for number in order:
        items.transcribed(f"item-{number}", f"words {number}", 1.0)
        told += news(items)
    finals = [each for each in told if isinstance(each, RecognizedWords) and each.final]
    assert [each.text for each in finals] == [f"words {n}" for n in range(4)]
    assert [(each.start, each.end) for each in finals] == [(n, n + 1.0) for n in range(4)]
    answers = [each for each in told if isinstance(each, WordsComplete)]
    assert [each.through for each in answers] == [1.0, 2.0, 3.0, 4.0]
    for final, answer in zip(finals, answers, strict=True):
        assert told.index(final) < told.index(answer)
